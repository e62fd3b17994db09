"""Several devices, here the processor several times: one store, as from a single process."""

import os
import signal
import threading
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import RecordedProgress, extract_random, tree
from vqafeat.datasets import Dataset
from vqafeat.errors import ExtractionError, StoreError
from vqafeat.extraction.multi_device import shares
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.extraction.results import ExtractionSummary, Progress, read_failure_log
from vqafeat.store import FeatureStore
from vqafeat.store.zarr_io import failure_log_path

NAMES = [f"{index}.mp4" for index in range(5)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "videos"
    folder.mkdir()
    for index, name in enumerate(NAMES):
        write_clip(folder / name, noise_frames(4 + 4 * index, seed=index))
    (folder / "1.mp4").write_bytes(b"no video")
    return csv_dataset(folder, NAMES)


def spread(dataset: Dataset, store: FeatureStore, progress: Progress | None = None) -> ExtractionSummary:
    return extract_random(dataset, store, devices=["cpu", "cpu"], progress=progress)


def test_extract_on_devices__two_processes_leave_the_store_of_one(dataset: Dataset, tmp_path: Path) -> None:
    alone = FeatureStore.create(tmp_path / "alone" / "videos.zarr", dataset)
    expected = extract_random(dataset, alone)
    store, progress = FeatureStore.create(tmp_path / "spread" / "videos.zarr", dataset), RecordedProgress()
    summary = spread(dataset, store, progress)
    assert (summary.extracted, summary.skipped, summary.frames) == (4, 0, expected.frames)
    assert [failure.video for failure in summary.failures] == ["1.mp4"]
    assert read_failure_log(failure_log_path(store.path)) == list(summary.failures)
    assert tree(store.path) == tree(alone.path)
    assert set(progress.names) == set(NAMES)


def test_extract_on_devices__has_nothing_to_do_for_stored_videos(dataset: Dataset, tmp_path: Path) -> None:
    stored = dataset.subset([0])
    store = FeatureStore.create(tmp_path / "s" / "videos.zarr", stored)
    extract_random(stored, store)
    assert spread(stored, store).skipped == 1


def test_shares__divide_videos_by_size_and_lose_none(dataset: Dataset) -> None:
    tasks = [VideoTask(video.name, video.path, None, ()) for video in dataset.videos if video.path]
    parts = shares(tasks, 2)
    assert sorted(task.name for part in parts for task in part) == NAMES
    loads = [sum(task.file.stat().st_size for task in part) for part in parts]
    assert abs(loads[0] - loads[1]) <= max(task.file.stat().st_size for task in tasks)
    assert [len(part) for part in shares(tasks, 5)] == [1] * 5


@pytest.mark.faults
def test_extract_on_devices__reports_a_killed_process_and_keeps_the_rest(
    dataset: Dataset, tmp_path: Path
) -> None:
    store = FeatureStore.create(tmp_path / "s" / "videos.zarr", dataset)

    def kill_one() -> None:
        while not (running := [child for child in active_children() if child.name.startswith("the process")]):
            time.sleep(0.01)
        assert running[0].pid is not None
        os.kill(running[0].pid, signal.SIGKILL)

    threading.Thread(target=kill_one, daemon=True).start()
    with pytest.raises(
        ExtractionError,
        match=r"the process on device 'cpu' was killed by signal 9 .* the same command resumes",
    ):
        spread(dataset, store)
    assert spread(dataset, store).extracted <= 4
    assert store.complete_videos("squeezenet1_0") == ["0.mp4", "2.mp4", "3.mp4", "4.mp4"]


def test_extract_on_devices__an_error_of_one_process_is_the_error_of_all(
    dataset: Dataset, tmp_path: Path
) -> None:
    store = FeatureStore.create(tmp_path / "s" / "videos.zarr", dataset)
    with store.exclusive(), pytest.raises(StoreError, match="another process is writing"):
        spread(dataset, FeatureStore.open(store.path, writable=True))
