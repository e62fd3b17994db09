"""Cached features as a training sees them: one sequence of frame features a video, read from a store."""

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from multiprocessing.reduction import DupFd
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.remote import StorePath
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.system import anonymous_file, free_bytes

Index = npt.NDArray[np.intp]
Seconds = npt.NDArray[np.float64]

# position of a video in `Sequences` → its rows to take, in this order, or None for all of them in order
FrameSelector = Callable[[int], Index | None]
# position of a video in `Sequences` → (row,) presentation times, or None where they are not known
RowSeconds = Callable[[int], Seconds | None]


def all_frames(row: int) -> None:
    """Return None: all rows of a video are taken, in order."""


def unknown_seconds(row: int) -> None:
    """Return None: the times of a video's frames are not known."""


def take(values: npt.NDArray[Any], rows: Index | None) -> npt.NDArray[Any]:
    """Return the rows that are picked, or the values themselves where all are."""
    return values if rows is None else values[rows]


FUSION_SIGN = "+"


class FeatureReader(Protocol):
    """What fitting needs of a feature store. It can be pickled: another process opens it again."""

    @property
    def path(self) -> StorePath:
        """Where it lies."""

    @property
    def dataset(self) -> Dataset:
        """The data set with its labels."""

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on."""

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored whole."""

    def read(self, feature_set: str, video: str) -> VideoFeatures:
        """Return the rows of one video."""

    def seconds(self, video: str) -> Seconds | None:
        """Return (decoded frame,) presentation times, or None where they are not known."""

    def source(self, video: str) -> dict[str, Any] | None:
        """Return the digest of a video's file and its `width` and `height` as shown, or None where the file
        is not known.
        """

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets whose labels lie on scales of their own; one, unless several are joined."""

    @property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) which of the members each video of the data set belongs to."""


@dataclass(frozen=True, eq=False)
class StoredFeatures(Sequence[npt.NDArray[Any]]):
    """The features of some videos of a store, read anew at each access and never held.

    A map of a file keeps a descriptor, of which a process may have as few as 1024; data sets have more
    videos.

    Attributes:
        source: the feature store.
        feature_sets: joined channel by channel.
        videos: names, in order.
    """

    source: FeatureReader
    feature_sets: tuple[str, ...]
    videos: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.videos)

    @overload
    def __getitem__(self, row: int) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, row: slice) -> "StoredFeatures": ...
    def __getitem__(self, row: int | slice) -> "npt.NDArray[Any] | StoredFeatures":
        if isinstance(row, slice):
            return StoredFeatures(self.source, self.feature_sets, self.videos[row])
        return self._fused(row).values

    def seconds(self, row: int) -> Seconds | None:
        """Return (row,) presentation times of the frames behind a video's rows, or None where they are not
        known.

        Raises:
            StoreError: the rows belong to more frames than the video has times.
        """
        seconds, frame = self.source.seconds(self.videos[row]), self._fused(row).frame
        if seconds is not None and frame[-1] >= len(seconds):
            raise StoreError(
                f"video '{self.videos[row]}' has times of {len(seconds)} frames, but its features "
                f"'{FUSION_SIGN.join(self.feature_sets)}' "
                f"reach frame {frame[-1]}; extract them again from the same file."
            )
        return None if seconds is None else seconds[frame]

    def _fused(self, row: int) -> VideoFeatures:
        video = self.videos[row]
        return fuse([self.source.read(name, video) for name in self.feature_sets], video)


