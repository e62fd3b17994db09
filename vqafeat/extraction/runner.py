"""Many videos into one store: what is done is skipped, what fails goes to the ledger, nothing stops the rest."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from vqafeat.errors import DatasetError, VideoError
from vqafeat.extraction.pipeline import Extractor, extract_video, file_source, file_stamp
from vqafeat.manifest import Dataset, RawGeometry, Video
from vqafeat.store import FeatureStore


@dataclass(frozen=True)
class Failure:
    """One line of the ledger."""

    video: str
    path: str
    kind: str
    message: str


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did; counts of videos, and of frames decoded."""

    extracted: int
    skipped: int
    failures: tuple[Failure, ...]
    frames: int


class Progress(Protocol):
    """Told what happens, to show it; a run without a terminal passes `Silent`."""

    def video(self, name: str) -> None:
        """A video begins."""

    def frames(self, count: int) -> None:
        """So many frames more are done."""

    def done(self, summary: ExtractionSummary) -> None:
        """A video is done, skipped or failed; the counts so far."""


class Silent:
    """Shows nothing."""

    def video(self, name: str) -> None:
        """Ignore the start of a video."""

    def frames(self, count: int) -> None:
        """Ignore progress inside a video."""

    def done(self, summary: ExtractionSummary) -> None:
        """Ignore the counts."""


def ledger_path(store: FeatureStore) -> Path:
    """Return the file beside the store that has one line a failed video."""
    return store.path.with_suffix(".failures.jsonl")


def read_ledger(path: Path) -> list[Failure]:
    """Return the failures on record, oldest first; a line that a killed run left half written is passed over."""
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


def extract_dataset(
    dataset: Dataset,
    store: FeatureStore,
    extractors: Sequence[Extractor],
    missing: Sequence[str] = (),
    batch_frames: int = 2,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract the feature sets of every located video that the store does not hold whole.

    Args:
        missing: names of videos whose file was not found, for the ledger.

    Raises:
        StoreError: another process is writing to the store.
        IdentityError: the store holds one of the feature sets under another identity (before any video is read).
        DatasetError: a video was not located.
    """
    unlocated = [video.name for video in dataset.videos if video.path is None]
    if unlocated:
        raise DatasetError(
            f"{len(unlocated)} videos of '{dataset.name}' have no path (first: {', '.join(unlocated[:3])}); locate them first."
        )
    with store.exclusive():
        for extractor in extractors:
            store.add_feature_set(extractor.feature_set, extractor.identity)
        return _extract_all(dataset, store, extractors, missing, batch_frames, progress or Silent())


def _extract_all(
    dataset: Dataset, store: FeatureStore, extractors: Sequence[Extractor], missing: Sequence[str], batch_frames: int, progress: Progress
) -> ExtractionSummary:
    ledger = _Ledger(ledger_path(store), [*missing, *(video.name for video in dataset.videos)])
    for name in missing:
        ledger.add(Failure(name, "", "missing", f"'{name}' was not found below the root of the data set."))
    extracted = skipped = frames = 0
    for video in dataset.videos:
        progress.video(video.name)
        try:
            decoded = _extract_pending(store, video, dataset.raw_for(video), extractors, batch_frames, progress.frames)
        except VideoError as error:
            ledger.add(Failure(video.name, str(video.path), error.kind, str(error)))
        else:
            extracted, skipped, frames = extracted + (decoded > 0), skipped + (decoded == 0), frames + decoded
        progress.done(ExtractionSummary(extracted, skipped, tuple(ledger.failures), frames))
    return ExtractionSummary(extracted, skipped, tuple(ledger.failures), frames)


def pending_extractors(store: FeatureStore, video: Video, raw: RawGeometry | None, extractors: Sequence[Extractor]) -> list[Extractor]:
    """Return the extractors whose rows of this very file are not stored whole."""
    source = store.source(video.name)
    if source is None or video.path is None or not _same_file(video.path, raw, source):
        return list(extractors)
    return [extractor for extractor in extractors if not store.is_complete(extractor.feature_set, video.name)]


def _same_file(path: Path, raw: RawGeometry | None, source: dict[str, object]) -> bool:
    stamp = file_stamp(path, raw)
    if stamp == {key: source.get(key) for key in stamp}:
        return True
    return bool(file_source(path, raw)["sha256"] == source["sha256"])


def _extract_pending(
    store: FeatureStore,
    video: Video,
    raw: RawGeometry | None,
    extractors: Sequence[Extractor],
    batch_frames: int,
    on_frames: Callable[[int], object],
) -> int:
    """Extract what is not stored of a video; returns the number of frames decoded, 0 where nothing was left to do."""
    assert video.path is not None
    pending = pending_extractors(store, video, raw, extractors)
    if not pending:
        return 0
    found = extract_video(video.path, pending, raw, batch_frames, on_frames)
    digest = found.table.source["sha256"]
    stored = store.source(video.name)
    # frames that other feature sets already refer to are left in place, so that a stop in between never orphans those sets
    if stored is None or stored["sha256"] != digest:
        store.write_frames(video.name, found.table)
    for feature_set, features in found.features.items():
        store.write_features(feature_set, video.name, features, digest)
    return len(found.table.seconds)


class _Ledger:
    """The failures of videos that are not attempted now stay; those attempted now are told anew."""

    def __init__(self, path: Path, attempted: Sequence[str]) -> None:
        self.path = path
        self.failures: list[Failure] = []
        attempted_names = set(attempted)
        kept = [failure for failure in read_ledger(path) if failure.video not in attempted_names]
        path.unlink(missing_ok=True)
        for failure in kept:
            self._append(failure)

    def add(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._append(failure)

    def _append(self, failure: Failure) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(failure)) + "\n")
