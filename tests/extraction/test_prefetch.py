"""Videos at a URL: copied a few ahead, deleted once decoded, passed over where they cannot be had."""

import errno
import fcntl
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import extract_random
from tests.helpers.s3 import LoopbackS3
from vqafeat.errors import StoreError, VideoError
from vqafeat.extraction.pipeline import Resources, VideoTask
from vqafeat.extraction.prefetch import Prefetcher
from vqafeat.extraction.results import NullProgress
from vqafeat.remote import RemoteFile, listed_files, parse_path
from vqafeat.store import FeatureStore

upath = pytest.importorskip("upath", reason="universal-pathlib is not installed: pip install vqafeat[s3]")
WRITTEN_NS = 1_700_000_000 * 10**9


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vqafeat" / "videos"


def remote(name: str, content: bytes | None, size: int | None = None) -> RemoteFile:
    path = upath.UPath(f"memory://{uuid4().hex}/{name}")
    if content is not None:
        path.write_bytes(content)
    return RemoteFile(path, len(content or b"") if size is None else size, WRITTEN_NS)


def task_of(path: Path | RemoteFile) -> VideoTask:
    return VideoTask(path.name, path, None, ("tiny",))


def fail(given: VideoTask, error: VideoError) -> None:
    raise AssertionError(f"{given.name}: {error}")


def test_prefetcher__copies_the_files_and_deletes_them_when_released(cache: Path, tmp_path: Path) -> None:
    tasks = [task_of(remote(f"{number}.mkv", bytes([number]) * 9)) for number in range(5)]
    tasks.insert(2, task_of(tmp_path / "local.mp4"))
    seen = []
    with Prefetcher(tasks, 2, fail) as fetching:
        for task in fetching:
            seen.append(task.name)
            if task.fetched is None:
                assert task.file == tmp_path / "local.mp4"
                continue
            assert task.file.read_bytes() == bytes([int(task.name[0])]) * 9
            assert (task.file.suffix, task.file.stat().st_mtime_ns) == (".mkv", WRITTEN_NS)
            fetching.release(task)
            assert not task.file.exists()
    assert sorted(seen) == ["0.mkv", "1.mkv", "2.mkv", "3.mkv", "4.mkv", "local.mp4"]
    assert not list(cache.glob("*/"))


def test_prefetcher__stays_within_the_requested_number_ahead(cache: Path) -> None:
    requested = []

    def endless() -> Iterator[VideoTask]:
        for number in range(1000):
            requested.append(number)
            yield task_of(remote(f"{number}.mp4", b"video"))

    with Prefetcher(endless(), 3, fail) as fetching:
        next(iter(fetching))
        assert len(requested) == 4
    assert not list(cache.glob("*/"))


def test_prefetcher__copies_while_another_is_decoded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()
    fetch = RemoteFile.fetch

    def noted(file: RemoteFile, to: Path) -> None:
        if file.name == "1.mp4":
            began.set()
        fetch(file, to)

    monkeypatch.setattr(RemoteFile, "fetch", noted)
    with Prefetcher([task_of(remote(f"{number}.mp4", b"video")) for number in range(3)], 1, fail) as fetching:
        assert next(iter(fetching)).name == "0.mp4"
        assert began.wait(10)


