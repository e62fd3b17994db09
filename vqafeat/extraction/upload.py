"""Decoded frames on their way to the device that runs the networks."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor

from vqafeat.extraction.batching import unless_out_of_memory
from vqafeat.video import Chunk
from vqafeat.video.chunks import Buffer
from vqafeat.video.rgb import Frames, no_memory_for_frames, to_rgb

CHUNKS_AHEAD = 32  # that may wait for a GPU, so that its memory is bounded


class Uploader:
    """Brings the chunks of the decoding processes to a device.

    A GPU gets frames as they were decoded, half the bytes of RGB, by a stream of their own. The memory of the
    decoding processes is page-locked in place, which copies four times as fast as from other memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._on_gpu else None  # type: ignore[no-untyped-call]
        self._locked: dict[int, Buffer] = {}  # address → memory, which has to stay mapped
        self._can_lock = True
        self._waiting: deque[torch.cuda.Event] = deque()

    def frames(self, chunk: Chunk) -> Iterator[Frames]:
        """Yield the frames of a chunk in pieces."""
        if not self._on_gpu:
            # single frames keep a processor's caches, and its memory, free
            for row in range(len(chunk.data)):
                yield Frames(to_rgb(torch.as_tensor(chunk.data[row : row + 1]), chunk.layout))
            return
        if isinstance(chunk.data, Tensor):
            chunk.data.record_stream(torch.cuda.current_stream(self._device))
            self._wait_for_gpu()
            yield Frames(chunk.data, chunk.layout)
            return
        planes = unless_out_of_memory(lambda: self._copied(chunk.data))
        if planes is None:
            raise no_memory_for_frames(self._device)
        yield Frames(planes, chunk.layout)

    def _copied(self, data: Buffer) -> Tensor:
        self._wait_for_gpu()
        self._lock(data)
        assert self._stream is not None
        with torch.cuda.stream(self._stream):
            planes = torch.from_numpy(data).to(self._device, non_blocking=True)
        # the decoding process fills this memory again soon
        self._stream.synchronize()
        planes.record_stream(torch.cuda.current_stream(self._device))
        return planes

    def _wait_for_gpu(self) -> None:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._waiting.append(event)
        if len(self._waiting) > CHUNKS_AHEAD:
            self._waiting.popleft().synchronize()

    def _lock(self, data: Buffer) -> None:
        """Page-lock the memory of a chunk, unless that was done before or is not possible."""
        address, size = data.ctypes.data, data.nbytes
        locked = self._locked.get(address)
        if not self._can_lock or (locked is not None and locked.nbytes >= size):
            return
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if locked is not None:
            runtime.cudaHostUnregister(address)
        if int(runtime.cudaHostRegister(address, size, 0)) == 0:
            self._locked[address] = data
            return
        self._can_lock = False
        with suppress(RuntimeError):  # the next launch reports the refusal, which ends it
            torch.zeros(1, device=self._device)

    def close(self) -> None:
        """Unlock all memory."""
        if self._on_gpu:
            torch.cuda.synchronize(self._device)
            runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            for address in self._locked:
                runtime.cudaHostUnregister(address)
        self._locked = {}
