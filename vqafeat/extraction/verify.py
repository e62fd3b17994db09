"""A store held against the videos that it is from: damaged videos extracted again, and a sample compared."""

import tempfile
from collections.abc import Sequence
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
from vqafeat.extraction.loop import ExtractionSummary, Progress, extract_dataset
from vqafeat.extraction.pipeline import Resources
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore, problems, store_key, store_path


@dataclass(frozen=True)
class Comparison:
    """A video's stored rows of a feature set, held against those that its file gives now.

    Attributes:
        video, feature_set: of the rows.
        difference: the largest one, as a share of the largest stored value; infinite where rows or frames are
            others.
        tolerance: the largest one that passes.

    Raises:
        ArgumentError: the tolerance is below 0.
    """

    video: str
    feature_set: str
    difference: float
    tolerance: float

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ArgumentError(f"tolerance is {self.tolerance}; it has to be at least 0, as 0.001.")

    @property
    def passed(self) -> bool:
        """Whether they are the same, as far as the tolerance goes."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        found = (
            "equal"
            if self.difference == 0
            else f"differs by up to {self.difference:.2g} of its largest value"
        )
        found = found if np.isfinite(self.difference) else "has other frames or rows"
        return f"{self.feature_set}/{self.video}: {found}{'' if self.passed else f', more than {self.tolerance:g}'}"


def damaged_videos(store: FeatureStore) -> list[str]:
    """Return the data set's videos with something wrong, in its order."""
    wrong = {video for video, _ in problems(store)}
    return [
        video.name for video in store.dataset.videos if video.name in wrong or store_key(video.name) in wrong
    ]


def stored_dataset(store: FeatureStore, names: Sequence[str], root: StorePath) -> Dataset:
    """Return some of a store's videos with their files below a folder; a known data set's files are found as
    its manifest says.

    Raises:
        DatasetError: a file is missing.
    """
    whole = store.dataset
    rows = [row for row, video in enumerate(whole.videos) if video.name in set(names)]
    chosen = whole.subset(rows)
    if whole.name in manifest_names():
        known = load_manifest(whole.name)
        chosen = replace(chosen, raw=known.raw, files=known.files)
    return locate_videos(chosen, root).dataset


def stored_extractors(store: FeatureStore, weights: dict[str, str]) -> list[FeatureExtractor]:
    """Return what made the store's feature sets, from weights that are at hand.

    Args:
        weights: by network, as for extracting.

    Raises:
        IdentityError: they are not made of these weights by these libraries; what differs is named.
        UnknownNameError: a feature set is of no network here, as imported ones.
    """
    found = []
    for name in store.feature_sets():
        identity = store.identity(name)
        known = recorded_weights(identity.weights)
        own = {
            network: given
            for network in backbone_names([name])
            if (given := weights.get(network, known)) is not None
        }
        (extractor,) = build_extractors([name], own, *recorded_precision(identity.precision))
        if extractor.identity != identity:
            raise IdentityError(
                f"feature set '{name}' of '{store.path}' cannot be made here as it was; stored against here: "
                f"{identity.differences(extractor.identity)}. Name the same file with --weights, and use "
                f"the same versions."
            )
        found.append(extractor)
    return found


def repair(
    store: FeatureStore,
    names: Sequence[str],
    root: StorePath,
    extractors: Sequence[FeatureExtractor],
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract damaged videos again, and no others; a stop in between leaves them to `vqafeat extract`.

    Raises:
        DatasetError: a video's file is missing; nothing was removed.
        StoreError: the store is packed, or another process is writing to it.
    """
    dataset = stored_dataset(store, names, root)
    with store.exclusive():
        for name in names:
            store.forget(name)
    return extract_dataset(dataset, store, extractors, resources=resources, progress=progress)


def compared(
    store: FeatureStore,
    names: Sequence[str],
    root: StorePath,
    extractors: Sequence[FeatureExtractor],
    tolerance: float,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> list[Comparison]:
    """Extract videos again, beside the store, and compare.

    Raises:
        DatasetError: a video's file is missing.
        VideoError: one cannot be decoded any more.
    """
    dataset = stored_dataset(store, names, root)
    with tempfile.TemporaryDirectory(prefix="vqafeat-verify-") as folder:
        again = FeatureStore.create(store_path(Path(folder), dataset.name), dataset)
        extract_dataset(dataset, again, extractors, resources=resources, progress=progress)
        return [
            Comparison(
                name, extractor.feature_set, _difference(store, again, extractor.feature_set, name), tolerance
            )
            for extractor in extractors
            for name in names
            if store.is_complete(extractor.feature_set, name)
        ]


def _difference(store: FeatureStore, again: FeatureStore, feature_set: str, video: str) -> float:
    if not again.is_complete(feature_set, video):
        return float("inf")
    stored, made = store.read(feature_set, video), again.read(feature_set, video)
    times, new_times = store.seconds(video), again.seconds(video)
    if (
        stored.values.shape != made.values.shape
        or not np.array_equal(stored.frame, made.frame)
        or not _same_times(times, new_times)
    ):
        return float("inf")
    largest = np.abs(stored.values.astype(np.float64)).max(initial=np.finfo(np.float32).tiny)
    return float(np.abs(stored.values.astype(np.float64) - made.values).max(initial=0) / largest)


def _same_times(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    return first is None or (second is not None and np.array_equal(first, second))