def test_prefetcher__reports_and_skips_what_cannot_be_fetched(cache: Path) -> None:
    tasks = [
        task_of(remote("gone.mp4", None)),
        task_of(remote("cut.mp4", b"1234", size=9)),
        task_of(remote("whole.mp4", b"123456789")),
    ]
    failures: list[tuple[str, str, str]] = []
    with Prefetcher(
        tasks, 2, lambda given, error: failures.append((given.name, error.kind, str(error)))
    ) as fetching:
        assert [task.name for task in fetching] == ["whole.mp4"]
    assert [(name, kind) for name, kind, _ in failures] == [
        ("gone.mp4", "cannot-open"),
        ("cut.mp4", "cannot-open"),
    ]
    assert "/gone.mp4' cannot be fetched (FileNotFoundError" in failures[0][2]
    assert "4 bytes arrived, 9 were listed" in failures[1][2]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_prefetcher__a_full_disk_ends_the_run(
    cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    given = remote("a.mp4", b"1")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(number, "nothing fits")

    monkeypatch.setattr(given.url.fs, "get_file", full)
    refused = pytest.raises(
        StoreError,
        match=r"the cache folder '.*' cannot be written to \(nothing fits\); make room .* XDG_CACHE_HOME",
    )
    with refused, Prefetcher([task_of(given)], 1, fail) as fetching:
        list(fetching)


def test_prefetcher__a_cache_that_cannot_be_written_ends_the_run(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "vqafeat").touch()
    refused = pytest.raises(
        StoreError, match=r"the cache folder '.*videos' cannot be written to \(Not a directory|File exists\)"
    )
    with refused, Prefetcher([task_of(remote("a.mp4", b"1"))], 1, fail) as fetching:
        list(fetching)


def test_prefetcher__a_slow_copy_does_not_delay_the_others(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, fetch = threading.Event(), RemoteFile.fetch

    def slow(file: RemoteFile, to: Path) -> None:
        if file.name == "0.mp4":
            assert go_on.wait(10)
        fetch(file, to)

    monkeypatch.setattr(RemoteFile, "fetch", slow)
    with Prefetcher([task_of(remote(f"{number}.mp4", b"video")) for number in range(4)], 2, fail) as fetching:
        task = iter(fetching)
        first = [next(task).name for _ in range(3)]
        go_on.set()
        assert sorted(first) == ["1.mp4", "2.mp4", "3.mp4"]
        assert [one.name for one in task] == ["0.mp4"]


def test_extract__deletes_each_copy_once_it_is_decoded(cache: Path, tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(8)]
    for number, name in enumerate(names):
        write_clip(tmp_path / name, noise_frames(3, 64, 48, number))
    dataset = csv_dataset(tmp_path, names)
    contents = [(tmp_path / name).read_bytes() for name in names]
    videos = [
        replace(video, path=remote(video.name, content))
        for video, content in zip(dataset.videos, contents, strict=True)
    ]
    most: list[int] = []

    class Counting(NullProgress):
        def frames(self, count: int) -> None:
            most.append(len(list(cache.glob("*/*.mp4"))))

    store = FeatureStore.create(tmp_path / "v.zarr", dataset)
    remote_dataset = replace(dataset, videos=tuple(videos))
    options = {"resources": Resources(workers=1), "progress": Counting()}
    summary = extract_random(remote_dataset, store, **options)
    assert (summary.extracted, summary.failures) == (8, ())
    assert 1 <= max(most) <= 3  # one in work, one ahead, and the one between
    for number, content in enumerate(contents):
        source = store.source(names[number])
        assert source is not None
        assert (source["sha256"], source["mtime_ns"]) == (sha256(content).hexdigest(), WRITTEN_NS)


def test_fetch__repeats_what_is_cut_off(s3: LoopbackS3, tmp_path: Path, cache: Path) -> None:
    path = parse_path("s3://bucket/videos", [f"endpoint_url={s3.url}"])
    content = random.Random(0).randbytes(300_000)
    (path / "a.mp4").write_bytes(content)
    (file,) = listed_files(path).values()
    s3.cut = 2
    file.fetch(tmp_path / "a.mp4")
    assert ((tmp_path / "a.mp4").read_bytes(), s3.cut) == (content, 0)
    s3.cut = 1000
    failures: list[str] = []
    with Prefetcher([task_of(file)], 1, lambda given, error: failures.append(str(error))) as fetching:
        assert list(fetching) == []
    s3.cut = 0
    assert "a.mp4' cannot be fetched (ClientPayloadError" in failures[0]


def test_prefetcher__folders_of_several_do_not_disturb_each_other(cache: Path) -> None:
    def often(_: int) -> None:
        for _ in range(50):
            with Prefetcher([task_of(remote("a.mp4", b"1"))], 1, fail) as fetching:
                (task,) = fetching
                assert task.file.read_bytes() == b"1"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(often, range(6)))
    assert not list(cache.glob("*/"))


def test_prefetcher__removes_what_a_killed_process_left_alone(cache: Path) -> None:
    for name in ("killed", "alive"):
        (cache / name).mkdir(parents=True)
        (cache / name / "in-use.lock").touch()
    with (cache / "alive" / "in-use.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Prefetcher([task_of(remote("a.mp4", b"1"))], 1, fail) as fetching:
            (task,) = fetching
            assert task.file.exists()
            assert sorted(path.name for path in cache.glob("*/")) == sorted(["alive", task.file.parent.name])
    assert [path.name for path in cache.glob("*/")] == ["alive"]
