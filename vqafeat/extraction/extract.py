"""Stage 1: decode each video of a data set once and store the features of its frames."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from vqafeat.backbones.feature_set import FeatureExtractor, backbone_names, build_extractors
from vqafeat.backbones.network import resolve_precision
from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset, locate_videos
from vqafeat.datasets.dataset import times_problem
from vqafeat.errors import ArgumentError, DatasetError, VideoError
from vqafeat.extraction.pipeline import Pipeline, Resources, VideoState, VideoTask, default_workers
from vqafeat.extraction.prefetch import Prefetcher
from vqafeat.extraction.results import ExtractionSummary, FailureLog, Progress, Tally
from vqafeat.registry import install_plugins, pickled_plugins
from vqafeat.remote import StorePath, parse_path
from vqafeat.store import FeatureStore, store_path, translate_write_errors, worker_lock
from vqafeat.store.zarr_io import failure_log_path
from vqafeat.system import device_named
from vqafeat.video.files import file_fingerprint, file_stat

WRITES_AHEAD = 2  # videos whose features wait in memory to be written


def extract(
    dataset: Dataset,
    feature_sets: Sequence[str],
    store: str | StorePath = "features",
    *,
    weights: Mapping[str, str | Path] | None = None,
    dtype: str = "float16",
    precision: str | None = None,
    devices: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> FeatureStore:
    """Extract the feature sets of a data set and return its store, `<store>/<dataset>.zarr`.

    Videos that the store already holds are skipped. A video that fails is left out with a warning; the
    failure log next to the store names the reason.

    Args:
        dataset: videos without a path are looked for below the data set's root.
        feature_sets: names such as `resnet50:stages@short540`.
        store: folder of the stores, or an `s3://` URL.
        weights: backbone → `imagenet`, `random`, `random:SEED` or a file; others use their published weights.
        dtype: in which features are stored, `float16` or `float32`.
        precision: in which networks compute, `fp32`, `fp16` or `bf16`; None for fp32 on a CPU, fp16 on a GPU.
        devices: of this machine, such as `["cuda:0", "cuda:1"]`, that share the videos; None for the first
            GPU, or the CPU if there is none.

    Raises:
        IdentityError: the store holds one of the feature sets under another identity; no video was read.
        StoreError: another process is writing to the store, or the disk is full.
    """
    if isinstance(dataset, str | Path):
        raise ArgumentError(f"dataset is the text '{dataset}'; give a data set, load_dataset('{dataset}').")
    path = store_path(parse_path(store), dataset.name)
    summary = extract_features(
        dataset,
        feature_sets,
        store,
        weights=weights,
        dtype=dtype,
        precision=precision,
        devices=devices,
        progress=progress,
    )
    if summary.bad_times:
        warnings.warn(summary.times_note, stacklevel=2)
    if summary.failures:
        count = f"{len(summary.failures)} of {len(dataset.videos)} videos failed"
        first = f"first: {summary.failures[0].message}"
        warnings.warn(f"{count} ({first}) All are in {failure_log_path(path)}.", stacklevel=2)
    return FeatureStore.open(path)


def extract_features(
    dataset: Dataset,
    feature_sets: Sequence[str | FeatureExtractor],
    store: str | StorePath | FeatureStore,
    *,
    weights: Mapping[str, str | Path] | None = None,
    dtype: str = "float16",
    precision: str | None = None,
    resources: Resources | None = None,
    devices: Sequence[str | torch.device] | None = None,
    cluster: ClusterOptions | None = None,
    whole: Dataset | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract the feature sets of every video that the store does not hold completely yet.

    An interrupted extraction finishes the write in progress, and the same call resumes it. Other arguments,
    and the errors, are those of `extract`.

    Args:
        feature_sets: names; or, for one device, extractors built before.
        store: folder of the stores, in which `<dataset>.zarr` is made; or an open store.
        resources: of each process that runs networks.
        devices: of this machine, such as `cuda:0`, that share the videos; None for that of `resources`.
        cluster: the Ray cluster whose machines extract.
        whole: the data set before videos without a file were left out. The store gets all labels, and the
            failure log the videos that were left out.
    """
    for argument, value in (("feature_sets", feature_sets), ("devices", devices)):
        if isinstance(value, str):
            raise ArgumentError(f"{argument} is the text '{value}'; give a list, such as ['{value}'].")
    dataset = _located(dataset)
    resources = _resources(resources, devices, cluster)
    several = cluster is not None or len(devices or ()) > 1
    precision = resolve_precision(precision, resources.device)
    build = _builder(feature_sets, weights or {}, dtype, precision, several)
    extractors = build()
    if not isinstance(store, FeatureStore):
        store = FeatureStore.create(store_path(parse_path(store), dataset.name), whole or dataset)
    with store.exclusive():
        for extractor in extractors:
            store.add_feature_set(extractor.feature_set, extractor.identity)
        names = [extractor.feature_set for extractor in extractors]
        attempted = [video.name for video in (whole or dataset).videos]
        tally = Tally(FailureLog(failure_log_path(store.path), attempted, names), progress)
        located = {video.name for video in dataset.videos}
        for name in (name for name in attempted if name not in located):
            error = VideoError("missing", f"'{name}' was not found below the root of the data set.")
            tally.add(ExtractionSummary.failed(name, "", error))
        tasks = pending_tasks(dataset, store, extractors, tally)
        if cluster is not None:
            from vqafeat.extraction.ray_backend import extract_on_ray

            extract_on_ray(list(tasks), WorkerSetup(store.path, build, resources), cluster, tally)
        elif devices is not None and len(devices) > 1:
            from vqafeat.extraction.multi_device import extract_on_devices

            extract_on_devices(list(tasks), WorkerSetup(store.path, build, resources), devices, tally)
        else:
            with Pipeline(extractors, resources, tally.frames, store.path) as pipeline:
                extract_tasks(tasks, store, pipeline, tally)
    return tally.summary


