"""Amounts of memory as they are typed; what is free; memory that is shared."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vqafeat import system
from vqafeat.errors import ArgumentError
from vqafeat.remote import cache_folder
from vqafeat.system import anonymous_file, free_bytes, full_float32, parse_bytes, provide_cache_folders


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1500M", 1500 << 20),
        ("1.5G", 3 << 29),
        ("4GiB", 4 << 30),
        ("2gb", 2 << 30),
        ("1048576", 1 << 20),
        (" 3 T ", 3 << 40),
    ],
)
def test_parse_bytes__reads_amounts(text: str, amount: int) -> None:
    assert parse_bytes(text, "memory") == amount


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5X", "0", "0G", "1 2", "1e9"])
def test_parse_bytes__refuses_other_amounts(text: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"^shard-size is '.*'; write an amount such as 1500M, 1\.5G or 16G"
    ):
        parse_bytes(text, "shard-size")


def test_free_bytes__are_below_the_memory_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 50 << 20 < free_bytes() <= there
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "none")
    assert free_bytes() == there // 2


def write_group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


@pytest.mark.parametrize("inside", [True, False], ids=["own path", "path of the host"])
@pytest.mark.parametrize("version", [1, 2])
def test_free_bytes__are_below_the_limit_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, inside: bool
) -> None:
    """The file cache that can be freed does not count as used; a limit further up holds too."""
    mount = tmp_path / "groups" if version == 2 else tmp_path / "groups" / "memory"
    own = mount / "outer" / "inner" if inside else mount
    v2 = {"memory.max": "max", "memory.current": "1", "memory.stat": "anon 1\ninactive_file 0"}
    v1 = {
        "memory.limit_in_bytes": str(1 << 62),
        "memory.usage_in_bytes": "1",
        "memory.stat": "total_inactive_file 0",
    }
    names = (
        ("memory.max", "memory.current")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    cache = "inactive_file" if version == 2 else "total_inactive_file"
    limited = {names[0]: str(300 << 20), names[1]: str(120 << 20), "memory.stat": f"{cache} {20 << 20}"}
    if inside:
        write_group(mount / "outer", limited)
        write_group(own, v2 if version == 2 else v1)
    else:
        write_group(own, limited)
    (tmp_path / "cgroup").write_text(("0::" if version == 2 else "3:cpu:/\n4:memory:") + "/outer/inner\n")
    monkeypatch.setattr(system, "_OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(system, "_GROUPS", tmp_path / "groups")
    assert free_bytes() == 200 << 20


def test_free_bytes__without_control_groups_are_those_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_OWN_GROUPS", tmp_path / "none")
    assert free_bytes() > 50 << 20


def test_provide_cache_folders__without_a_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # restored at the end of the test
        monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    provide_cache_folders()
    assert "XDG_CACHE_HOME" not in os.environ, "a home folder is there"
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    provide_cache_folders()
    folder = Path(os.environ["XDG_CACHE_HOME"])
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_folder("stores").is_relative_to(folder)


def test_commands__need_no_home_folder_and_no_user(tmp_path: Path) -> None:
    """`HOME` is absent and the user id has no entry, as in a container."""
    lookup = "import pwd; pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))"
    run = "from vqafeat.remote import cache_folder; import matplotlib; print(cache_folder('videos'))"
    start = "from vqafeat.system import provide_cache_folders; provide_cache_folders()"
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    environment |= {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", f"{lookup}; {start}; {run}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr
    assert done.stderr == ""


def test_anonymous_file__has_its_size() -> None:
    descriptor = anonymous_file(12345, "test")
    try:
        assert os.fstat(descriptor).st_size == 12345
    finally:
        os.close(descriptor)


def test_full_float32__holds_within_and_restores() -> None:
    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, cudnn.allow_tf32
    with full_float32():
        assert (products.allow_tf32, cudnn.allow_tf32) == (False, False)
    assert (products.allow_tf32, cudnn.allow_tf32) == before


def test_process_context__imports_print_no_traceback_after_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text("import time; open('started', 'w').close(); time.sleep(1)")
    lines = [
        "import time",
        "from vqafeat.system import process_context",
        "try:",
        "    process_context(['slow_module']).Process(target=time.sleep, args=(30,), daemon=True).start()",
        "    time.sleep(30)",
        "except KeyboardInterrupt:",
        "    pass",
    ]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # all processes that share stderr have ended
    assert (process.returncode, errors) == (0, "")