@dataclass(frozen=True, eq=False)
class FeatureDataset:
    """One sequence of frame features a video, as stored (float16 or float32, possibly read-only maps of a
    store's files).

    Making one looks at each video once, so that what is wrong with a store is told before any training.

    Attributes:
        names: one name a video, unique.
        contents: the content that each video shows; videos of one content share it.
        mos: (video,) float64, on the data set's own scale.
        features: one (frame, channel) array a video, held or read at each access.
        seconds: position of a video → (frame,) presentation times, or None where they are not known.
        dataset_names: of the data sets that the videos are from, each with a label scale of its own.
        dataset_of: (video,) which of them a video is from; without it, the only one.
        lengths: frames of each video.
        channels: the width of a frame's features.
        dtype: float16 where all features are, else float32.
    """

    names: tuple[str, ...]
    contents: tuple[str, ...]
    mos: npt.NDArray[np.float64]
    features: Sequence[npt.NDArray[Any]]
    seconds: RowSeconds = unknown_seconds
    dataset_names: tuple[str, ...] = ("",)
    dataset_of: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    lengths: tuple[int, ...] = field(init=False)
    channels: int = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        counts = {
            "names": len(self.names),
            "contents": len(self.contents),
            "mos": len(self.mos),
            "features": len(self.features),
        }
        if len(set(counts.values())) != 1 or not self.names:
            raise ArgumentError(
                f"sequences need one name, content, MOS and feature array a video and at least one video, "
                f"got {counts}."
            )
        if len(set(self.names)) != len(self.names):
            duplicates = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ArgumentError(
                f"names of sequences have to be unique, got {duplicates[0]!r} more than once "
                f"({len(duplicates)} such names)."
            )
        if self.mos.dtype != np.float64 or self.mos.ndim != 1 or not np.isfinite(self.mos).all():
            raise ArgumentError(
                f"mos has to be (video,) float64 and finite, got {self.mos.dtype} {self.mos.shape}: "
                f"{self.mos[:3]} …"
            )
        shapes, dtypes = list[tuple[int, int]](), set[np.dtype[Any]]()
        for name, values in zip(self.names, self.features, strict=True):
            shapes.append(checked_shape(values, name))
            dtypes.add(values.dtype)
        channels = shapes[0][1]
        for name, (_, width) in zip(self.names, shapes, strict=True):
            if width != channels:
                raise ArgumentError(
                    f"features of '{name}' have {width} channels, those of '{self.names[0]}' {channels}; "
                    f"all have to agree."
                )
        if not len(self.dataset_of):
            object.__setattr__(self, "dataset_of", np.zeros(len(self.names), np.intp))
        if (
            self.dataset_of.shape != self.mos.shape
            or not np.isin(self.dataset_of, range(len(self.dataset_names))).all()
        ):
            raise ArgumentError(
                f"dataset_of has shape {self.dataset_of.shape} and values up to {self.dataset_of.max()}; it "
                f"needs one number for each of "
                f"{len(self.names)} videos, 0 to {len(self.dataset_names) - 1}."
            )
        object.__setattr__(self, "lengths", tuple(length for length, _ in shapes))
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "dtype", max(dtypes, key=lambda dtype: dtype.itemsize))

    def __len__(self) -> int:
        return len(self.names)


def checked_shape(values: npt.NDArray[Any], name: str) -> tuple[int, int]:
    """Return the number of frames and channels; refuse what is not (frame, channel) in float16 or float32
    with at least one frame.

    Raises:
        ArgumentError: it is not.
    """
    if values.ndim != 2 or 0 in values.shape or values.dtype not in (np.float16, np.float32):
        raise ArgumentError(
            f"features of '{name}' are {values.dtype} {values.shape}; they have to be (frame, channel), "
            f"float16 or float32, not empty."
        )
    return values.shape[0], values.shape[1]


def split_feature_sets(feature_sets: str) -> tuple[str, ...]:
    """Return the names in a fusion such as `resnet50+slowfast-fast`, in the order in which their channels are
    joined.

    Raises:
        ArgumentError: a name is empty or stands twice.
    """
    names = tuple(name.strip() for name in feature_sets.split(FUSION_SIGN))
    if not all(names) or len(set(names)) != len(names):
        raise ArgumentError(
            f"feature sets '{feature_sets}': names joined by '{FUSION_SIGN}' have to be different and not "
            f"empty, as in 'a+b'."
        )
    return names


def fuse(parts: Sequence[VideoFeatures], name: str) -> VideoFeatures:
    """Join several feature sets of one video, channel by channel, at the decoded frames that all of them
    have.

    Li et al. (TCSVT 2022) join spatial and motion features this way, at the motion features' own frame
    indices; a frame that a short video's motion features repeat is repeated.

    Returns:
        float16 where all parts are float16, else float32.

    Raises:
        StoreError: no decoded frame has all feature sets.
    """
    if len(parts) == 1:
        return parts[0]
    shared = parts[0].frame
    for part in parts[1:]:
        shared = np.intersect1d(shared, part.frame)
    if len(shared) == 0:
        spans = ", ".join(
            f"{len(part.frame)} rows at frames {part.frame[0]}–{part.frame[-1]}" for part in parts
        )
        raise StoreError(
            f"video '{name}': the feature sets to be joined share no decoded frame ({spans}); extract them "
            f"by frame rules that meet."
        )
    rows = max((part.frame[np.isin(part.frame, shared)] for part in parts), key=len)
    return VideoFeatures(
        np.concatenate([part.values[np.searchsorted(part.frame, rows)] for part in parts], axis=1), rows
    )


