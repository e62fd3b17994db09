"""Decoding on a GPU by its video decoders (NVDEC); frames stay there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby, islice
from operator import attrgetter
from queue import Empty, Full, Queue
from threading import Event, Thread, current_thread
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from vqafeat.video.chunks import Chunk, DecodeJob, Message, VideoEnd, VideoFailed, decode_chunks
from vqafeat.video.frame import HARDWARE_FORMAT, Frame, FrameLayout, format_name
from vqafeat.video.reader import FRAMES_KEPT, VideoReader
from vqafeat.video.rgb import no_memory_for_frames

MOST_THREADS = 8  # an H100 has seven decoders; more threads make them slower
WAIT_SECONDS = 0.1

Key = TypeVar("Key")


class DeviceDecodePool(Generic[Key]):
    """Threads that each decode one video at a time on a GPU; it has the methods of `DecodePool`.

    They are threads because frames of another process would have to leave the GPU. A codec that crashes takes
    this process down with it. Videos hang if no thread sends a message for `timeout_seconds`.
    """

    def __init__(self, device: torch.device, workers: int, timeout_seconds: float) -> None:
        self._device, self._timeout = device, timeout_seconds
        self._workers = max(1, min(workers, MOST_THREADS))
        # bounded, since the chunks that wait take memory of the device
        self._waiting: Queue[tuple[Thread, Message]] = Queue(self._workers)
        self._running: dict[Thread, tuple[Key, DecodeJob]] = {}
        self._closed = Event()

    def close(self) -> None:
        """Stop all threads after the frames that they are decoding."""
        self._closed.set()
        for thread in self._running:
            thread.join(self._timeout)

    def messages(self, next_job: Callable[[], tuple[Key, DecodeJob] | None]) -> Iterator[tuple[Key, Message]]:
        """Decode jobs until there is none left, and yield their messages; data of chunks are on the device.

        `next_job` is called whenever a thread is free, even after it has returned None.
        """
        while self._start(next_job):
            try:
                thread, message = self._waiting.get(timeout=self._timeout)
            except Empty:
                stopped, self._running = self._running, {}
                problem = f"gave no frame for {self._timeout:g} seconds"
                for key, job in stopped.values():
                    yield key, VideoFailed("timeout", f"'{job.path}' {problem}.")
                continue
            if thread not in self._running:
                continue  # it was taken for one that hangs
            key, _ = self._running[thread]
            if isinstance(message, VideoEnd | VideoFailed):
                del self._running[thread]
            yield key, message

    def _start(self, next_job: Callable[[], tuple[Key, DecodeJob] | None]) -> bool:
        while len(self._running) < self._workers and (pair := next_job()) is not None:
            thread = Thread(target=self._decode, args=[pair[1]], name="decoder", daemon=True)
            self._running[thread] = pair
            thread.start()
        return bool(self._running)

    def _decode(self, job: DecodeJob) -> None:
        for message in self._decoded(job):
            while not self._closed.is_set():
                with suppress(Full):
                    self._waiting.put((current_thread(), message), timeout=WAIT_SECONDS)
                    break
            else:
                return

    def _decoded(self, job: DecodeJob) -> Iterator[Message]:
        try:
            if self._device.type == "cuda":
                torch.cuda.set_device(self._device)
            torch.zeros(1, device=self._device)  # FFmpeg decodes in the context that is current
        except RuntimeError as error:
            yield VideoFailed(
                "decoder-error", f"'{job.path}' cannot be decoded on '{self._device}': {error}."
            )
            return
        yield from decode_chunks(job, self._chunks)

    def _chunks(self, reader: VideoReader) -> Iterator[Chunk]:
        for layout, alike in groupby(reader, attrgetter("layout")):
            while chunk := self._chunk(layout, list(islice(alike, FRAMES_KEPT))):
                yield chunk

    def _chunk(self, layout: FrameLayout, frames: list[Frame]) -> Chunk | None:
        """Return copies of decoded frames, which the decoder can overwrite then; None if there are none."""
        if not frames:
            return None
        with _stream_of_copies(self._device):
            try:
                rows = torch.empty((len(frames), layout.nbytes), dtype=torch.uint8, device=self._device)
            except torch.OutOfMemoryError as error:
                raise no_memory_for_frames(self._device) from error
            for frame, row in zip(frames, rows, strict=True):
                _copy(frame, row)
        return Chunk(frames[0].index, tuple(frame.seconds for frame in frames), layout, 0, rows)


@contextmanager
def _stream_of_copies(device: torch.device) -> Iterator[None]:
    """Copy decoded frames ahead of the kernels of networks, and before the decoder reuses their memory."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.default_stream(device))  # on which FFmpeg completes frames
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()


def _copy(frame: Frame, row: Tensor) -> None:
    """Copy a frame into (layout.nbytes,) uint8 on a device."""
    if not frame.layout.planes:
        converted = np.empty(frame.layout.nbytes, np.uint8)
        frame.write_to(converted)
        row.copy_(torch.from_numpy(converted))
        return
    planes = [from_dlpack(plane.__dlpack__()) for plane in frame.picture.planes]
    if format_name(frame.picture) == HARDWARE_FORMAT:
        planes[1] = planes[1].permute(2, 0, 1)  # U and V in turn
    start = 0
    for plane in planes:
        row[start : start + plane.numel()].view(plane.shape).copy_(plane)
        start += plane.numel()
