"""The embedded data set in the place of all others, small and quick: a test of a table's whole path, no result."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import dataset_digest
from vqafeat.errors import StoreError
from vqafeat.heads import head_options
from vqafeat.remote import Place
from vqafeat.store import FeatureStore
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.studies.requests import Need, RunRequest
from vqafeat.training.data import FUSION_SIGN, FeatureSource
from vqafeat.training.loop import trainer_of

SPLITS, EPOCHS, WIDTH = 2, 2, 32
_AGAIN = "-again"
_FEWEST_CONTENTS = 3


@dataclass(frozen=True)
class StandIn:
    """Some contents of a store as a data set of their own, with official parts, and its one feature set under two names.

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
                f"{every} contents of '{self.store.dataset_name}' are too few to stand in for {self.parts} data sets; "
                f"each takes at least {_FEWEST_CONTENTS}."
            )

    @property
    def path(self) -> Place:
        """Where the store lies."""
        return self.store.path

    @cached_property
    def _contents(self) -> list[str]:
        return sorted({video.content for video in self.store.dataset.videos})[self.part :: self.parts]

    @cached_property
    def dataset(self) -> Dataset:
        """The data set: a fifth of the contents is its official test part, another one its part test-1080p."""
        own = self._contents
        fifth = max(1, len(own) // 5)
        part_of = dict.fromkeys(own, "train")
        part_of.update(dict.fromkeys(own[-2 * fifth : -fifth], "test"))
        part_of.update(dict.fromkeys(own[-fifth:], "test-1080p"))
        whole = self.store.dataset
        videos = tuple(
            Video(video.name, video.mos, video.content, part_of[video.content]) for video in whole.videos if video.content in part_of
        )
        name = whole.name if self.parts == 1 else f"{whole.name}-{self.part + 1}of{self.parts}"
        made = Dataset(**{**vars(whole), "name": name, "videos": videos, "stored_permutations": None, "digest": ""})
        return Dataset(**{**vars(made), "digest": dataset_digest(made)})

    @property
    def members(self) -> tuple[Dataset, ...]:
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
            f"A test of the whole path, no result: '{self._store.dataset_name}' stands in for every data set (several together share its "
            f"contents), {self._feature_set} for all features; {SPLITS} splits by content, {EPOCHS} epochs, a2inet {WIDTH} wide; groups of "
            "videos other than by quality are dealt out; for images stand other videos."
        )

    def lacks(self, need: Need) -> str:
        """Nothing is missing."""
        return ""

    def sources(self, datasets: Sequence[str]) -> list[FeatureSource]:
        """Return one share of the contents for each data set."""
        return [StandIn(self._store, self._feature_set, part, len(datasets)) for part in range(len(datasets))]

    def adapted(self, request: RunRequest) -> RunRequest:
        """Return the request with the one feature set, few splits and few epochs."""
        options = head_options(request.head)
        branches = "first_channels" in options
        changes: dict[str, Any] = {
            "features": FUSION_SIGN.join([self._feature_set, self._feature_set + _AGAIN]) if branches else self._feature_set,
            "protocol": "official" if request.protocol == "official" else "content",
            "splits": min(SPLITS, request.splits),
            "options": {"width": WIDTH} if branches else {},
            "overrides": {"epochs": EPOCHS} if trainer_of(request.head).follows_recipe else {},
        }
        return request.changed(changes)
