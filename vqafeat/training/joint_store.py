"""Several feature stores as one, so that a head is trained on several data sets at once."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import with_digest
from vqafeat.errors import ArgumentError, IdentityError
from vqafeat.splits import PARTS, Split
from vqafeat.store.features import FeatureDataset, FeatureReader, Seconds, load_features
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures

JOINT = "+"
_INSIDE = "/"


class JointStore:
    """At least two feature stores of different data sets, read as one `FeatureReader`.

    Names of videos and contents start with their data set, as in `konvid/123.mp4`; labels stay on the scales
    of their data sets. `any_features` allows feature sets that were computed differently.
    """

    def __init__(self, stores: Sequence[FeatureReader], any_features: bool = False) -> None:
        names = [store.dataset.name for store in stores]
        if len(stores) < 2 or len(set(names)) < len(names):
            given = ", ".join(names) or "none"
            raise ArgumentError(f"the data sets to be mixed are {given}; name at least two different ones.")
        self.path = stores[0].path
        self._any_features = any_features
        self._stores = {store.dataset.name: store for store in stores}

    def __repr__(self) -> str:
        return f"<JointStore of {', '.join(map(repr, self._stores.values()))}>"

    def replaced(self, replace: Callable[[Any], FeatureReader]) -> "JointStore":
        """Return a joint store of what `replace` makes of each store."""
        return JointStore([replace(store) for store in self._stores.values()], self._any_features)

    def __reduce__(self) -> tuple[Any, ...]:
        return JointStore, (tuple(self._stores.values()), self._any_features)

    def features(self, feature_sets: str = "") -> FeatureDataset:
        """Return a PyTorch `Dataset` of all data sets; see `FeatureStore.features`."""
        return load_features(self, feature_sets)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets, each with its own label scale."""
        return tuple(store.dataset for store in self._stores.values())

    @cached_property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) which of the data sets each video belongs to."""
        return np.repeat(np.arange(len(self.datasets)), [len(dataset.videos) for dataset in self.datasets])

    @cached_property
    def dataset(self) -> Dataset:
        """All videos, in the order of the data sets."""
        datasets = self.datasets
        videos = [
            Video(f"{own.name}{_INSIDE}{one.name}", one.mos, f"{own.name}{_INSIDE}{one.content}", one.split)
            for own in datasets
            for one in own.videos
        ]
        lows, highs = zip(*(own.mos_range for own in datasets), strict=True)
        joint = Dataset(
            name=JOINT.join(own.name for own in datasets),
            title=" and ".join(own.title for own in datasets),
            score_name=" / ".join(dict.fromkeys(own.score_name for own in datasets)),
            mos_range=(min(lows), max(highs)),
            videos=tuple(videos),
            label_list=JOINT.join(own.label_list for own in datasets),
            digest="",
        )
        return with_digest(joint)

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets that all stores have."""
        return sorted(set.intersection(*(set(store.feature_sets()) for store in self._stores.values())))

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on in the first store."""
        (first, first_store), *others = self._stores.items()
        own = first_store.identity(feature_set)
        for name, store in others:
            if (other := store.identity(feature_set)) != own and not self._any_features:
                raise IdentityError(
                    f"feature set '{feature_set}' was computed differently for '{name}' than for '{first}': "
                    f"{own.differences(other)}. Extract both the same way, or pass --any-features if the "
                    "difference does not matter."
                )
        return own

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose features are stored completely."""
        own = ((name, store.complete_videos(feature_set)) for name, store in self._stores.items())
        return [f"{name}{_INSIDE}{video}" for name, videos in own for video in videos]

    def read(self, feature_set: str, video: str, checked: bool = False) -> VideoFeatures:
        """Return the features of one video."""
        store, name = self._located(video)
        return store.read(feature_set, name, checked)

    def seconds(self, video: str) -> Seconds | None:
        """Return (decoded frame,) presentation times, or None where they are not known."""
        store, name = self._located(video)
        return store.seconds(name)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return the digest of a video's file and its size, or None where the file is not known."""
        store, name = self._located(video)
        return store.source(name)

    def _located(self, video: str) -> tuple[FeatureReader, str]:
        dataset, _, name = video.partition(_INSIDE)
        return self._stores[dataset], name


def joint_splits(members: Sequence[Sequence[Split]], sizes: Sequence[int]) -> list[Split]:
    """Return the joint splits of data sets with `sizes` videos: the first of each together, and so on."""
    counts = [len(splits) for splits in members]
    if len(set(counts)) != 1:
        raise ArgumentError(f"the data sets have {', '.join(map(str, counts))} splits; each needs as many.")
    starts = [0, *np.cumsum(sizes).tolist()]

    def joined(together: Sequence[Split], part: str) -> tuple[int, ...]:
        pairs = zip(starts, together, strict=False)
        return tuple(start + row for start, split in pairs for row in getattr(split, part))

    return [Split(*(joined(one, part) for part in PARTS)) for one in zip(*members, strict=True)]


def scale_name(dataset: str) -> str:
    """Return the name of a data set in the option `datasets` of a head, which joins names by `+`."""
    return dataset.replace(JOINT, "_")


def dataset_number(video: str, datasets: Sequence[str]) -> int:
    """Return which of a run's data sets a video is from, by its name in the joint store."""
    return 0 if len(datasets) == 1 else datasets.index(video.partition(_INSIDE)[0])


def strip_dataset_prefix(names: Sequence[str], dataset: str) -> list[str]:
    """Return the names of a data set's videos, without the data set."""
    prefix = f"{dataset}{_INSIDE}"
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
