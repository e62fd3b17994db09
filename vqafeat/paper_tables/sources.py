"""Where a table's features come from: the stores of a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import backbone_names
from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import dataset_digest
from vqafeat.errors import ArgumentError, StoreError, UnknownNameError
from vqafeat.heads.base import head_options
from vqafeat.paper_tables.table import RequiredFeatures, TableFit
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore, store_path
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.training.config import is_gradient_based
from vqafeat.training.data import FUSION_SIGN, FeatureReader


class FeatureStores(Protocol):
    """What a bench takes features from."""

    @property
    def words(self) -> str:
        """What a reader of the table has to know of the data; empty where it is the paper's own."""

    @property
    def stands_in(self) -> bool:
        """Whether the data are others than the table asks for."""

    def missing(self, need: RequiredFeatures) -> str:
        """Say why a need is not met, or return an empty text."""

    def sources(self, datasets: Sequence[str]) -> list[FeatureReader]:
        """Return the stores of data sets that are used together."""

    def adapt(self, request: TableFit) -> TableFit:
        """Return the request as it can be run here."""


class StoreShelf:
    """The stores below a folder.

    Args:
        folder: of the stores.
        only: data sets that may be used; all, where none is named.
        skip_missing: do with the videos that are complete.
    """

    words = ""
    stands_in = False

    def __init__(self, folder: StorePath, only: Sequence[str] = (), skip_missing: bool = False) -> None:
        self._folder, self._only, self._skip_missing = folder, tuple(only), skip_missing
        self._open = cache(lambda dataset: FeatureStore.open(store_path(self._folder, dataset)))
        self._complete = cache(lambda need: len(self._open(need.dataset).complete_videos(need.feature_set)))

    def missing(self, need: RequiredFeatures) -> str:
        """Say why a need is not met, or return an empty text."""
        if self._only and need.dataset not in self._only:
            return f"{need.dataset} is not among --dataset {', '.join(self._only)}"
        if not (store_path(self._folder, need.dataset) / "zarr.json").is_file():
            return f"no store of {need.dataset} in '{self._folder}'"
        if need.feature_set not in self._open(need.dataset).feature_sets():
            return f"{need.dataset} has no features {need.feature_set}"
        found, videos = self._complete(need), len(self._open(need.dataset).dataset.videos)
        if found < videos and not (self._skip_missing and found):
            return f"{need.dataset} has features {need.feature_set} of {found} of {videos} videos; --skip-missing does with these"
        return ""

    def sources(self, datasets: Sequence[str]) -> list[FeatureReader]:
        """Return the stores of data sets that are used together."""
        return [self._open(dataset) for dataset in datasets]

    def adapt(self, request: TableFit) -> TableFit:
        """Return the request as it is."""
        return request


def commands_for(needs: Sequence[RequiredFeatures], folder: StorePath) -> list[str]:
    """Return the commands that make feature sets, one a data set, weights that only come as files named."""
    wanted: dict[str, list[str]] = {}
    for need in dict.fromkeys(needs):
        wanted.setdefault(need.dataset, []).append(need.feature_set)
    stored = "" if folder == Path("features") else f" --store {folder}"
    return [
        f"vqafeat extract --dataset "
        f"{dataset}{''.join(f' --backbone {name}' for name in names)}{_weights(names)}{stored}"
        for dataset, names in wanted.items()
    ]


def _weights(feature_sets: Sequence[str]) -> str:
    return "".join(
        f" --weights {name}=FILE"
        for name in backbone_names(feature_sets)
        if BACKBONES.get(name).published is None
    )


def check_feature_sets(request: TableFit) -> None:
    """Refuse feature sets that no network here makes.

    Raises:
        UnknownNameError: there is no such network.
        ArgumentError: a fit names no data set or no features.
    """
    if not request.datasets or not request.features:
        raise ArgumentError(
            "datasets and features are not both named; a cell that is run needs both, and one that is not: "
            "quoted = true."
        )
    for name in backbone_names(request.features.split("+")):
        if name not in BACKBONES:
            raise UnknownNameError(
                f"features '{request.features}': there is no network '{name}'; `vqafeat list backbones` "
                f"names them."
            )


SPLITS, EPOCHS, WIDTH = 2, 2, 32
_AGAIN = "-again"
_FEWEST_CONTENTS = 3


