"""Disks that are full or read-only: one clear sentence, and a store that the next run completes."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import killed_writers
from tests.helpers.killed_writers import Whole
from vqafeat.errors import StoreError
from vqafeat.store import zarr_io

pytestmark = pytest.mark.faults
KIB = 1 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; where mounting is not allowed, the injected errors below have to do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def test_extract__survives_a_disk_that_fills_up_at_any_point(whole: Whole, small_disk: Path) -> None:
    store = small_disk / "v.zarr"
    messages = []
    for pages in range(1, 400, 6):
        remount(small_disk, f"size={4 * pages}k")
        try:
            killed_writers.extract(whole.videos, store, built=whole.extractors)
        except StoreError as error:
            messages.append(str(error))
        else:
            break
    assert len(messages) >= 5
    assert all(
        "No space left on device" in message and "make room" in message and "\n" not in message
        for message in messages
    )
    whole.resumed(store)


@pytest.mark.parametrize("piece", [1, 2, 5, 9])
def test_extract__survives_a_write_that_finds_no_room(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    pieces = []

    class Full:
        @staticmethod
        def extend(checksum: int, block: bytes) -> int:
            pieces.append(len(block))
            if len(pieces) == piece:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(killed_writers._CRC.extend(checksum, block))

    monkeypatch.setattr(zarr_io, "google_crc32c", Full)
    with pytest.raises(
        StoreError,
        match=r"v.zarr' cannot be written to \(No space left on device\).* run the same command again",
    ):
        killed_writers.extract(whole.videos, tmp_path / "v.zarr", built=whole.extractors)
    monkeypatch.undo()
    whole.resumed(tmp_path / "v.zarr")


def test_extract__refuses_a_read_only_store(whole: Whole, small_disk: Path) -> None:
    remount(small_disk, "size=8m")
    remount(small_disk, "ro")
    with pytest.raises(
        StoreError,
        match=r"v.zarr' cannot be written to \(Read-only file system\); make room or make it writable",
    ) as new:
        killed_writers.extract(whole.videos, small_disk / "v.zarr", built=whole.extractors)
    remount(small_disk, "rw")
    killed_writers.extract(whole.videos, small_disk / "v.zarr", built=whole.extractors)
    remount(small_disk, "ro")
    with pytest.raises(
        StoreError,
        match=r"v.zarr' cannot be written to \(Read-only file system\); make room or make it writable",
    ) as there:
        killed_writers.extract(whole.videos, small_disk / "v.zarr", built=whole.extractors)
    assert all("\n" not in str(error.value) for error in (new, there))


def test_extract__refuses_a_folder_without_permission(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = Path.open

    def denied(path: Path, mode: str = "r", *arguments: object, **others: object) -> object:
        if "w" in mode and path.suffix == ".lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, mode, *arguments, **others)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(
        StoreError, match=r"v.zarr' cannot be written to \(Permission denied\); make room or make it writable"
    ):
        killed_writers.extract(whole.videos, tmp_path / "v.zarr", built=whole.extractors)
