"""Stored features as training sees them: `FeatureDataset`, one sequence of frame features per video."""

import mmap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from multiprocessing.reduction import DupFd
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils import data as torch_data

from vqafeat.datasets import Dataset
from vqafeat.datasets.dataset import BAD_TIMES
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.io import duplicates, summarize
from vqafeat.remote import StorePath, map_concurrently
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.system import anonymous_file, free_bytes

Array = npt.NDArray[Any]
Index = npt.NDArray[np.intp]
Seconds = npt.NDArray[np.float64]

# position of a video in a `FeatureDataset` → which of its rows to take, in this order; None for all
FrameSelector = Callable[[int], Index | None]
FUSION_SIGN = "+"


def all_frames(row: int) -> None:
    """Return None: all rows of a video are taken, in order."""


def unknown_seconds(row: int) -> None:
    """Return None: the times of a video's frames are not known."""


def take(values: Array, rows: Index | None) -> Array:
    """Return the selected rows of the values; without a selection, the values themselves."""
    return values if rows is None else values[rows]


def as_tensor(values: Array) -> Tensor:
    """Return a tensor in the array's memory; it may only be read, since maps of files are not writable."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(values)


class FeatureReader(Protocol):
    """What training needs of a feature store; it can be pickled, so that another process opens it again."""

    @property
    def path(self) -> StorePath:
        """The folder or URL of the store."""

    @property
    def dataset(self) -> Dataset:
        """The data set with its labels."""

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets, each with its own label scale; more than one only in a `JointStore`."""

    @property
    def member_numbers(self) -> Index:
        """(video,) which of `datasets` each video belongs to."""

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on."""

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose features are stored completely."""

    def read(self, feature_set: str, video: str, checked: bool = False) -> VideoFeatures:
        """Return the features of one video; if `checked`, their checksums are compared."""

    def seconds(self, video: str) -> Seconds | None:
        """Return (decoded frame,) presentation times, or None where they are not known."""

    def source(self, video: str) -> dict[str, Any] | None:
        """Return a video file's digest, `width` and `height` as shown; None where it is not known."""


@dataclass(frozen=True, eq=False)
class _StoredFeatures(Sequence[Array]):
    """The features of some videos, fused; no map of a file is kept, since it would hold a descriptor."""

    store: FeatureReader
    feature_sets: tuple[str, ...]
    videos: tuple[str, ...]
    checked: bool = False  # whether each reading compares checksums
    # of the rows that were asked for; `functools.cache` could not be sent to the workers of a DataLoader
    read_seconds: dict[int, Seconds | None] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, row: int) -> Array:  # type: ignore[override]
        return self._fused(row).values

    def seconds(self, row: int) -> Seconds | None:
        """Return (row,) presentation times of the frames behind a video's rows, or None if not known."""
        if row in self.read_seconds:
            return self.read_seconds[row]
        video = self.videos[row]
        seconds, frame = self.store.seconds(video), self._fused(row).frame
        if seconds is not None and frame[-1] >= len(seconds):
            problem = f"features of '{video}' reach frame {frame[-1]}, its frame times {len(seconds) - 1}"
            raise StoreError(f"{problem}; extract them again from the same file.")
        is_bad = BAD_TIMES in (self.store.source(video) or {})
        self.read_seconds[row] = None if seconds is None or is_bad else seconds[frame]
        return self.read_seconds[row]

    def _fused(self, row: int) -> VideoFeatures:
        video = self.videos[row]
        return fuse([self.store.read(name, video, self.checked) for name in self.feature_sets], video)


class SharedFeatures(Sequence[Array]):
    """The features of some videos in one block of memory, which processes that get it pickled map too.

    `bounds` are the first frame of each video and the end of the last. The memory is `block`, (bytes,) uint8,
    or that of the descriptor `shared`, which another process allocated, or else new.
    """

    def __init__(
        self,
        bounds: Sequence[int],
        channels: int,
        dtype: np.dtype[Any],
        block: npt.NDArray[np.uint8] | None = None,
        shared: Any = None,
    ) -> None:
        self.layout = (tuple(bounds), channels, dtype)
        if block is None:
            size = bounds[-1] * channels * dtype.itemsize
            self._descriptor = anonymous_file(size, "vqafeat-features") if shared is None else shared.detach()
            block = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)
        self.block = block
        self._frames = block.view(dtype).reshape(-1, channels)

    def __reduce__(self) -> Any:
        return SharedFeatures, (*self.layout, None, DupFd(self._descriptor))

    def __len__(self) -> int:
        return len(self.layout[0]) - 1

    def __getitem__(self, row: int) -> Array:  # type: ignore[override]
        if row >= len(self):
            raise IndexError(row)
        start, stop = self.layout[0][row : row + 2]
        return self._frames[start:stop]


