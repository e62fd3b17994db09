"""Killed at fifty moments, drawn from seeds: the next run leaves the store that an uninterrupted one
leaves.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import killed_writers
from tests.helpers.killed_writers import Whole
from vqafeat.errors import ExtractionError
from vqafeat.extraction.results import NullProgress

pytestmark = pytest.mark.faults
DRIVER, WRITER, DECODER, SHARE = 20, 20, 7, 3


def share_of(seed: int, salt: int) -> float:
    return float(np.random.default_rng([seed, salt]).uniform())


@pytest.fixture(scope="module")
def whole_seconds(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> float:
    for name in ("warm", "timed"):  # the first start pays for the server's imports
        start = time.monotonic()
        process = killed_writers.started(
            killed_writers.plain, whole.videos, tmp_path_factory.mktemp(name) / "v.zarr", 1
        )
        process.join()
        assert process.exitcode == 0
    return time.monotonic() - start


@pytest.mark.parametrize("seed", range(DRIVER))
def test_extract__survives_a_killed_main_process(
    whole: Whole, whole_seconds: float, tmp_path: Path, seed: int
) -> None:
    store = tmp_path / "v.zarr"
    process = killed_writers.started(killed_writers.plain, whole.videos, store, 1)
    time.sleep(share_of(seed, 1) * whole_seconds)
    process.kill()
    process.join()
    assert process.exitcode in {-signal.SIGKILL, 0}
    whole.resumed(store)


@pytest.fixture(scope="module")
def file_events(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> int:
    folder = tmp_path_factory.mktemp("counted")
    process = killed_writers.started(
        killed_writers.killed_at, whole.videos, folder / "v.zarr", 0, folder / "count"
    )
    process.join()
    return int((folder / "count").read_text())


@pytest.mark.parametrize("seed", range(WRITER))
def test_extract__survives_a_kill_between_any_two_writes(
    whole: Whole, file_events: int, tmp_path: Path, seed: int
) -> None:
    # one moment of each twentieth, so that the first and the last steps are met too
    event = 1 + int((seed + share_of(seed, 2)) / WRITER * file_events)
    process = killed_writers.started(killed_writers.killed_at, whole.videos, tmp_path / "v.zarr", event)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    whole.resumed(tmp_path / "v.zarr")


class KillingChildren(NullProgress):
    """Kills a process that this one started a moment after a video begins."""

    def __init__(self, seed: int, named: bytes, most_seconds: float) -> None:
        self._after, self._named = share_of(seed, 3) * most_seconds, named
        self._video = int(share_of(seed, 4) * len(killed_writers.NAMES))
        self._begun = 0

    def video(self, name: str) -> None:
        self._begun += 1
        if self._begun == self._video + 1:
            threading.Timer(self._after, kill_a_child, (self._named,)).start()


def kill_a_child(named: bytes) -> None:
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            if named in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
                return


@pytest.mark.parametrize("seed", range(DECODER))
def test_extract__survives_killed_decoders(whole: Whole, tmp_path: Path, seed: int) -> None:
    store, killing = tmp_path / "v.zarr", KillingChildren(seed, b"vqafeat.video", 0.4)
    summary = killed_writers.extract(whole.videos, store, workers=1, built=whole.extractors, progress=killing)
    assert {failure.kind for failure in summary.failures} <= {"decoder-crashed"}
    assert summary.extracted + len(summary.failures) == len(killed_writers.NAMES)
    assert whole.resumed(store).extracted == len(summary.failures)


@pytest.mark.parametrize("seed", range(SHARE))
def test_extract_on_devices__survives_a_killed_process_of_a_device(
    whole: Whole, tmp_path: Path, seed: int
) -> None:
    store, killing = tmp_path / "v.zarr", KillingChildren(seed, b"spawn_main", 0.3)
    # one that had done its share by then is missed by nobody
    with suppress(ExtractionError):
        killed_writers.extract(whole.videos, store, devices=["cpu", "cpu"], progress=killing)
    whole.resumed(store)
