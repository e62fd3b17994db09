"""Batches of videos without padding: in memory that is used again, or of features that a GPU keeps."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from vqafeat.store.features import FeatureDataset, FrameSelector, Index, all_frames, as_tensor, take

Item = TypeVar("Item")
PREPARED_AHEAD = 2
# floats left free behind each frame, one cache line: rows a power of two apart share few cache lines, which
# makes the gradient of an FC's weights over 4096 channels take 1.5 times as long
GAP = 16
# of a GPU's free memory, which batches, weights and other processes need too
RESIDENT_SHARE = 0.6
# CUDA buffers smaller copies itself; page-locking them would take longer than the copy
_STAGED_BYTES = 64 << 10
# data set → device → its features there, for all trainers of this process
_resident: WeakKeyDictionary[FeatureDataset, dict[torch.device, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Batch:
    """Several videos' frames, one after another, without padding.

    Attributes:
        source: (frame, channel), the frames in float32; or all features of the data set, which a GPU keeps.
        positions: (total frames,) positions of the frames in `source`; None if they are all of it.
        counts: frames of each video.
        rows: positions of the videos in the `FeatureDataset`.
    """

    source: Tensor
    positions: Index | None
    counts: tuple[int, ...]
    rows: tuple[int, ...]

    @cached_property
    def frames(self) -> Tensor:
        """(total frames, channel) float32; valid until the next batch of the `Batcher`."""
        return self.source if self.positions is None else gathered(self.source, self.positions)

    @cached_property
    def lengths(self) -> Tensor:
        """(batch,) int64: `counts` on the device of the frames."""
        return sent(torch.tensor(self.counts), self.source.device)


def gathered(source: Tensor, positions: Index) -> Tensor:
    """Return the rows of (frame, channel) features at some positions, in float32."""
    return source.index_select(0, sent(torch.from_numpy(positions), source.device)).float()


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device; this thread does not wait until a GPU has fetched them."""
    if device.type == "cuda" and values.nbytes > _STAGED_BYTES:
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def fits_on(data: FeatureDataset, device: torch.device) -> bool:
    """Return whether a device is a GPU that holds all features, or has the memory for them."""
    if device.type != "cuda" or device in _resident.get(data, {}):
        return device.type == "cuda"
    size = sum(data.lengths) * data.channels * data.dtype.itemsize
    return size <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


def resident_frames(data: FeatureDataset, device: torch.device) -> Tensor:
    """Return the (frame, channel) features of all videos on a device, in the type that they are stored in.

    They are copied there once, and stay as long as the data.
    """
    held = _resident.setdefault(data, {})
    if device not in held:
        dtype = torch.from_numpy(np.empty(0, data.dtype)).dtype
        frames = torch.empty(sum(data.lengths), data.channels, dtype=dtype, device=device)
        for part, values in zip(torch.split(frames, list(data.lengths)), data.features, strict=True):
            part.copy_(as_tensor(values))
        held[device] = frames
    return held[device]


class Batcher:
    """Makes batches in memory that is used again, which saves a quarter of the time.

    A GPU keeps all features where they fit, and takes batches from there. Otherwise a thread prepares batches
    ahead where features are read from a store at each access, or go to a GPU.

    Args:
        resident: whether the device keeps all features; without it, a GPU does where they fit.
    """

    def __init__(self, data: FeatureDataset, device: str = "cpu", resident: bool | None = None) -> None:
        self.data = data
        self.device = torch.device(device)
        self._selector: FrameSelector = all_frames
        resident = fits_on(data, self.device) if resident is None else resident
        self._resident = resident_frames(data, self.device) if resident else None
        self._bounds = np.cumsum([0, *data.lengths])
        on_cpu = self.device.type == "cpu"
        self._ahead = 0 if resident or (on_cpu and not data.lazy) else PREPARED_AHEAD
        # a GPU takes them as they are stored, half the bytes, in one piece; a processor multiplies in float32
        self._dtype = torch.float32 if on_cpu else torch.from_numpy(np.empty(0, data.dtype)).dtype
        self._gap = GAP if on_cpu else 0
        # one that is in use, one that is being filled, and those that wait
        blocks = self._ahead + 2 if self._ahead else 1
        self._memory = [torch.empty(0, 0, dtype=self._dtype) for _ in range(blocks)]
        self._blocks = cycle(range(blocks))

    def taking(self, frame_indices: FrameSelector) -> "Batcher":
        """Return a batcher of the selected frames; it shares this one's memory."""
        other = copy(self)
        other._selector = frame_indices
        return other

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return the frames of some videos, one video after another."""
        selected = [self._selector(row) for row in rows]
        counts = tuple(
            self.data.lengths[row] if taken is None else len(taken)
            for row, taken in zip(rows, selected, strict=True)
        )
        if self._resident is None:
            return Batch(self._copied(rows, selected, counts).float(), None, counts, tuple(rows))
        # positions among the frames of all videos
        first, end = self._bounds[:-1], self._bounds[1:]
        positions = [
            np.arange(first[row], end[row]) if taken is None else first[row] + taken
            for row, taken in zip(rows, selected, strict=True)
        ]
        return Batch(self._resident, np.concatenate(positions), counts, tuple(rows))

    def _copied(self, rows: Sequence[int], selected: Sequence[Index | None], counts: Sequence[int]) -> Tensor:
        block, channels, total = next(self._blocks), self.data.channels, sum(counts)
        if len(self._memory[block]) < total:
            size, pinned = (total, channels + self._gap), self.device.type == "cuda"
            self._memory[block] = torch.empty(size, dtype=self._dtype, pin_memory=pinned)
        frames = self._memory[block][:total, :channels]
        for part, row, taken in zip(torch.split(frames, list(counts)), rows, selected, strict=True):
            part.copy_(as_tensor(take(self.data.features[row], taken)))
        return frames.to(self.device)

    def batches(self, groups: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """Yield a batch of each group of videos."""
        if not self._ahead:
            yield from map(self.batch, groups)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="features") as reader:
            waiting = deque[Future[Batch]]()
            for rows in groups:
                waiting.append(reader.submit(self.batch, rows))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def chunks(rows: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Return `rows` in groups of `size`; the last one may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def bucketed(
    order: Sequence[int], lengths: Sequence[int], size: int, windows: int, generator: torch.Generator
) -> list[Sequence[int]]:
    """Return `order` in shuffled groups of `size`, sorted by length within `windows` groups' worth each.

    One window leaves the order as it is.
    """
    if windows == 1:
        return chunks(order, size)
    by_length = [
        item
        for window in chunks(order, size * windows)
        for item in sorted(window, key=lambda item: lengths[item])
    ]
    groups = chunks(by_length, size)
    return [groups[number] for number in torch.randperm(len(groups), generator=generator).tolist()]