@dataclass(frozen=True, eq=False, repr=False)
class FeatureDataset(torch_data.Dataset[tuple[Tensor, float]]):
    """Videos as frame features with their MOS; `dataset[i]` is ((time, channel) float32, mos).

    Features keep their type, in memory or read from a store at each access. The shape of each is read at the
    start, so that a store with missing files is reported before any training.

    Attributes:
        contents: the content that each video shows; videos of one content share it.
        mos: (video,) float64, on the data set's own scale.
        features: one (frame, channel) array per video, float16 or float32.
        seconds: position of a video → (frame,) presentation times, or None where they are not known.
        dataset_names: of the data sets that the videos are from, each with its own label scale.
        dataset_of: (video,) index of a video's data set in `dataset_names`; empty if there is only one.
        dtype: float16 where all features are, else float32.
    """

    names: tuple[str, ...]
    contents: tuple[str, ...]
    mos: npt.NDArray[np.float64]
    features: Sequence[Array]
    seconds: Callable[[int], Seconds | None] = unknown_seconds
    dataset_names: tuple[str, ...] = ("",)
    dataset_of: Index = field(default_factory=lambda: np.zeros(0, np.intp))
    lengths: tuple[int, ...] = field(init=False)
    channels: int = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._check_columns()
        lengths, dtype, channels = list[int](), np.dtype(np.float16), 0
        for name, values in zip(self.names, self.features, strict=True):
            length, width = checked_shape(values, name)
            channels = channels or width
            if width != channels:
                raise ArgumentError(f"features of '{name}' have {width} channels, others {channels}.")
            lengths.append(length)
            dtype = np.promote_types(dtype, values.dtype)
        vars(self).update(lengths=tuple(lengths), channels=channels, dtype=dtype)

    def _check_columns(self) -> None:
        mos, columns = self.mos, ("names", "contents", "mos", "features")
        counts = {column: len(getattr(self, column)) for column in columns}
        if len(set(counts.values())) != 1 or not self.names:
            raise ArgumentError(f"each video needs a name, content, MOS and feature array, got {counts}.")
        if twice := duplicates(self.names):
            raise ArgumentError(f"names of videos have to be unique; got {summarize(twice)} more than once.")
        # all are NaN for videos without labels
        if mos.dtype != np.float64 or mos.ndim != 1 or not (np.isfinite(mos).all() or np.isnan(mos).all()):
            raise ArgumentError(f"mos has to be (video,) float64 and finite, got {mos.dtype} {mos[:3]} …")
        if not len(self.dataset_of):
            vars(self)["dataset_of"] = np.zeros(len(mos), np.intp)
        numbers, last = self.dataset_of, len(self.dataset_names) - 1
        if numbers.shape != mos.shape or not np.isin(numbers, range(last + 1)).all():
            raise ArgumentError(f"dataset_of {numbers.shape} has to be {len(mos)} numbers from 0 to {last}.")

    @property
    def lazy(self) -> bool:
        """Whether features are read from a store at each access."""
        return isinstance(self.features, _StoredFeatures)

    @property
    def shared(self) -> SharedFeatures | None:
        """The features if they are in shared memory."""
        return self.features if isinstance(self.features, SharedFeatures) else None

    def __repr__(self) -> str:
        dataset = FUSION_SIGN.join(name for name in self.dataset_names if name)
        frames = f"{min(self.lengths)} to {max(self.lengths)} frames of {self.channels} channels"
        where = "read from the store" if self.lazy else "in memory"
        prefix = f"{dataset}: " if dataset else ""
        return f"<FeatureDataset {prefix}{len(self)} videos, {frames} ({self.dtype}, {where})>"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> tuple[Tensor, float]:
        row = range(len(self))[row]  # the IndexError past the end also ends a loop over the data set
        return torch.tensor(np.asarray(self.features[row], dtype=np.float32)), float(self.mos[row])


