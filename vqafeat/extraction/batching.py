"""From the frames of a video to its features: batches of frames, blocks of clips, and buffers of rows."""

import tempfile
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.backbones.base import ClipRule
from vqafeat.backbones.network import Network
from vqafeat.errors import VideoError

HELD_BYTES = 64 << 20
FETCHED_ROWS = 2048
Rows = dict[str, Tensor]
Size = tuple[int, int]


class SpillBuffer:
    """The rows of one feature set of one video; when they are many, they move to an unnamed file in `folder`.

    The folder has to be on a disk and not in memory.
    """

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

    Args:
        dtypes: feature set → type of its rows; others that the network computes are dropped.

    Attributes:
        frames: the frame of each row.
        waiting: frames that were added to a batch and have no row yet.
        error: why the video cannot be extracted.
    """

    def __init__(self, dtypes: Mapping[str, torch.dtype], folder: Path | None = None) -> None:
        self._dtypes = dtypes
        self._on_device: list[Rows] = []
        self._count = 0
        self._buffers = {name: SpillBuffer(folder) for name in dtypes}
        self.frames: list[int] = []
        self.waiting = 0
        self.error: VideoError | None = None

    def add(self, rows: Rows) -> None:
        """Append rows; those on a GPU are fetched many at a time, because each time waits for it."""
        kept = {name: rows[name].to(dtype) for name, dtype in self._dtypes.items()}
        first = next(iter(kept.values()))
        self._on_device.append(kept)
        self._count += len(first)
        if first.device.type == "cpu" or self._count >= FETCHED_ROWS:
            self._fetch()

    def _fetch(self) -> None:
        for name, buffer in self._buffers.items():
            buffer.append(torch.cat([piece[name] for piece in self._on_device]).cpu().numpy())
        self._on_device, self._count = [], 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all (row, channel) rows of each feature set."""
        if self._on_device:
            self._fetch()
        return {name: buffer.array() for name, buffer in self._buffers.items()}


class FrameBatcher:
    """Runs frames of equal size, of one or more videos, through a network together.

    A batch is filled up with copies of its last frame, so that the rows of a frame do not depend on how many
    came with it. At a size of one, every frame is computed alone.

    Args:
        size_for: (height, width) → frames of a batch; halved whenever the device runs out of memory.
    """

    def __init__(self, network: Network, size_for: Callable[[int, int], int]) -> None:
        self.network, self._size_for = network, size_for
        self._sizes: dict[Size, int] = {}
        self._pending: defaultdict[Size, list[tuple[FeatureBuffer, Tensor]]] = defaultdict(list)

    def add(self, buffer: FeatureBuffer, frames: Tensor) -> None:
        """Add frames whose rows go to `buffer`, and run the batches that are full."""
        size = (frames.shape[2], frames.shape[3])
        if size not in self._sizes:
            self._sizes[size] = self._size_for(*size)
        self._pending[size].extend((buffer, frame) for frame in frames)
        buffer.waiting += len(frames)
        while len(self._pending[size]) >= self._sizes[size]:
            self._run_next(size)

    def flush(self, size: Size) -> None:
        """Run the frames of this (height, width) that wait."""
        while self._pending[size]:
            self._run_next(size)

    def _run_next(self, size: Size) -> None:
        whole, pending = self._sizes[size], self._pending[size]
        batch = pending[:whole]
        frames = [frame for _, frame in batch]
        try:
            rows = self.network.frame_rows(torch.stack(frames + frames[-1:] * (whole - len(frames))))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if whole > 1:
                self._sizes[size] = whole // 2
                return
            batch[0][0].error = _out_of_memory(self.network, f"a single frame of {size[1]}x{size[0]}")
            rows = None
        del pending[: len(batch)]
        start = 0
        for _, group in groupby(batch, key=lambda item: id(item[0])):
            run = list(group)
            buffer, end = run[0][0], start + len(run)
            buffer.waiting -= len(run)
            if rows is not None:
                buffer.add({name: values[start:end] for name, values in rows.items()})
            start = end


def _out_of_memory(network: Network, what: str) -> VideoError:
    message = f"'{network.backbone.name}' ran out of memory on {what}; use a smaller view or another device."
    return VideoError("out-of-memory", message)


class FrameCollector:
    """Adds the frames of a video that the network sees to the batches; None for `frame_indices` is all."""

    def __init__(self, batcher: FrameBatcher, buffer: FeatureBuffer, frame_indices: list[int] | None) -> None:
        self._buffer, self._batcher = buffer, batcher
        self._selected = None if frame_indices is None else set(frame_indices)

    def push(self, first: int, frames: Tensor) -> None:
        """Take the next (frame, 3, height, width) uint8 frames, from the one with index `first`."""
        indices = range(first, first + len(frames))
        seen = [index for index in indices if self._selected is None or index in self._selected]
        if seen:
            self._buffer.frames.extend(seen)
            rows = [index - first for index in seen]
            self._batcher.add(self._buffer, frames if len(seen) == len(frames) else frames[rows])

    def finish(self, total: int) -> None:
        """Do nothing: no frame is held back."""


class ClipBatcher:
    """Cuts a video into the blocks that a temporal network sees; it holds at most one block of frames."""

    def __init__(self, network: Network, buffer: FeatureBuffer) -> None:
        assert network.backbone.clips is not None
        self._buffer, self._network = buffer, network
        self._rule: ClipRule = network.backbone.clips
        self._held: deque[Tensor] = deque(maxlen=self._rule.window)
        self._count = 0

    def push(self, first: int, frames: Tensor) -> None:
        """Take the next frames, and run each block once it is known not to be the last."""
        for frame in frames:
            if self._count and self._count % self._rule.window == 0:
                self._run(self._count - self._rule.window, already_covered=0)
            self._held.append(frame)
            self._count += 1

    def finish(self, total: int) -> None:
        """Run the last block, which ends with the video of `total` frames."""
        window = self._rule.window
        self._run(max(0, total - window), already_covered=(total - 1) // window * window)

    def _run(self, first: int, already_covered: int) -> None:
        length = len(self._held)
        frames = torch.stack([self._held[position] for position in self._rule.input_indices(length)])
        try:
            rows = self._network.clip_rows(frames)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            what = f"a clip of {len(frames)} frames of {frames.shape[3]}x{frames.shape[2]}"
            self._buffer.error = _out_of_memory(self._network, what)
            return
        kept = self._rule.rows(first, length, already_covered)
        steps = [step for step, _ in kept]
        self._buffer.add({name: values[steps] for name, values in rows.items()})
        self._buffer.frames.extend(frame for _, frame in kept)
