"""Check a store against its videos: extract damaged videos again, and compare a sample."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vqafeat.backbones.feature_set import (
    FeatureExtractor,
    backbone_names,
    build_extractors,
    recorded_precision,
    recorded_weights,
)
from vqafeat.datasets import Dataset, load_manifest, locate_videos, manifest_names
from vqafeat.errors import ArgumentError, IdentityError
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import ExtractionSummary, Progress
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore, problems, store_key, store_path


@dataclass(frozen=True)
class Comparison:
    """The stored features of a video compared with those that its file gives now."""

    video: str
    feature_set: str
    difference: float  # the largest, divided by the largest stored value; infinite if frames or rows differ
    tolerance: float  # the largest difference that passes
    failure: str = ""  # why the file gives no features now

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ArgumentError(f"tolerance is {self.tolerance}; it has to be at least 0, such as 0.001.")

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        result = f"differs by up to {self.difference:.2g} of its largest value"
        if self.difference == 0:
            result = "equal"
        elif not np.isfinite(self.difference):
            result = f"cannot be compared: {self.failure}" if self.failure else "has other frames or rows"
        excess = "" if self.passed or self.failure else f", more than {self.tolerance:g}"
        return f"{self.feature_set}/{self.video}: {result}{excess}"


def damaged_videos(store: FeatureStore) -> list[str]:
    """Return the videos with a problem, in the order of the data set."""
    damaged = {video for video, _ in problems(store)}
    names = [video.name for video in store.dataset.videos]
    return [name for name in names if name in damaged or store_key(name) in damaged]


def stored_dataset(store: FeatureStore, names: Sequence[str], root: StorePath) -> Dataset:
    """Return some of a store's videos with their files below a folder, by the manifest if there is one."""
    whole = store.dataset
    dataset = whole.subset([row for row, video in enumerate(whole.videos) if video.name in set(names)])
    if whole.name in manifest_names():
        manifest = load_manifest(whole.name)
        dataset = replace(dataset, raw=manifest.raw, files=manifest.files)
    return locate_videos(dataset, root).dataset


def stored_extractors(store: FeatureStore, weights: Mapping[str, str]) -> list[FeatureExtractor]:
    """Return what made the store's feature sets; weights from files have to be given, by backbone."""
    extractors = []
    for name in store.feature_sets():
        identity = store.identity(name)
        recorded = recorded_weights(identity.weights)
        sources = {backbone: weights.get(backbone, recorded) for backbone in backbone_names([name])}
        known = {backbone: source for backbone, source in sources.items() if source is not None}
        (extractor,) = build_extractors([name], known, *recorded_precision(identity.precision))
        if extractor.identity != identity:
            problem = f"feature set '{name}' of '{store.path}' cannot be made here as it was"
            differences = f"stored against here: {identity.differences(extractor.identity)}"
            raise IdentityError(f"{problem}; {differences}. Use the same --weights and versions.")
        extractors.append(extractor)
    return extractors


def repair(
    store: FeatureStore,
    names: Sequence[str],
    root: StorePath,
    extractors: Sequence[FeatureExtractor],
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract damaged videos again, and no others; if interrupted, `vqafeat extract` does the rest."""
    dataset = stored_dataset(store, names, root)
    with store.exclusive():
        for name in names:
            store.forget(name)
    return extract_features(dataset, extractors, store, resources=resources, progress=progress)


def compared(
    store: FeatureStore,
    names: Sequence[str],
    root: StorePath,
    extractors: Sequence[FeatureExtractor],
    tolerance: float,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> list[Comparison]:
    """Extract videos again into a temporary store, and compare them with what is stored."""
    dataset = stored_dataset(store, names, root)
    with tempfile.TemporaryDirectory(prefix="vqafeat-verify-") as folder:
        again = FeatureStore.create(store_path(Path(folder), dataset.name), dataset)
        summary = extract_features(dataset, extractors, again, resources=resources, progress=progress)
        reasons = {failure.video: failure.message for failure in summary.failures}
        return [
            Comparison(name, own, _difference(store, again, own, name), tolerance, reasons.get(name, ""))
            for own in (extractor.feature_set for extractor in extractors)
            for name in names
            if store.is_complete(own, name)
        ]


def _difference(store: FeatureStore, again: FeatureStore, feature_set: str, video: str) -> float:
    if not again.is_complete(feature_set, video):
        return float("inf")
    stored, new = store.read(feature_set, video), again.read(feature_set, video)
    times, new_times = store.seconds(video), again.seconds(video)
    same_times = times is None or (new_times is not None and np.array_equal(times, new_times))
    same_rows = stored.values.shape == new.values.shape and np.array_equal(stored.frame, new.frame)
    if not (same_rows and same_times):
        return float("inf")
    values = stored.values.astype(np.float64)
    largest = np.abs(values).max(initial=np.finfo(np.float32).tiny)
    return float(np.abs(values - new.values).max(initial=0) / largest)