@dataclass(frozen=True)
class DemoStores:
    """Some contents of a store as a data set of their own, with official parts, and its one feature set under
    two names.

    Attributes:
        store: that they are from.
        feature_set: the one that stands for all.
        part: which share of the contents, from 0.
        parts: how many shares there are.

    Raises:
        StoreError: a share has fewer than three contents.
    """

    store: FeatureStore
    feature_set: str
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if len(self._contents) < _FEWEST_CONTENTS:
            every = len({video.content for video in self.store.dataset.videos})
            raise StoreError(
                f"{every} contents of '{self.store.dataset_name}' are too few to stand in for {self.parts} "
                f"data sets; "
                f"each takes at least {_FEWEST_CONTENTS}."
            )

    @property
    def path(self) -> StorePath:
        """Where the store lies."""
        return self.store.path

    @cached_property
    def _contents(self) -> list[str]:
        return sorted({video.content for video in self.store.dataset.videos})[self.part :: self.parts]

    @cached_property
    def dataset(self) -> Dataset:
        """The data set: a fifth of the contents is its official test part, another one its part
        test-1080p.
        """
        own = self._contents
        fifth = max(1, len(own) // 5)
        part_of = dict.fromkeys(own, "train")
        part_of.update(dict.fromkeys(own[-2 * fifth : -fifth], "test"))
        part_of.update(dict.fromkeys(own[-fifth:], "test-1080p"))
        whole = self.store.dataset
        videos = tuple(
            Video(video.name, video.mos, video.content, part_of[video.content])
            for video in whole.videos
            if video.content in part_of
        )
        name = whole.name if self.parts == 1 else f"{whole.name}-{self.part + 1}of{self.parts}"
        made = Dataset(
            **{**vars(whole), "name": name, "videos": videos, "stored_permutations": None, "digest": ""}
        )
        return Dataset(**{**vars(made), "digest": dataset_digest(made)})

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data set."""
        return (self.dataset,)

    @property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) zeros."""
        return np.zeros(len(self.dataset.videos), dtype=np.intp)

    def feature_sets(self) -> list[str]:
        """Return the feature set under its two names."""
        return [self.feature_set, self.feature_set + _AGAIN]

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of the feature set depend on."""
        return self.store.identity(feature_set.removesuffix(_AGAIN))

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored whole."""
        own = {video.name for video in self.dataset.videos}
        return [name for name in self.store.complete_videos(feature_set.removesuffix(_AGAIN)) if name in own]

    def read(self, feature_set: str, video: str) -> VideoFeatures:
        """Return the rows of a video."""
        return self.store.read(feature_set.removesuffix(_AGAIN), video)

    def seconds(self, video: str) -> npt.NDArray[np.float64] | None:
        """Return (frame,) presentation times."""
        return self.store.seconds(video)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        return self.store.source(video)


class StandInShelf:
    """One small store for all data sets and all feature sets, with few splits and epochs.

    Args:
        store: for example the embedded set's.
    """

    stands_in = True

    def __init__(self, store: FeatureStore) -> None:
        found = store.feature_sets()
        if not found:
            raise StoreError(f"'{store.path}' holds no features; run `vqafeat demo` first.")
        self._store, self._feature_set = store, found[0]

    @property
    def words(self) -> str:
        """Say what stands for what."""
        return (
            f"A test of the whole path, no result: '{self._store.dataset_name}' stands in for every data "
            f"set (several together share its "
            f"contents), {self._feature_set} for all features; {SPLITS} splits by content, {EPOCHS} epochs, "
            f"a2inet {WIDTH} wide; groups of "
            "videos other than by quality are dealt out; for images stand other videos."
        )

    def missing(self, need: RequiredFeatures) -> str:
        """Nothing is missing."""
        return ""

    def sources(self, datasets: Sequence[str]) -> list[FeatureReader]:
        """Return one share of the contents for each data set."""
        return [
            DemoStores(self._store, self._feature_set, part, len(datasets)) for part in range(len(datasets))
        ]

    def adapt(self, request: TableFit) -> TableFit:
        """Return the request with the one feature set, few splits and few epochs."""
        options = head_options(request.head)
        branches = "first_channels" in options
        changes: dict[str, Any] = {
            "features": FUSION_SIGN.join([self._feature_set, self._feature_set + _AGAIN])
            if branches
            else self._feature_set,
            "protocol": "official" if request.protocol == "official" else "content",
            "splits": min(SPLITS, request.splits),
            "options": {"width": WIDTH} if branches else {},
            "overrides": {"epochs": EPOCHS} if is_gradient_based(request.head) else {},
        }
        return request.changed(changes)