def complete_rows(source: FeatureReader, feature_sets: str) -> tuple[int, ...]:
    """Return the positions of the data set's videos that are complete in every feature set, in the data set's
    order.
    """
    complete = set.intersection(
        *(set(source.complete_videos(name)) for name in split_feature_sets(feature_sets))
    )
    return tuple(row for row, video in enumerate(source.dataset.videos) if video.name in complete)


def load_sequences(
    source: FeatureReader, feature_sets: str, rows: Sequence[int] | None = None
) -> FeatureDataset:
    """Return a store's features, to be read at each access: one feature set, or several joined by `+`.

    Args:
        source: the feature store.
        feature_sets: for example `resnet50` or `resnet50+slowfast-fast`.
        rows: positions in the data set; without it every video, all of which have to be complete.

    Raises:
        StoreError: a video is not complete in one of the feature sets, or a file of the store is damaged.
    """
    names = split_feature_sets(feature_sets)
    rows = range(len(source.dataset.videos)) if rows is None else rows
    missing = sorted(set(rows) - set(complete_rows(source, feature_sets)))
    if missing:
        first = ", ".join(source.dataset.videos[row].name for row in missing[:3])
        raise StoreError(
            f"{len(missing)} of {len(rows)} videos of '{source.dataset.name}' have no complete features "
            f"'{feature_sets}' (first: {first}); "
            f"run `vqafeat extract --dataset {source.dataset.name}` again, or fit on the complete ones with "
            f"--skip-missing."
        )
    videos = [source.dataset.videos[row] for row in rows]
    features = StoredFeatures(source, names, tuple(video.name for video in videos))
    return FeatureDataset(
        names=tuple(video.name for video in videos),
        contents=tuple(video.content for video in videos),
        mos=np.array([video.mos for video in videos], dtype=np.float64),
        features=features,
        seconds=cache(features.seconds),
        dataset_names=tuple(member.name for member in source.datasets),
        dataset_of=source.member_numbers[list(rows)],
    )


_SHARE_OF_FREE = 2


class Block(Protocol):
    """Memory that holds features."""

    @property
    def values(self) -> npt.NDArray[np.uint8]:
        """(bytes,) uint8."""


class SharedMemory:
    """Memory that another process maps, too, when this is pickled for its start; nothing is copied.

    Attributes:
        values: (bytes,) uint8.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self._descriptor = anonymous_file(size, "vqafeat-features") if descriptor is None else descriptor
        self.values: npt.NDArray[np.uint8] = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)

    def __reduce__(self) -> Any:
        return _attached, (len(self.values), DupFd(self._descriptor))


def _attached(size: int, descriptor: Any) -> SharedMemory:
    return SharedMemory(size, descriptor.detach())


@dataclass(frozen=True, eq=False)
class SharedFeatures(Sequence[npt.NDArray[Any]]):
    """The features of some videos, one after another in one block.

    Attributes:
        block: the memory.
        bounds: first frame of each video, and the end of the last.
        channels: the width of a frame's features.
        dtype: of the features.
    """

    block: Block
    bounds: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, row: int) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[npt.NDArray[Any]]: ...
    def __getitem__(self, row: int | slice) -> npt.NDArray[Any] | Sequence[npt.NDArray[Any]]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        return self.frames[self.bounds[row] : self.bounds[row + 1]]

    @cached_property
    def frames(self) -> npt.NDArray[Any]:
        """(frame, channel) of all videos."""
        return self.block.values.view(self.dtype).reshape(-1, self.channels)


def to_shared_memory(sequences: FeatureDataset, most_bytes: int | None = None) -> FeatureDataset:
    """Return the sequences with their features in memory where these fit, in float16 where they are stored
    so; else as they are.

    Args:
        sequences: features that are read at each access.
        most_bytes: that the features may take; None for half of what is free.
    """
    most = free_bytes() // _SHARE_OF_FREE if most_bytes is None else most_bytes
    bounds = (0, *np.cumsum(sequences.lengths).tolist())
    total = bounds[-1] * sequences.channels * sequences.dtype.itemsize
    if total > most:
        return sequences
    features = SharedFeatures(SharedMemory(total), bounds, sequences.channels, sequences.dtype)
    for own, values in zip(features, sequences.features, strict=True):
        own[:] = values
    return replace(sequences, features=features)
