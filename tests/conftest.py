"""What all tests share: real data, an object store, and one thread, so that cores do not change results."""

import gc
import os
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, so that child processes inherit it
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # before a kernel is defined: without a GPU, Triton interprets it

import pytest

from tests.helpers.datasets import SHARED_DATA
from tests.helpers.s3 import SECRET, LoopbackS3, loopback_s3

gc.disable()  # until all tests are collected: imports leave hardly any garbage
PRELOADED = (
    "vqafeat.extraction.multi_device",
    "vqafeat.pretraining.data_parallel",
    "vqafeat.pretraining.images",
    "vqafeat.store",
    "vqafeat.training.parallel",
)
pytest_plugins = (
    "tests.helpers.command_line",
    "tests.helpers.extractions",
    "tests.helpers.image_sets",
    "tests.helpers.ray_cluster",
    "tests.helpers.stores",
    "tests.helpers.tables",
)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this session; Matplotlib keeps its own, because it takes seconds to fill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR") or str(Path.home() / ".cache/matplotlib"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> Iterator[None]:
    """Preload what any new process needs; what the first one needs would leave seconds to each later one."""
    preload = forkserver.set_forkserver_preload
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "set_forkserver_preload", lambda names: preload([*names, *PRELOADED]))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data next to the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is absent: {SHARED_DATA} (set VQAFEAT_SHARED_DATA)")
    return SHARED_DATA


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of every later garbage collection."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter free everything as it ends."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as faults every test with an object store or a cluster: one is started for it, and breaks."""
    for item in items:
        if {"s3", "cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackS3]:
    """An S3 with the bucket `bucket`, and credentials in the environment; the test is skipped where moto or
    s3fs is absent.
    """
    pytest.importorskip("moto.server", reason="moto is absent: pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="s3fs is absent: pip install 'vqafeat[s3]'")
    pytest.importorskip("upath", reason="universal-pathlib is absent: pip install 'vqafeat[s3]'")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    with loopback_s3() as served:
        yield served
