"""Videos at a URL: copied a few ahead, deleted once decoded, passed over where they cannot be had."""

import errno
import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from vqafeat.errors import ExtractionError, VideoError
from vqafeat.extraction.fetching import Fetching
from vqafeat.extraction.in_work import VideoJob
from vqafeat.remote_files import RemoteFile

upath = pytest.importorskip("upath", reason="universal-pathlib is not installed: pip install vqafeat[s3]")
WRITTEN_NS = 1_700_000_000 * 10**9


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vqafeat" / "videos"


def remote(name: str, content: bytes | None, size: int | None = None) -> RemoteFile:
    place = upath.UPath(f"memory://{uuid4().hex}/{name}")
    if content is not None:
        place.write_bytes(content)
    return RemoteFile(place, len(content or b"") if size is None else size, WRITTEN_NS)


def job(path: Path | RemoteFile) -> VideoJob:
    return VideoJob(path.name, path, None, ("tiny",))


def fail(given: VideoJob, error: VideoError) -> None:
    raise AssertionError(f"{given.name}: {error}")


def test_copies_are_those_files_and_go_when_they_are_released(cache: Path, tmp_path: Path) -> None:
    jobs = [job(remote(f"{number}.mkv", bytes([number]) * 9)) for number in range(5)]
    jobs.insert(2, job(tmp_path / "local.mp4"))
    seen = []
    with Fetching(jobs, 2, fail) as fetching:
        for found in fetching:
            seen.append(found.name)
            if found.fetched is None:
                assert found.file == tmp_path / "local.mp4"
                continue
            assert found.file.read_bytes() == bytes([int(found.name[0])]) * 9
            assert (found.file.suffix, found.file.stat().st_mtime_ns) == (".mkv", WRITTEN_NS)
            fetching.release(found)
            assert not found.file.exists()
    assert sorted(seen) == ["0.mkv", "1.mkv", "2.mkv", "3.mkv", "4.mkv", "local.mp4"]
    assert not list(cache.glob("*/"))


def test_no_more_than_asked_are_ahead(cache: Path) -> None:
    asked = []

    def endless() -> Iterator[VideoJob]:
        for number in range(1000):
            asked.append(number)
            yield job(remote(f"{number}.mp4", b"video"))

    with Fetching(endless(), 3, fail) as fetching:
        next(iter(fetching))
        assert len(asked) == 4
    assert not list(cache.glob("*/"))


def test_a_copy_is_made_while_another_is_decoded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()
    fetch = RemoteFile.fetch

    def noted(file: RemoteFile, to: Path) -> None:
        if file.name == "1.mp4":
            began.set()
        fetch(file, to)

    monkeypatch.setattr(RemoteFile, "fetch", noted)
    with Fetching([job(remote(f"{number}.mp4", b"video")) for number in range(3)], 1, fail) as fetching:
        assert next(iter(fetching)).name == "0.mp4"
        assert began.wait(10)


def test_what_cannot_be_had_is_told_and_passed_over(cache: Path) -> None:
    jobs = [job(remote("gone.mp4", None)), job(remote("cut.mp4", b"1234", size=9)), job(remote("whole.mp4", b"123456789"))]
    told: list[tuple[str, str, str]] = []
    with Fetching(jobs, 2, lambda given, error: told.append((given.name, error.kind, str(error)))) as fetching:
        assert [found.name for found in fetching] == ["whole.mp4"]
    assert [(name, kind) for name, kind, _ in told] == [("gone.mp4", "cannot-open"), ("cut.mp4", "cannot-open")]
    assert "/gone.mp4' cannot be fetched (FileNotFoundError" in told[0][2]
    assert "4 bytes came, 9 were listed" in told[1][2]


def test_a_full_disk_ends_the_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: RemoteFile, to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RemoteFile, "fetch", full)
    told = pytest.raises(ExtractionError, match=r"no room for 'memory:.*a.mp4' in '.*videos' .*make room, or name .* in XDG_CACHE_HOME")
    with told, Fetching([job(remote("a.mp4", b"1"))], 1, fail) as fetching:
        list(fetching)


def test_what_a_killed_process_left_is_removed_and_nothing_else(cache: Path) -> None:
    for name in ("killed", "alive"):
        (cache / name).mkdir(parents=True)
        (cache / name / "in-use.lock").touch()
    with (cache / "alive" / "in-use.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Fetching([job(remote("a.mp4", b"1"))], 1, fail) as fetching:
            (found,) = fetching
            assert found.file.exists()
            assert sorted(path.name for path in cache.glob("*/")) == sorted(["alive", found.file.parent.name])
    assert [path.name for path in cache.glob("*/")] == ["alive"]
