"""From the frames of a video to its features: batches of frames, blocks of clips, and buffers of rows."""

import tempfile
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.backbones.base import ClipRule
from vqafeat.backbones.network import InputMemory, Network
from vqafeat.errors import VideoError
from vqafeat.video.rgb import Frames, joined

HELD_BYTES = 64 << 20
FETCHED_ROWS = 2048
SIZES_KEPT = 4  # frame sizes whose memory, and CUDA graph, is kept
Rows = dict[str, Tensor]
Size = tuple[int, int]
Result = TypeVar("Result")


class SpillBuffer:
    """The rows of one feature set of one video; many rows move to an unnamed file in `folder`, on a disk."""

    def __init__(self, folder: Path | None) -> None:
        directory = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(HELD_BYTES, dir=directory)  # noqa: SIM115 – see below
        weakref.finalize(self, self._file.close)
        self._shape, self._dtype = (0, 0), np.dtype(np.float32)

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Append (row, channel) rows; all pieces have one width and type."""
        self._file.write(np.ascontiguousarray(rows).data)
        self._shape, self._dtype = (self._shape[0] + len(rows), rows.shape[1]), rows.dtype

    def array(self) -> npt.NDArray[Any]:
        """Return all rows, (row, channel), as a memory map if there is a file."""
        if self._file.tell() <= HELD_BYTES:
            self._file.seek(0)
            return np.frombuffer(self._file.read(), self._dtype).reshape(self._shape)
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r", shape=self._shape)


class FeatureBuffer:
    """The rows of one video from one network, in the order of its frames.

    Rows of feature sets without an entry in `dtypes` are dropped.
    """

    def __init__(self, dtypes: Mapping[str, torch.dtype], folder: Path | None = None) -> None:
        self.dtypes = dtypes
        self._on_device: list[Rows] = []
        self._stream: torch.cuda.Stream | None = None  # on which the rows are computed
        self._count = 0
        self._buffers = {name: SpillBuffer(folder) for name in dtypes}
        self.frames: list[int] = []  # of each row
        self.waiting = 0  # frames that were added to a batch and have no row yet
        self.error: VideoError | None = None  # why the network takes no further frame of the video

    def add(self, rows: Rows) -> None:
        """Append rows; those on a GPU are fetched many at a time, because each fetch waits for the GPU."""
        kept = {name: rows[name].to(dtype) for name, dtype in self.dtypes.items()}
        first = next(iter(kept.values()))
        self._on_device.append(kept)
        self._count += len(first)
        if first.device.type == "cuda":
            self._stream = torch.cuda.current_stream(first.device)
        if self._stream is None or self._count >= FETCHED_ROWS:
            self._fetch()

    def _fetch(self) -> None:
        with torch.cuda.stream(self._stream):  # None keeps the present one
            for name, buffer in self._buffers.items():
                buffer.append(torch.cat([piece[name] for piece in self._on_device]).cpu().numpy())
        self._on_device, self._count = [], 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all (row, channel) rows of each feature set."""
        if self._on_device:
            self._fetch()
        return {name: buffer.array() for name, buffer in self._buffers.items()}


def unless_out_of_memory(compute: Callable[[], Result]) -> Result | None:
    """Return the result, or None if the device ran out of memory."""
    try:
        return compute()
    except torch.OutOfMemoryError:
        pass  # the traceback holds tensors until the handler ends
    torch.cuda.empty_cache()
    return None


class FrameBatcher:
    """Runs frames of equal size, of one or more videos, through a network together.

    All batches of a size have equally many frames, so that the rows of a frame do not depend on how many
    came with it: `size_for(height, width)`, halved whenever the device runs out of memory.
    """

    def __init__(self, network: Network, size_for: Callable[[int, int], int]) -> None:
        self.network, self._size_for = network, size_for
        # (height, width), frames → memory for a batch, kept for the sizes that were used last
        self.memories = lru_cache(SIZES_KEPT)(lambda size, frames: InputMemory(network, frames))
        self._sizes: dict[Size, int] = {}
        self._pending: defaultdict[Size, deque[tuple[FeatureBuffer, Frames]]] = defaultdict(deque)

    def add(self, buffer: FeatureBuffer, frames: Frames) -> None:
        """Add frames whose rows go to `buffer`, and run the batches that are full."""
        size = frames.size
        if size not in self._sizes:
            self._sizes[size] = self._size_for(*size)
        self._pending[size].append((buffer, frames))
        buffer.waiting += len(frames)
        while sum(len(piece) for _, piece in self._pending[size]) >= self._sizes[size]:
            self._run_next(size)

    def flush(self, size: Size) -> None:
        """Run the frames of this (height, width) that wait."""
        while self._pending[size]:
            self._run_next(size)

    def _run_next(self, size: Size) -> None:
        whole, pending = self._sizes[size], self._pending[size]
        batch = _first_frames(pending, whole)
        rows = unless_out_of_memory(lambda: self._rows(size, batch))
        if rows is None:
            self.memories.cache_clear()
            if whole > 1:
                self._sizes[size] = whole // 2
                pending.extendleft(reversed(batch))
                return
            batch[0][0].error = _out_of_memory(self.network, f"a single frame of {size[1]}x{size[0]}")
        start = 0
        for buffer, frames in batch:
            end = start + len(frames)
            buffer.waiting -= len(frames)
            if rows is not None:
                buffer.add({name: values[start:end] for name, values in rows.items()})
            start = end

    def _rows(self, size: Size, batch: list[tuple[FeatureBuffer, Frames]]) -> Rows:
        if self._sizes[size] == 1:
            return self.network.rows(self.network.inputs(batch[0][1]))
        memory, start = self.memories(size, self._sizes[size]), 0
        for _, frames in batch:
            memory.put(start, frames)
            start += len(frames)
        return memory.rows()


