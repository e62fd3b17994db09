"""Decoding processes, each with one video at a time; one that crashes or hangs is replaced.

A process decodes into memory that it shares with the parent process, and ends with it.
"""

import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

import numpy as np

from vqafeat.errors import ArgumentError, VideoError
from vqafeat.system import anonymous_file
from vqafeat.video.chunks import (
    Buffer,
    Chunk,
    DecodeJob,
    Message,
    VideoEnd,
    VideoFailed,
    buffered_chunks,
    decode_chunks,
)

STARTING_SECONDS = 60.0  # for the imports of a process, on a busy machine
SLOTS = 3  # one being read, one full, one being filled
SLOT_BYTES = 1 << 30  # reserved; only pages that were written to take memory
_READY = "ready"  # sent once, so that the start of the process does not count as a video that hangs
_NO_DATA = np.empty((0, 0), np.uint8)

Key = TypeVar("Key")

# the import path is passed on, so that the process imports the same modules; `-c` runs no main script again
_START = (
    "import sys; sys.path[:] = sys.argv[3:]; from vqafeat.video import pool; "
    "pool.worker_main(int(sys.argv[1]), int(sys.argv[2]))"
)


def worker_main(connection_descriptor: int, memory_descriptor: int) -> None:
    """Decode the videos whose jobs come through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when an interrupted run ends
    connection = Connection(connection_descriptor)
    memory = mmap.mmap(memory_descriptor, SLOTS * SLOT_BYTES)
    free_slots = set(range(SLOTS))

    def next_buffer(size: int) -> tuple[int, Buffer]:
        if size > SLOT_BYTES:
            message = f"a frame of {size} bytes is larger than the {SLOT_BYTES} bytes that one may take."
            raise VideoError("too-large", message)
        while not free_slots:
            free_slots.add(connection.recv())
        slot = free_slots.pop()
        return slot, np.frombuffer(memory, np.uint8, size, slot * SLOT_BYTES)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(_READY)
        while True:
            received = connection.recv()
            if isinstance(received, int):
                free_slots.add(received)
                continue
            for message in decode_chunks(received, partial(buffered_chunks, next_buffer)):
                # the parent reads a chunk's bytes from the same memory
                sent = replace(message, data=_NO_DATA) if isinstance(message, Chunk) else message
                connection.send(sent)


class DecodePool(Generic[Key]):
    """Decoding processes that work through videos.

    A video hangs if it sends no message for `timeout_seconds` while a slot is free.
    """

    def __init__(self, workers: int, timeout_seconds: float) -> None:
        if workers < 1:
            needed = "at least 1 decoding process is needed (0 decodes in this process, without a pool)"
            raise ArgumentError(f"workers is {workers}; {needed}.")
        self._workers, self._timeout = workers, timeout_seconds
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, Key] = {}  # in the order of their jobs

    def close(self) -> None:
        """Stop all processes, whatever they are doing."""
        workers = [*self._idle, *self._busy]
        for worker in workers:
            worker.connection.close()  # all end at the same time
        for worker in workers:
            worker.kill()
        self._idle, self._busy = [], {}

    def messages(self, next_job: Callable[[], tuple[Key, DecodeJob] | None]) -> Iterator[tuple[Key, Message]]:
        """Decode jobs until there is none left, and yield their messages, those of the oldest job first.

        The data of a chunk are valid until the next message is requested. `next_job` is called whenever a
        process is free, even after it has returned None: a job may come late.
        """
        while self._give_out(next_job):
            worker = self._oldest_ready()
            if worker is None:
                for hanging in [one for one in self._busy if one.silent_seconds() > self._timeout]:
                    hanging.kill()
                    problem = f"gave no frame for {self._timeout:g} seconds; its decoder was stopped"
                    yield self._retire(hanging), VideoFailed("timeout", f"'{hanging.path}' {problem}.")
                continue
            key, message = self._busy[worker], worker.receive()
            if message is None:
                continue
            if isinstance(message, VideoEnd | VideoFailed):
                self._retire(worker)
            yield key, message
            if isinstance(message, Chunk) and worker in self._busy:
                worker.free(message.slot)

    def _give_out(self, next_job: Callable[[], tuple[Key, DecodeJob] | None]) -> bool:
        while len(self._busy) < self._workers and (pair := next_job()) is not None:
            key, job = pair
            worker = self._idle.pop() if self._idle else _Worker()
            self._busy[worker] = key
            worker.start(job)
        return bool(self._busy)

    def _oldest_ready(self) -> "_Worker | None":
        ready = wait([worker.connection for worker in self._busy], timeout=min(1.0, self._timeout / 4))
        return next((worker for worker in self._busy if worker.connection in ready), None)

    def _retire(self, worker: "_Worker") -> Key:
        if worker.alive:
            self._idle.append(worker)
        return self._busy.pop(worker)


class _Worker:
    """A process, its pipe and the memory that both map."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        memory = anonymous_file(SLOTS * SLOT_BYTES, "vqafeat-frames")
        command = [sys.executable, "-c", _START, str(theirs.fileno()), str(memory), *sys.path]
        # a new session, so that Ctrl-C at a terminal reaches only this process
        self._process = subprocess.Popen(
            command,
            pass_fds=(theirs.fileno(), memory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self._memory = mmap.mmap(memory, SLOTS * SLOT_BYTES)
        os.close(memory)
        self._held, self._last_message = 0, time.monotonic() + STARTING_SECONDS
        self.path, self.alive = "", True

    def start(self, job: DecodeJob) -> None:
        self.path, self._last_message = str(job.path), max(self._last_message, time.monotonic())
        self._send(job)

    def free(self, slot: int) -> None:
        self._held -= 1
        self._last_message = time.monotonic()
        self._send(slot)

    def _send(self, item: object) -> None:
        with suppress(OSError):  # the process has ended, which `receive` reports
            self.connection.send(item)

    def receive(self) -> Message | None:
        """Return the next message, or None for the one that the process has started."""
        try:
            message: Message | str = self.connection.recv()
        except (EOFError, OSError):
            self.kill()
            code = self._process.returncode
            how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            return VideoFailed("decoder-crashed", f"'{self.path}' crashed its decoder ({how}).")
        self._last_message = time.monotonic()
        if not isinstance(message, Chunk):
            return None if isinstance(message, str) else message
        self._held += 1
        count, size = len(message.seconds), message.layout.nbytes
        data = np.frombuffer(self._memory, np.uint8, count * size, message.slot * SLOT_BYTES)
        return replace(message, data=data.reshape(count, size))

    def silent_seconds(self) -> float:
        """Return the seconds since the last message; 0 while the process waits for a free slot."""
        return time.monotonic() - self._last_message if self._held < SLOTS else 0.0

    def kill(self) -> None:
        self.alive = False
        self.connection.close()
        try:
            # a process whose pipe is closed ends; only one that hangs has to be killed
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
