"""Several feature stores as one, so that a head is trained on several data sets at once."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import dataset_digest
from vqafeat.errors import ArgumentError, IdentityError
from vqafeat.remote import StorePath
from vqafeat.splits import Split
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.training.data import FeatureReader, Seconds

JOINT = "+"
_INSIDE = "/"


class JointStore:
    """Feature stores of different data sets, read as one.

    A video is named after its data set too, as in `konvid/123.mp4`, and so is its content; labels stay on the
    scales of their own data sets.

    Args:
        sources: at least two, of different data sets.
        any_features: allow feature sets that were computed differently in one store than in another.

    Raises:
        ArgumentError: there are fewer, or two of one name.
    """

    def __init__(self, sources: Sequence[FeatureReader], any_features: bool = False) -> None:
        names = [source.dataset.name for source in sources]
        if len(sources) < 2 or len(set(names)) < len(names):
            raise ArgumentError(
                f"the data sets to be mixed are {', '.join(names) or 'none'}; name at least two different "
                f"ones."
            )
        self._any_features = any_features
        self._sources = {source.dataset.name: source for source in sources}

    def replaced(self, replace: Callable[[Any], FeatureReader]) -> "JointStore":
        """Return a mixture of what `replace` makes of each source."""
        return JointStore([replace(source) for source in self._sources.values()], self._any_features)

    def __reduce__(self) -> tuple[Any, ...]:
        return JointStore, (tuple(self._sources.values()), self._any_features)

    @property
    def path(self) -> StorePath:
        """Where the first store lies."""
        return next(iter(self._sources.values())).path

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets, whose labels lie on scales of their own."""
        return tuple(source.dataset for source in self._sources.values())

    @cached_property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) which of the members each video belongs to."""
        return np.repeat(np.arange(len(self.datasets)), [len(member.videos) for member in self.datasets])

    @cached_property
    def dataset(self) -> Dataset:
        """All videos, in the order of the data sets."""
        members = self.datasets
        videos = [
            Video(
                f"{member.name}{_INSIDE}{video.name}",
                video.mos,
                f"{member.name}{_INSIDE}{video.content}",
                video.split,
            )
            for member in members
            for video in member.videos
        ]
        joint = Dataset(
            name=JOINT.join(member.name for member in members),
            title=" and ".join(member.title for member in members),
            score_name=" / ".join(dict.fromkeys(member.score_name for member in members)),
            mos_range=(
                min(member.mos_range[0] for member in members),
                max(member.mos_range[1] for member in members),
            ),
            videos=tuple(videos),
            label_list=JOINT.join(member.label_list for member in members),
            digest="",
        )
        return Dataset(**{**vars(joint), "digest": dataset_digest(joint)})

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets that all stores have, sorted."""
        return sorted(set.intersection(*(set(source.feature_sets()) for source in self._sources.values())))

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on, in the first store where others are allowed.

        Raises:
            IdentityError: it was computed differently in one of the stores.
        """
        first, *others = self._sources.items()
        own = first[1].identity(feature_set)
        for name, source in others:
            if (other := source.identity(feature_set)) != own and not self._any_features:
                raise IdentityError(
                    f"feature set '{feature_set}' was computed differently for '{name}' than for "
                    f"'{first[0]}': {own.differences(other)}. "
                    "Extract both the same way, or pass --any-features if the difference does not matter."
                )
        return own

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored whole."""
        return [
            f"{name}{_INSIDE}{video}"
            for name, source in self._sources.items()
            for video in source.complete_videos(feature_set)
        ]

    def read(self, feature_set: str, video: str) -> VideoFeatures:
        """Return the rows of one video."""
        source, own = self._located(video)
        return source.read(feature_set, own)

    def seconds(self, video: str) -> Seconds | None:
        """Return (decoded frame,) presentation times, or None where they are not known."""
        source, own = self._located(video)
        return source.seconds(own)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return the digest of a video's file and its size, or None where the file is not known."""
        source, own = self._located(video)
        return source.source(own)

    def _located(self, video: str) -> tuple[FeatureReader, str]:
        name, _, own = video.partition(_INSIDE)
        return self._sources[name], own


def joint_splits(members: Sequence[Sequence[Split]], sizes: Sequence[int]) -> list[Split]:
    """Return the splits of a mixture: the first of each data set together, the second of each, and so on.

    Args:
        members: each data set's splits, whose rows count within it.
        sizes: videos of each data set.

    Raises:
        ArgumentError: the data sets have different numbers of splits.
    """
    if len({len(splits) for splits in members}) != 1:
        raise ArgumentError(
            f"the data sets have {', '.join(str(len(splits)) for splits in members)} splits; each needs as "
            f"many."
        )
    starts = [0, *np.cumsum(sizes).tolist()]

    def joined(together: Sequence[Split], part: str) -> tuple[int, ...]:
        return tuple(
            start + row
            for start, split in zip(starts, together, strict=False)
            for row in getattr(split, part)
        )

    return [
        Split(joined(together, "train"), joined(together, "validation"), joined(together, "test"))
        for together in zip(*members, strict=True)
    ]


def dataset_number(video: str, datasets: Sequence[str]) -> int:
    """Return which of a run's data sets a video is from; runs on several name it `konvid/123.mp4`."""
    return (
        0
        if len(datasets) == 1
        else next(number for number, name in enumerate(datasets) if strip_dataset_prefix([video], name))
    )


def strip_dataset_prefix(names: Sequence[str], dataset: str) -> list[str]:
    """Return the names that the videos of one data set of a mixture have in that data set."""
    prefix = f"{dataset}{_INSIDE}"
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