def _first_frames(
    pending: deque[tuple[FeatureBuffer, Frames]], count: int
) -> list[tuple[FeatureBuffer, Frames]]:
    """Remove the first `count` frames, or all if there are fewer, and return them by video."""
    batch = []
    while pending and count:
        buffer, frames = pending.popleft()
        if len(frames) > count:
            pending.appendleft((buffer, frames[count:]))
            frames = frames[:count]
        batch.append((buffer, frames))
        count -= len(frames)
    return batch


def _out_of_memory(network: Network, what: str) -> VideoError:
    message = f"'{network.backbone.name}' ran out of memory on {what}; use a smaller view or another device."
    return VideoError("out-of-memory", message)


class FrameCollector:
    """Adds the frames that a network sees to its batches: those of `frame_indices`, or all if it is None."""

    def __init__(self, batcher: FrameBatcher, buffer: FeatureBuffer, frame_indices: list[int] | None) -> None:
        self._buffer, self._batcher = buffer, batcher
        self._selected = None if frame_indices is None else set(frame_indices)

    def push(self, first: int, frames: Frames) -> None:
        """Take the next frames, from the one with index `first`."""
        if self._buffer.error is not None:
            return
        indices = range(first, first + len(frames))
        seen = [index for index in indices if self._selected is None or index in self._selected]
        if seen:
            self._buffer.frames.extend(seen)
            rows = [index - first for index in seen]
            self._batcher.add(self._buffer, frames if len(seen) == len(frames) else frames[rows])

    def finish(self, total: int) -> None:
        """Do nothing: no frame is held back."""


class ClipBatcher:
    """Cuts a video into the blocks that a temporal network sees; it holds at most one block of frames.

    Each of `frame_indices` gets the row of the block around it; without them, all rows are kept.
    """

    def __init__(
        self, batcher: FrameBatcher, buffer: FeatureBuffer, frame_indices: list[int] | None = None
    ) -> None:
        assert batcher.network.clips is not None
        self._buffer, self._network, self._memories = buffer, batcher.network, batcher.memories
        self._rule: ClipRule = batcher.network.clips
        self._selected = frame_indices
        self._held: deque[Frames] = deque(maxlen=self._rule.window)
        self._count = 0

    def push(self, first: int, frames: Frames) -> None:
        """Take the next frames, and run each block once it is known not to be the last."""
        if self._buffer.error is not None:
            return
        for row in range(-first % self._rule.stride, len(frames), self._rule.stride):
            if self._count and self._count % self._rule.window == 0:
                self._run(self._count - self._rule.window, already_covered=0)
            self._held.append(frames[row : row + 1])
            self._count += 1

    def finish(self, total: int) -> None:
        """Run the last block, which ends with the video of `total` frames."""
        window, total = self._rule.window, ceil(total / self._rule.stride)
        if self._buffer.error is None:
            self._run(max(0, total - window), already_covered=(total - 1) // window * window)

    def _run(self, first: int, already_covered: int) -> None:
        length = len(self._held)
        if self._selected is None:
            kept = self._rule.rows(first, length, already_covered)
        else:
            kept = self._rule.rows_around(self._selected, first, length, already_covered)
        if not kept:
            return
        seen = [self._held[position] for position in self._rule.input_indices(length)]
        rows = unless_out_of_memory(lambda: self._rows(joined(seen)))
        if rows is None:
            self._memories.cache_clear()
            height, width = seen[0].size
            what = f"a clip of {len(seen)} frames of {width}x{height}"
            self._buffer.error = _out_of_memory(self._network, what)
            return
        # stacked, since an index would be copied to the device, which waits for it
        selected = {name: torch.stack([values[step] for step, _ in kept]) for name, values in rows.items()}
        self._buffer.add(selected)
        self._buffer.frames.extend(frame for _, frame in kept)

    def _rows(self, frames: Frames) -> Rows:
        if self._network.device.type == "cpu":
            return self._network.rows(self._network.inputs(frames))
        memory = self._memories(frames.size, len(frames))
        memory.put(0, frames)
        return memory.rows()