def _located(dataset: Dataset) -> Dataset:
    without = [video.name for video in dataset.videos if video.path is None]
    if not without:
        return dataset
    if dataset.root is None:
        problem = f"{len(without)} videos of '{dataset.name}' have no path (first: {', '.join(without[:3])})"
        raise DatasetError(f"{problem}; locate them first, or load the data set with root=FOLDER.")
    return locate_videos(dataset, dataset.root).dataset


def _resources(
    given: Resources | None, devices: Sequence[str | torch.device] | None, cluster: ClusterOptions | None
) -> Resources:
    if devices is not None and not devices:
        raise ArgumentError("devices is empty; name at least one, such as cpu.")
    if cluster is not None:  # this machine need not have a GPU
        device = torch.device(cluster.device_name)
    elif devices or given is None:
        device = device_named(str(devices[0]) if devices else None)
    else:
        device = given.device
    return replace(given, device=device) if given else Resources(device, default_workers(device))


def _builder(
    feature_sets: Sequence[str | FeatureExtractor],
    weights: Mapping[str, str | Path],
    dtype: str,
    precision: str,
    several: bool,
) -> Callable[[], list[FeatureExtractor]]:
    """Return a function that builds the extractors, in this process and, from names, in others."""
    names = [item for item in feature_sets if isinstance(item, str)]
    built = [item for item in feature_sets if isinstance(item, FeatureExtractor)]
    if built and not names and not several:
        return lambda: built
    if built or not names:
        shown = [item if isinstance(item, str) else item.feature_set for item in feature_sets]
        raise ArgumentError(f"feature_sets is {shown}; give names, or extractors on one device.")
    known = backbone_names(names)
    if isinstance(weights, str | Path):
        example = {name: str(weights) for name in known[:1]}
        raise ArgumentError(f"weights is the text '{weights}'; give them by backbone, such as {example}.")
    if unknown := sorted(set(weights) - set(known)):
        raise ArgumentError(f"weights are given for '{unknown[0]}'; the backbones are {', '.join(known)}.")
    files = {name: str(source) for name, source in weights.items()}
    return partial(build_extractors, names, files, dtype, precision)


