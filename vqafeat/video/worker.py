"""A decoding process: decodes the videos from its pipe into shared memory, and ends with its parent."""

import mmap
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from vqafeat.errors import VideoError
from vqafeat.video.chunks import Buffer, Chunk, decode_chunks

READY = "ready"  # sent once, so that the start of the process does not count as a video that hangs
SLOTS = 3  # one being read, one full, one being filled
_NO_DATA = np.empty((0, 0), np.uint8)
SLOT_BYTES = 1 << 30  # reserved; only pages that were written to take memory


def main(connection_descriptor: int, memory_descriptor: int) -> None:
    """Decode the videos whose jobs come through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when an interrupted run ends
    connection = Connection(connection_descriptor)
    slots = _Slots(connection, mmap.mmap(memory_descriptor, SLOTS * SLOT_BYTES))
    try:
        connection.send(READY)
        while True:
            received = connection.recv()
            if isinstance(received, int):
                slots.free(received)
            else:
                for message in decode_chunks(received, slots.next_buffer):
                    # the parent reads a chunk's bytes from the same memory
                    sent = replace(message, data=_NO_DATA) if isinstance(message, Chunk) else message
                    connection.send(sent)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class _Slots:
    def __init__(self, connection: "Connection[Any, Any]", memory: mmap.mmap) -> None:
        self._connection, self._memory = connection, memory
        self._free = set(range(SLOTS))

    def free(self, slot: int) -> None:
        self._free.add(slot)

    def next_buffer(self, size: int) -> tuple[int, Buffer]:
        if size > SLOT_BYTES:
            message = f"a frame of {size} bytes is larger than the {SLOT_BYTES} bytes that one may take."
            raise VideoError("too-large", message)
        while not self._free:
            self.free(self._connection.recv())
        slot = self._free.pop()
        return slot, np.frombuffer(self._memory, np.uint8, size, slot * SLOT_BYTES)
