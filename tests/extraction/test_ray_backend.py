"""Ray's workers leave the store of one process; what kills them is tried again, then reported."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.crashing_extraction_worker import DEADLY, DEADLY_ONCE, DyingWorker
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import SQUEEZENET, RecordedProgress, extract_random, tree
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset, RawGeometry
from vqafeat.errors import ClusterError, IdentityError, StoreError, WeightsError
from vqafeat.extraction import ray_backend
from vqafeat.extraction.extract import WorkerSetup
from vqafeat.extraction.pipeline import Resources, VideoTask
from vqafeat.extraction.ray_backend import estimate_costs, extract_on_ray, longest_first
from vqafeat.extraction.results import ExtractionSummary, Tally, read_failure_log
from vqafeat.store import FeatureStore
from vqafeat.store.zarr_io import failure_log_path

NAMES = [f"{index}.mp4" for index in range(5)]


def clips(folder: Path, names: list[str], frames: int = 4) -> Dataset:
    folder.mkdir()
    for index, name in enumerate(names):
        write_clip(folder / name, noise_frames(frames + 4 * index, seed=index))
    return csv_dataset(folder, names)


def alone(dataset: Dataset, folder: Path) -> dict[str, bytes]:
    store = FeatureStore.create(folder / "alone" / "videos.zarr", dataset)
    extract_random(dataset, store)
    return tree(store.path)


def new_store(dataset: Dataset, folder: Path) -> FeatureStore:
    return FeatureStore.create(folder / "spread" / "videos.zarr", dataset)


def spread(
    dataset: Dataset, store: FeatureStore, progress: RecordedProgress | None = None, **options: Any
) -> ExtractionSummary:
    return extract_random(
        dataset, store, resources=Resources(), cluster=ClusterOptions(**options), progress=progress
    )


def tasks_of(dataset: Dataset) -> list[VideoTask]:
    return [
        VideoTask(video.name, video.path, dataset.raw, SQUEEZENET) for video in dataset.videos if video.path
    ]


def test_ray_backend__two_workers_leave_the_store_of_one_process(cluster: Any, tmp_path: Path) -> None:
    dataset = clips(tmp_path / "videos", NAMES)
    path = dataset.videos[1].path
    assert path is not None
    path.write_bytes(b"no video")
    expected = alone(dataset, tmp_path)
    store, progress = new_store(dataset, tmp_path), RecordedProgress()
    summary = spread(dataset, store, progress)
    assert (summary.extracted, summary.skipped, summary.frames) == (4, 0, 4 + 12 + 16 + 20)
    assert [failure.kind for failure in summary.failures] == ["cannot-open"]
    assert read_failure_log(failure_log_path(store.path)) == list(summary.failures)
    assert tree(store.path) == expected
    assert progress.names == ["4.mp4", "3.mp4", "2.mp4", "0.mp4", "1.mp4"]
    path.unlink()
    again = spread(dataset, store)
    assert (again.extracted, again.skipped, [failure.kind for failure in again.failures]) == (
        0,
        4,
        ["cannot-open"],
    )


def test_ray_backend__a_killed_worker_costs_the_deadly_video_alone(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = clips(tmp_path / "videos", [*NAMES[:3], DEADLY_ONCE, DEADLY])
    monkeypatch.setattr(ray_backend, "ExtractionWorker", DyingWorker)
    store, progress = new_store(dataset, tmp_path), RecordedProgress()
    summary = spread(dataset, store, progress, retries=1)
    assert (summary.extracted, summary.skipped) == (4, 0)
    (failure,) = summary.failures
    assert (failure.video, failure.kind) == (DEADLY, "worker-died")
    assert failure.message.startswith("2 worker(s) died while extracting '")
    assert failure.message.endswith("; run the same command again to retry the video.")
    assert read_failure_log(failure_log_path(store.path)) == [failure]
    assert Counter(progress.names) == {**dict.fromkeys(NAMES[:3], 1), DEADLY_ONCE: 2, DEADLY: 2}
    assert (tmp_path / "videos" / "died").read_text().split() == ["died"] * 3
    assert not list(store.path.rglob("*.partial"))
    monkeypatch.undo()
    assert spread(dataset, store).extracted == 1
    assert tree(store.path) == alone(dataset, tmp_path)


class RemovingNode(RecordedProgress):
    """Kills a machine once each of three workers has a video."""

    def __init__(self, cluster: Any, node: Any) -> None:
        super().__init__()
        self._cluster, self._node = cluster, node

    def video(self, name: str) -> None:
        super().video(name)
        if len(self.names) == 4:
            self._cluster.remove_node(self._node, allow_graceful=False)


def test_ray_backend__a_machine_that_dies_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    dataset = clips(tmp_path / "videos", [f"{index}.mp4" for index in range(7)], frames=90)
    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.wait_for_nodes()
    store, progress = new_store(dataset, tmp_path), RemovingNode(cluster, node)
    summary = spread(dataset, store, progress, workers=3)
    assert (summary.extracted, summary.failures) == (7, ())
    assert set(progress.names) == {video.name for video in dataset.videos}
    assert tree(store.path) == alone(dataset, tmp_path)


def test_ray_backend__what_a_worker_refuses_is_the_error_of_the_run(cluster: Any, tmp_path: Path) -> None:
    dataset = clips(tmp_path / "videos", NAMES[:1])
    store = new_store(dataset, tmp_path)
    (extractor,) = build_extractors(SQUEEZENET, {"squeezenet1_0": "random"})
    store.add_feature_set(extractor.feature_set, extractor.identity)
    for weights, kind, message in (
        ("random:1", IdentityError, "weights_sha256"),
        (str(tmp_path / "absent.pth"), WeightsError, r"absent\.pth"),
    ):
        build = partial(build_extractors, SQUEEZENET, {"squeezenet1_0": weights})
        setup = WorkerSetup(store.path, build, Resources())
        with pytest.raises(kind, match=message):
            extract_on_ray(tasks_of(dataset), setup, ClusterOptions(), Tally())
    with store.exclusive(), pytest.raises(StoreError, match="another process is writing to"):
        spread(dataset, FeatureStore.open(store.path, writable=True))


def test_ray_backend__reports_workers_that_cannot_start(cluster: Any, tmp_path: Path) -> None:
    dataset = clips(tmp_path / "videos", NAMES[:1])
    with pytest.raises(
        ClusterError, match=r"no machine of the cluster holds a worker with 64 CPU .*lower --cpus-per-worker"
    ):
        spread(dataset, new_store(dataset, tmp_path), cpus_per_worker=64)
    store = new_store(dataset, tmp_path)
    with pytest.raises(
        ClusterError,
        match=r"no worker with 64 CPU could start for 0.5 seconds, with 1 batches .* --startup-timeout",
    ):
        spread(dataset, store, cpus_per_worker=64, workers=1, startup_timeout_seconds=0.5)


def test_estimate_costs__are_frames_times_pixels_whatever_the_file_size(tmp_path: Path) -> None:
    write_clip(tmp_path / "short.mp4", noise_frames(3, 64, 48))
    write_clip(tmp_path / "long.mkv", noise_frames(30, 64, 48) // 64 * 64)
    write_clip(tmp_path / "large.mp4", noise_frames(3, 320, 240))
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 10_000)
    (tmp_path / "raw.yuv").write_bytes(bytes(32 * 24 * 3 // 2 * 7))
    names = ["broken.mp4", "short.mp4", "raw.yuv", "long.mkv", "large.mp4"]
    dataset = replace(csv_dataset(tmp_path, names), raw=RawGeometry(32, 24, "yuv420p", 25.0))
    tasks = tasks_of(dataset)
    assert estimate_costs(tasks) == [0, 3 * 64 * 48, 7 * 32 * 24, 30 * 64 * 48, 3 * 320 * 240]
    assert [[task.name for task in batch] for batch in longest_first(tasks, 2)] == [
        ["large.mp4", "long.mkv"],
        ["short.mp4", "raw.yuv"],
        ["broken.mp4"],
    ]
