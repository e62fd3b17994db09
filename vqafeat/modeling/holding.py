"""Features held in memory once for all processes of a fit, or read from the store at each access where they do not fit."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.reduction import DupFd
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from vqafeat.modeling.sequences import Sequences
from vqafeat.system import anonymous_file, free_bytes

_SHARE_OF_FREE = 2


class Block(Protocol):
    """Memory that holds features."""

    @property
    def values(self) -> npt.NDArray[np.uint8]:
        """(bytes,) uint8."""


class SharedBlock:
    """Memory that another process maps, too, when this is pickled for its start; nothing is copied.

    Attributes:
        values: (bytes,) uint8.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self._descriptor = anonymous_file(size, "vqafeat-features") if descriptor is None else descriptor
        self.values: npt.NDArray[np.uint8] = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)

    def __reduce__(self) -> Any:
        return _attached, (len(self.values), DupFd(self._descriptor))


def _attached(size: int, descriptor: Any) -> SharedBlock:
    return SharedBlock(size, descriptor.detach())


@dataclass(frozen=True, eq=False)
class HeldFeatures(Sequence[npt.NDArray[Any]]):
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


def held(sequences: Sequences, most_bytes: int | None = None) -> Sequences:
    """Return the sequences with their features in memory where these fit, in float16 where they are stored so; else as they are.

    Args:
        sequences: features that are read at each access.
        most_bytes: that the features may take; None for half of what is free.
    """
    most = free_bytes() // _SHARE_OF_FREE if most_bytes is None else most_bytes
    bounds = (0, *np.cumsum(sequences.lengths).tolist())
    total = bounds[-1] * sequences.channels * sequences.dtype.itemsize
    if total > most:
        return sequences
    features = HeldFeatures(SharedBlock(total), bounds, sequences.channels, sequences.dtype)
    for own, values in zip(features, sequences.features, strict=True):
        own[:] = values
    return replace(sequences, features=features)
