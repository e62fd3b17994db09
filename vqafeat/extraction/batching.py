"""From the frames of a video, as they come, to its rows: one collector for each network that it passes."""

import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.backbones.base import ClipRule
from vqafeat.backbones.network import Network
from vqafeat.errors import VideoError

HELD_BYTES = 64 << 20


class SpillBuffer:
    """Takes the rows of one feature set of one video piece by piece.

    Args:
        folder: where the file may lie, on a disk and not in memory; it has no name, so that nothing is left
            of it, whatever happens.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: list[npt.NDArray[Any]] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._shape = (0, 0)
        self._dtype = np.dtype(np.float32)

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Take (row, channel) rows; all pieces are of one width and type."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        self._shape, self._dtype = (self._shape[0] + len(rows), rows.shape[1]), rows.dtype
        if self._held_bytes > HELD_BYTES:
            self._file = self._file or self._opened()
            self._write(self._file)

    def _opened(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 – it is closed when this object goes
        weakref.finalize(self, file.close)
        return file

    def _write(self, file: IO[bytes]) -> None:
        for piece in self._held:
            file.write(np.ascontiguousarray(piece).data)
        self._held, self._held_bytes = [], 0

    def array(self) -> npt.NDArray[Any]:
        """Return all rows, (row, channel); a map of the file where there is one."""
        if self._file is None:
            return np.concatenate(self._held)
        self._write(self._file)
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r", shape=self._shape)


FETCHED_ROWS = 2048
Rows = dict[str, Tensor]
Size = tuple[int, int]


class FeatureBuffer:
    """The rows of one video from one network, in the order of its frames.

    Attributes:
        frames: the frame of each row.
        waiting: frames that were handed to a batch and have no row yet.
        error: why the video cannot be done, once that is known.
    """

    def __init__(self, keep: Callable[[Rows], Rows], folder: Path | None = None) -> None:
        self._keep, self._folder = keep, folder
        self._on_device: list[Rows] = []
        self._count = 0
        self._stores: dict[str, SpillBuffer] = {}
        self.frames: list[int] = []
        self.waiting = 0
        self.error: VideoError | None = None

    def add(self, rows: Rows) -> None:
        """Take the next rows; from a GPU they are fetched many at a time, since it has to be waited for."""
        kept = self._keep(rows)
        first = next(iter(kept.values()))
        self._on_device.append(kept)
        self._count += len(first)
        if first.device.type == "cpu" or self._count >= FETCHED_ROWS:
            self._fetch()

    def _fetch(self) -> None:
        for name in self._on_device[0] if self._on_device else ():
            rows = torch.cat([piece[name] for piece in self._on_device]).cpu().numpy()
            self._stores.setdefault(name, SpillBuffer(self._folder)).append(rows)
        self._on_device, self._count = [], 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all (row, channel) rows of each feature set."""
        self._fetch()
        return {name: store.array() for name, store in self._stores.items()}


class Collector(Protocol):
    """Takes a video's frames in order and sees to it that their rows reach the sink."""

    sink: FeatureBuffer

    def push(self, first: int, frames: Tensor) -> None:
        """Take (frame, 3, height, width) uint8 frames, the first of which has the index `first`."""

    def finish(self, total: int) -> None:
        """Know that the video has ended, with so many frames."""