def pending_tasks(
    dataset: Dataset, store: FeatureStore, extractors: Sequence[FeatureExtractor], tally: Tally
) -> Iterator[VideoTask]:
    """Yield the videos with the feature sets that the store does not hold; count the others."""
    names = tuple(extractor.feature_set for extractor in extractors)
    for video in dataset.videos:
        assert video.path is not None
        task = VideoTask(video.name, video.path, video.raw or dataset.raw, names)
        try:
            pending = pending_feature_sets(store, task)
        except VideoError as error:
            tally.fail(task, error)
            continue
        if pending:
            yield replace(task, feature_sets=pending)
        else:
            tally.add(ExtractionSummary(skipped=1))


def pending_feature_sets(store: FeatureStore, task: VideoTask) -> tuple[str, ...]:
    """Return the feature sets of a task that the store does not hold completely for this very file."""
    source = store.source(task.name)
    if source is None or not _is_same_file(task, source):
        return task.feature_sets
    return tuple(name for name in task.feature_sets if not store.is_complete(name, task.name))


def _is_same_file(task: VideoTask, source: Mapping[str, object]) -> bool:
    status = file_stat(task.path, task.raw)
    if status["bytes"] != source.get("bytes"):
        return False
    if status == {key: source.get(key) for key in status}:
        return True
    return bool(file_fingerprint(task.path, task.raw)["sha256"] == source["sha256"])


def extract_tasks(tasks: Iterable[VideoTask], store: FeatureStore, pipeline: Pipeline, tally: Tally) -> None:
    """Extract videos in this process: decoding, networks and writing overlap. The caller holds the lock."""
    writing: deque[Future[ExtractionSummary]] = deque()

    def begun() -> Iterator[VideoTask]:
        for task in tasks:
            tally.video(task.name)
            yield task

    with (
        Prefetcher(begun(), pipeline.videos_at_once, tally.fail) as prefetcher,
        ThreadPoolExecutor(1, "writer") as writer,
    ):
        for video in pipeline.results(prefetcher):
            prefetcher.release(video.task)
            writing.append(writer.submit(_write_video, store, video))
            while len(writing) > WRITES_AHEAD or (writing and writing[0].done()):
                tally.add(writing.popleft().result())
        while writing:
            tally.add(writing.popleft().result())


def _write_video(store: FeatureStore, state: VideoState) -> ExtractionSummary:
    name = state.task.name
    try:
        video = state.extracted()
    except VideoError as error:
        return ExtractionSummary.failed(name, state.task.path, error, tuple(state.refused))
    digest, stored = video.table.source["sha256"], store.source(name)
    with translate_write_errors(store.path):
        # frames that other feature sets refer to already are left in place, so that a stop in between never
        # orphans those sets
        if stored is None or stored["sha256"] != digest:
            store.write_frames(name, video.table)
        for feature_set, features in video.features.items():
            store.write_features(feature_set, name, features, digest)
    problem = times_problem(video.table.seconds, video.table.source)
    bad_times = (f"those of '{name}' {problem}",) if problem else ()
    summary = ExtractionSummary(frames=len(video.table.seconds), bad_times=bad_times)
    if state.refusal is None:
        return replace(summary, extracted=1)
    return summary + ExtractionSummary.failed(name, state.task.path, state.refusal, tuple(state.refused))


@dataclass(frozen=True)
class WorkerSetup:
    """What another process needs to extract videos into the store, which this process has locked."""

    store: StorePath
    build: Callable[[], list[FeatureExtractor]]
    resources: Resources
    plugins: bytes = field(default_factory=pickled_plugins)

    @contextmanager
    def opened(
        self, on_frames: Callable[[int], object] = lambda count: None
    ) -> Iterator[tuple[FeatureStore, Pipeline]]:
        """Load the networks in this process, which counts as a worker of the run meanwhile."""
        install_plugins(self.plugins)
        store = FeatureStore.open(self.store, writable=True)
        extractors = self.build()
        for extractor in extractors:  # refused if this machine's versions give other features
            store.add_feature_set(extractor.feature_set, extractor.identity)
        with worker_lock(self.store), Pipeline(extractors, self.resources, on_frames, self.store) as pipeline:
            yield store, pipeline
