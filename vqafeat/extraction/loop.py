"""Many videos into one store: what is done is skipped, what fails goes to the failure log, nothing stops the
rest.
"""

import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from vqafeat.backbones.feature_set import ExtractorSpec, FeatureExtractor
from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset, RawGeometry, Video
from vqafeat.errors import ArgumentError, DatasetError, StoreError, VideoError
from vqafeat.extraction.pipeline import CPU, Pipeline, Resources, VideoResult, VideoTask
from vqafeat.extraction.prefetch import Fetching
from vqafeat.remote import StorePath, VideoFile
from vqafeat.store import FeatureStore, translate_write_errors, zarr_io
from vqafeat.video.files import file_fingerprint, file_stat


@dataclass(frozen=True)
class Failure:
    """One line of the failure log."""

    video: str
    path: str
    kind: str
    message: str


def failure_log_path(store: FeatureStore) -> StorePath:
    """Return the file beside the store that has one line a failed video."""
    return zarr_io.failure_log_path(store.path)


def read_failure_log(path: StorePath) -> list[Failure]:
    """Return the failures on record, oldest first; a line that a killed run left half written is passed
    over.
    """
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines()
    return [Failure(**entry) for line in lines if (entry := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, str] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == Failure.__dataclass_fields__.keys() else None


class FailureLog:
    """The failures of videos that are not attempted now stay; those attempted now are told anew.

    Raises:
        StoreError: the file cannot be written to, here or in `add`.
    """

    def __init__(self, path: StorePath, attempted: Sequence[str]) -> None:
        self.path = path
        self.failures: list[Failure] = []
        attempted_names = set(attempted)
        kept = [failure for failure in read_failure_log(path) if failure.video not in attempted_names]
        self._lines = list[str]()
        with translate_write_errors(path):
            path.unlink(missing_ok=True)
        for failure in kept:
            self._append(failure)

    def add(self, failure: Failure) -> None:
        """Note a failure."""
        self.failures.append(failure)
        self._append(failure)

    def _append(self, failure: Failure) -> None:
        self._lines.append(json.dumps(asdict(failure)) + "\n")
        with translate_write_errors(self.path):
            if isinstance(self.path, Path):
                with self.path.open("a") as file:
                    file.write(self._lines[-1])
            else:
                self.path.write_text("".join(self._lines))  # nothing can be appended to an object


WRITES_AHEAD = 2  # videos whose rows wait in memory to be written


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did; counts of videos, and of frames decoded."""

    extracted: int
    skipped: int
    failures: tuple[Failure, ...]
    frames: int


class Progress(Protocol):
    """Told what happens, to show it; a run without a terminal passes `NullProgress`."""

    def video(self, name: str) -> None:
        """A video begins."""

    def frames(self, count: int) -> None:
        """So many frames more are done."""

    def done(self, summary: ExtractionSummary) -> None:
        """A video is done, skipped or failed; the counts so far."""


class NullProgress:
    """Shows nothing."""

    def video(self, name: str) -> None:
        """Ignore the start of a video."""

    def frames(self, count: int) -> None:
        """Ignore progress inside a video."""

    def done(self, summary: ExtractionSummary) -> None:
        """Ignore the counts."""


def extract_dataset(
    dataset: Dataset,
    store: FeatureStore,
    extractors: Sequence[FeatureExtractor],
    missing: Sequence[str] = (),
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract the feature sets of every located video that the store does not hold whole.

    Decoding, networks and writing overlap; what is interrupted finishes the write in hand, and the same call
    goes on from there.

    Args:
        missing: names of videos whose file was not found, for the failure log.

    Raises:
        StoreError: another process is writing to the store, or the disk is full.
        IdentityError: the store holds one of the feature sets under another identity (before any video is
            read).
        DatasetError: a video was not located.
    """
    shown = progress or NullProgress()
    with (
        locked_store(dataset, store, extractors, missing) as failure_log,
        Pipeline(extractors, resources, shown.frames, store.path) as pipeline,
    ):
        return ExtractionLoop(dataset, store, extractors, failure_log, shown).run(pipeline)


@contextmanager
def locked_store(
    dataset: Dataset, store: FeatureStore, extractors: Sequence[FeatureExtractor], missing: Sequence[str]
) -> Iterator[FailureLog]:
    """Hold the store for an extraction, with room for its feature sets, and lend the failure log; raises as
    `extract_dataset` does.
    """
    unlocated = [video.name for video in dataset.videos if video.path is None]
    if unlocated:
        raise DatasetError(
            f"{len(unlocated)} videos of '{dataset.name}' have no path (first: {', '.join(unlocated[:3])}); "
            f"locate them first."
        )
    with store.exclusive():
        for extractor in extractors:
            store.add_feature_set(extractor.feature_set, extractor.identity)
        failure_log = FailureLog(
            failure_log_path(store), [*missing, *(video.name for video in dataset.videos)]
        )
        for name in missing:
            failure_log.add(
                Failure(name, "", "missing", f"'{name}' was not found below the root of the data set.")
            )
        yield failure_log


class FailureSink(Protocol):
    """Where failures go."""

    failures: list[Failure]

    def add(self, failure: Failure) -> None:
        """Note a failure."""


class ExtractionLoop:
    """One extraction in this process: its counts, and what moves them. The store is held by the caller."""

    def __init__(
        self,
        dataset: Dataset,
        store: FeatureStore,
        extractors: Sequence[FeatureExtractor],
        failure_log: FailureSink,
        progress: Progress,
    ) -> None:
        self._dataset, self._store, self._extractors, self._failure_log = (
            dataset,
            store,
            extractors,
            failure_log,
        )
        self._progress = progress
        self._extracted = self._skipped = self._frames = 0

    def run(self, pipeline: Pipeline) -> ExtractionSummary:
        """Extract what is pending: hand each video that is done to the writer, and count it once it is
        stored.

        Args:
            pipeline: of the same extractors; it can serve one run after another.
        """
        writing: deque[tuple[VideoTask, Future[int]]] = deque()
        fetching = Fetching(
            self._jobs(), pipeline.videos_at_once, lambda job, error: self._fail(job.name, job.path, error)
        )
        with fetching, ThreadPoolExecutor(1, "writer") as writer:
            for outcome in pipeline.outcomes(fetching):
                fetching.release(outcome.job)
                writing.append((outcome.job, writer.submit(_store_video, self._store, outcome)))
                while len(writing) > WRITES_AHEAD or (writing and writing[0][1].done()):
                    self._count(*writing.popleft())
            while writing:
                self._count(*writing.popleft())
        return self._summary()

    def _summary(self) -> ExtractionSummary:
        return ExtractionSummary(
            self._extracted, self._skipped, tuple(self._failure_log.failures), self._frames
        )

    def _jobs(self) -> Iterator[VideoTask]:
        for video in self._dataset.videos:
            assert video.path is not None
            raw = self._dataset.raw_for(video)
            try:
                pending = pending_extractors(self._store, video, raw, self._extractors)
            except VideoError as error:
                self._fail(video.name, video.path, error)
                continue
            if pending:
                self._progress.video(video.name)
                yield VideoTask(
                    video.name, video.path, raw, tuple(extractor.feature_set for extractor in pending)
                )
            else:
                self._skipped += 1
                self._progress.done(self._summary())

    def _count(self, job: VideoTask, stored: "Future[int]") -> None:
        try:
            self._frames += stored.result()
        except VideoError as error:
            self._fail(job.name, job.path, error)
        else:
            self._extracted += 1
            self._progress.done(self._summary())

    def _fail(self, name: str, path: VideoFile, error: VideoError) -> None:
        self._failure_log.add(Failure(name, str(path), error.kind, str(error)))
        self._progress.done(self._summary())


def _store_video(store: FeatureStore, outcome: VideoResult) -> int:
    """Write what was found of a video; returns the number of its frames.

    Raises:
        VideoError: it could not be extracted.
        StoreError: it could not be written.
    """
    found, name = outcome.extracted(), outcome.job.name
    digest = found.table.source["sha256"]
    stored = store.source(name)
    try:
        # frames that other feature sets already refer to are left in place, so that a stop in between never
        # orphans those sets
        if stored is None or stored["sha256"] != digest:
            store.write_frames(name, found.table)
        for feature_set, features in found.features.items():
            store.write_features(feature_set, name, features, digest)
    except OSError as error:
        free = (
            f" ({shutil.disk_usage(store.path).free / (1 << 20):.0f} MiB free)"
            if isinstance(store.path, Path)
            else ""
        )
        raise StoreError(
            f"'{name}' cannot be written to '{store.path}': {error}{free}. What was stored before is whole; "
            "make room, then run the same command again."
        ) from error
    return len(found.table.seconds)


def pending_extractors(
    store: FeatureStore, video: Video, raw: RawGeometry | None, extractors: Sequence[FeatureExtractor]
) -> list[FeatureExtractor]:
    """Return the extractors whose rows of this very file are not stored whole."""
    source = store.source(video.name)
    if source is None or video.path is None or not _same_file(video.path, raw, source):
        return list(extractors)
    return [extractor for extractor in extractors if not store.is_complete(extractor.feature_set, video.name)]


def _same_file(path: VideoFile, raw: RawGeometry | None, source: dict[str, object]) -> bool:
    stamp = file_stat(path, raw)
    if stamp["bytes"] != source.get("bytes"):
        return False
    if stamp == {key: source.get(key) for key in stamp}:
        return True
    return bool(file_fingerprint(path, raw)["sha256"] == source["sha256"])


@dataclass(frozen=True)
class Extraction:
    """One extraction, as it is handed to a backend.

    Attributes:
        dataset: its videos, located.
        store: opened for writing.
        extractors: the feature sets.
        request: what the extractors were built from; other processes build their own.
        missing: names of videos whose file was not found, for the failure log.
        resources: of each process that runs networks.
        devices: of this machine that share the videos.
        cluster: the Ray cluster whose machines extract; None extracts on this machine.

    Raises:
        ArgumentError: the request is for other feature sets than the extractors, or there is no device.
    """

    dataset: Dataset
    store: FeatureStore
    extractors: Sequence[FeatureExtractor]
    request: ExtractorSpec
    missing: Sequence[str] = ()
    resources: Resources = field(default_factory=Resources)
    devices: Sequence[torch.device] = (CPU,)
    cluster: ClusterOptions | None = None

    def __post_init__(self) -> None:
        built = {extractor.feature_set for extractor in self.extractors}
        if len(built) > len(set(self.request.feature_sets)):
            raise ArgumentError(
                f"the request names {', '.join(self.request.feature_sets)}, but extractors were built for "
                f"{', '.join(built)}."
            )
        if not self.devices:
            raise ArgumentError("devices is empty; name at least one, such as --device cpu.")