class FrameBatcher:
    """Frames of equal size, of whatever videos, that go through a network together.

    A batch is filled up to its size with frames that are seen again, so that the rows of a frame do not
    depend on how many came with it. At a size of one, every frame is computed alone.

    Args:
        size_for: (height, width) → frames of a batch; the number is halved whenever the device runs out of
            memory.
    """

    def __init__(self, network: Network, size_for: Callable[[int, int], int]) -> None:
        self.network, self._size_for = network, size_for
        self._sizes: dict[Size, int] = {}
        self._pending: dict[Size, list[tuple[FeatureBuffer, Tensor]]] = {}

    def add(self, sink: FeatureBuffer, frames: Tensor) -> None:
        """Take frames whose rows go to `sink`, and run what batches are full."""
        size = (frames.shape[2], frames.shape[3])
        if size not in self._sizes:
            self._sizes[size] = self._size_for(*size)
        self._pending.setdefault(size, []).extend((sink, frame) for frame in frames)
        sink.waiting += len(frames)
        while len(self._pending[size]) >= self._sizes[size]:
            self._run_next(size)

    def flush(self, size: Size) -> None:
        """Run what waits of frames of this (height, width)."""
        while self._pending.get(size):
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
            sink, frame = batch[0]
            sink.error = _out_of_memory(self.network, f"a single frame of {frame.shape[2]}x{frame.shape[1]}")
            rows = None
        del pending[: len(batch)]
        start = 0
        for sink, count in _runs(batch):
            sink.waiting -= count
            if rows is not None:
                sink.add({name: values[start : start + count] for name, values in rows.items()})
            start += count


def _runs(batch: list[tuple[FeatureBuffer, Tensor]]) -> list[tuple[FeatureBuffer, int]]:
    """Return how many frames in a row belong to each sink."""
    found: list[tuple[FeatureBuffer, int]] = []
    for sink, _ in batch:
        if found and found[-1][0] is sink:
            found[-1] = (sink, found[-1][1] + 1)
        else:
            found.append((sink, 1))
    return found


def _out_of_memory(network: Network, what: str) -> VideoError:
    return VideoError(
        "out-of-memory",
        f"'{network.backbone.name}' ran out of memory on {what}; use a smaller view or another device.",
    )


class FrameCollector:
    """Hands the frames that a network sees, each by itself, to the batches.

    Args:
        picks: indices of the frames to see; None for every frame.
    """

    def __init__(self, batches: FrameBatcher, sink: FeatureBuffer, frame_indices: list[int] | None) -> None:
        self.sink = sink
        self._batches = batches
        self._picks = None if frame_indices is None else set(frame_indices)

    def push(self, first: int, frames: Tensor) -> None:
        """Take frames in order."""
        chosen = [
            index for index in range(len(frames)) if self._picks is None or first + index in self._picks
        ]
        if chosen:
            self.sink.frames.extend(first + index for index in chosen)
            self._batches.add(self.sink, frames if len(chosen) == len(frames) else frames[chosen])

    def finish(self, total: int) -> None:
        """Nothing is held back here."""


class ClipBatcher:
    """Cuts a video into the blocks that a temporal network sees, holding no more than one block of frames."""

    def __init__(self, network: Network, sink: FeatureBuffer) -> None:
        assert network.backbone.clips is not None
        self.sink = sink
        self._network = network
        self._rule: ClipRule = network.backbone.clips
        self._held: deque[Tensor] = deque(maxlen=self._rule.window)
        self._count = 0

    def push(self, first: int, frames: Tensor) -> None:
        """Take frames in order, and run each block once it is known not to be the last."""
        for frame in frames:
            if self._count and self._count % self._rule.window == 0:
                self._run(self._count - self._rule.window, already_covered=0)
            self._held.append(frame)
            self._count += 1

    def finish(self, total: int) -> None:
        """Run the last block, which ends with the video."""
        window = self._rule.window
        already_covered = (total - 1) // window * window
        self._run(max(0, total - window), already_covered)

    def _run(self, first: int, already_covered: int) -> None:
        length = len(self._held)
        frames = torch.stack([self._held[position] for position in self._rule.input_indices(length)])
        try:
            rows = self._network.clip_rows(frames)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            self.sink.error = _out_of_memory(
                self._network, f"a clip of {len(frames)} frames of {frames.shape[3]}x{frames.shape[2]}"
            )
            return
        kept = self._rule.rows(first, length, already_covered)
        steps = [step for step, _ in kept]
        self.sink.add({name: values[steps] for name, values in rows.items()})
        self.sink.frames.extend(frame for _, frame in kept)