def collate(batch: Sequence[tuple[Tensor, float]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ((video, time, channel) frames padded with zeros, lengths, mos), for a `DataLoader`."""
    frames, mos = zip(*batch, strict=True)
    lengths = torch.tensor([len(video) for video in frames])
    return pad_sequence(list(frames), batch_first=True), lengths, torch.tensor(mos)


def checked_shape(values: Array, name: str) -> tuple[int, int]:
    """Return the shape of (frame, channel) features in float16 or float32; refuse all others."""
    if values.ndim != 2 or 0 in values.shape or values.dtype not in (np.float16, np.float32):
        required = "they have to be (frame, channel), float16 or float32, not empty"
        raise ArgumentError(f"features of '{name}' are {values.dtype} {values.shape}; {required}.")
    return values.shape[0], values.shape[1]


def split_feature_sets(feature_sets: str) -> tuple[str, ...]:
    """Return the names in a fusion such as `resnet50+slowfast-fast`, in the order of their channels."""
    names = tuple(name.strip() for name in feature_sets.split(FUSION_SIGN))
    if not all(names) or duplicates(names):
        raise ArgumentError(f"names in '{feature_sets}' have to be different and not empty, as in 'a+b'.")
    return names


def only_feature_sets(store: FeatureReader) -> str:
    """Return the name of a store's only feature set; refuse a store that has none or several."""
    names = store.feature_sets()
    if not names:
        own = "has no features" if len(store.datasets) == 1 else "have no feature set in common"
        raise StoreError(f"'{store.dataset.name}' {own}; extract one --backbone for each data set.")
    if len(names) != 1:
        problem = f"'{store.dataset.name}' holds the feature sets {', '.join(names)}"
        raise StoreError(f"{problem}; name one, or several joined by +, as features (--features).")
    return names[0]


def fuse(parts: Sequence[VideoFeatures], name: str) -> VideoFeatures:
    """Join the channels of several feature sets of one video at the decoded frames that all of them have.

    Li et al. (TCSVT 2022) join spatial and motion features this way, at the frames of the motion features
    (their released `CNNfeatures_Fusion.py`). A frame that these repeat in a short video is repeated; the k-th
    of its rows joins each part's own k-th. The result is float16 if all parts are.
    """
    if len(parts) == 1:
        return parts[0]
    frames = [part.frame for part in parts]
    shared = reduce(np.intersect1d, frames)
    if len(shared) == 0:
        spans = ", ".join(f"{len(frame)} rows at frames {frame[0]}–{frame[-1]}" for frame in frames)
        problem = f"the feature sets to be joined share no decoded frame ({spans})"
        raise StoreError(f"video '{name}': {problem}; extract them by frame rules that share frames.")
    rows = max((frame[np.isin(frame, shared)] for frame in frames), key=len)
    repeats, values = np.arange(len(rows)) - np.searchsorted(rows, rows), []
    for part in parts:
        first, end = (np.searchsorted(part.frame, rows, side) for side in ("left", "right"))
        values.append(part.values[np.minimum(first + repeats, end - 1)])
    return VideoFeatures(np.concatenate(values, axis=1), rows)


def complete_rows(store: FeatureReader, feature_sets: str) -> tuple[int, ...]:
    """Return the positions of the data set's videos that are complete in every feature set, in order."""
    names = split_feature_sets(feature_sets)
    complete = set.intersection(*(set(store.complete_videos(name)) for name in names))
    return tuple(row for row, video in enumerate(store.dataset.videos) if video.name in complete)


def left_out_note(videos: Sequence[str]) -> str:
    """Return the note of a result from which videos without complete features were left out."""
    return f"{len(videos)} video(s) without complete features left out: {summarize(videos, 3)}"


def file_digests(store: FeatureReader, videos: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each video's file; videos whose file is not known are left out."""
    sources = map_concurrently(store.path, store.source, videos)
    return {video: str(source["sha256"]) for video, source in zip(videos, sources, strict=True) if source}


def load_features(
    store: FeatureReader, feature_sets: str = "", rows: Sequence[int] | None = None, checked: bool = False
) -> FeatureDataset:
    """Return a store's features, read at each access: one feature set, or several joined by `+`.

    Args:
        feature_sets: for example `resnet50` or `resnet50+slowfast-fast`; empty for the only one.
        rows: positions of videos in the data set; None for all. Each has to be complete.
        checked: compare checksums at each access.
    """
    feature_sets = feature_sets or only_feature_sets(store)
    dataset = store.dataset
    rows = range(len(dataset.videos)) if rows is None else rows
    if missing := sorted(set(rows) - set(complete_rows(store, feature_sets))):
        first = ", ".join(dataset.videos[row].name for row in missing[:3])
        raise StoreError(
            f"{len(missing)} of {len(rows)} videos of '{dataset.name}' have no complete features "
            f"'{feature_sets}' (first: {first}); run the same `vqafeat extract` again, "
            "or leave them out with --skip-missing."
        )
    videos = [dataset.videos[row] for row in rows]
    names = tuple(video.name for video in videos)
    features = _StoredFeatures(store, split_feature_sets(feature_sets), names, checked)
    return FeatureDataset(
        names=names,
        contents=tuple(video.content for video in videos),
        mos=np.array([video.mos for video in videos], dtype=np.float64),
        features=features,
        seconds=features.seconds,
        dataset_names=tuple(dataset.name for dataset in store.datasets),
        dataset_of=store.member_numbers[list(rows)],
    )


def to_shared_memory(data: FeatureDataset, most_bytes: int | None = None) -> FeatureDataset:
    """Return the data in shared memory unless that takes over `most_bytes`, by default half of the free.

    In both cases stored features are read once, and refused if they do not have their checksums.
    """
    most, stored = free_bytes() // 2 if most_bytes is None else most_bytes, data.features
    if isinstance(stored, _StoredFeatures):
        stored = replace(stored, checked=True)
    bounds = (0, *np.cumsum(data.lengths).tolist())
    if bounds[-1] * data.channels * data.dtype.itemsize > most:
        for row in range(len(stored)):
            stored[row]
        return data
    features = SharedFeatures(bounds, data.channels, data.dtype)
    for own, values in zip(features, stored, strict=True):
        own[:] = values
    return replace(data, features=features)
