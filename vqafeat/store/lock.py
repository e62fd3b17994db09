"""Who may write to a store: one run at a time, with its worker processes.

There are two lock files next to a local store. A run holds the first one exclusively. Its worker processes
share the second one until they end, so that the run after a killed one waits for the last worker. The system
releases a lock when its process ends, so that content and age of the files do not matter.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import IO, TYPE_CHECKING, Any

from vqafeat.errors import StoreError
from vqafeat.remote import StorePath, translate_network_errors

if TYPE_CHECKING:
    from upath import UPath


_ORPHANS_SECONDS = 30.0  # workers of a killed run notice its end within this time
_POLL_SECONDS = 0.05


@contextmanager
def exclusive_lock(store: StorePath) -> Iterator[None]:
    """Lock a store against all other runs, once the workers of a killed one have ended."""
    if not isinstance(store, Path):
        with _lock_object(store):
            yield
        return
    with _lock_file(store, ".lock", fcntl.LOCK_EX):
        with _lock_file(store, ".writers.lock", fcntl.LOCK_EX, _ORPHANS_SECONDS):
            pass
        yield


@contextmanager
def worker_lock(store: StorePath) -> Iterator[None]:
    """Mark this process as a worker of the run that holds the store."""
    if not isinstance(store, Path):
        yield  # an object appears whole or not at all
        return
    with _lock_file(store, ".writers.lock", fcntl.LOCK_SH, _ORPHANS_SECONDS):
        yield


def remove_partial_files(store: StorePath) -> None:
    """Remove what killed processes left half written; the caller holds the lock and has no live workers."""
    if isinstance(store, Path):
        with translate_write_errors(store):
            for leftover in store.rglob("*.partial"):
                leftover.unlink(missing_ok=True)


def remove_partial_files_after_workers(store: StorePath) -> None:
    """Remove partial files once the workers have ended; if one does not end in time, the next run does it."""
    if isinstance(store, Path):
        only_this = _lock_file(store, ".writers.lock", fcntl.LOCK_EX, _ORPHANS_SECONDS)
        with suppress(StoreError), only_this:
            remove_partial_files(store)


@contextmanager
def translate_write_errors(store: StorePath) -> Iterator[None]:
    """Raise a `StoreError` where the system refuses to write, as on a full or read-only disk."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"'{store}' cannot be written to ({error.strerror or error}); make room or make it writable and "
            "run the same command again, or choose another --store."
        ) from error


@contextmanager
def _lock_object(path: "UPath") -> Iterator[None]:
    """Create an object that must not exist yet; it remains if this process is killed."""
    lock = path.with_suffix(".lock")
    with translate_network_errors(path):
        try:
            lock.fs.pipe_file(lock.path, f"process {os.getpid()} on {gethostname()}".encode(), mode="create")
        except FileExistsError as error:
            raise StoreError(
                f"another process is writing to '{path}' ({lock.read_text()}); wait for it, or, if it was "
                f"killed, delete '{lock}'."
            ) from error
    try:
        yield
    finally:
        lock.unlink()


@contextmanager
def _lock_file(store: Path, suffix: str, kind: int, timeout_seconds: float = 0.0) -> Iterator[None]:
    with translate_write_errors(store):
        # next to the store itself, so that a link to it has the same lock
        file = store.resolve().with_suffix(suffix).open("w")
    with file:
        deadline = time.monotonic() + timeout_seconds
        with translate_write_errors(store):
            while not try_lock(file, kind):
                if time.monotonic() >= deadline:
                    raise StoreError(f"another process is writing to '{store}'; wait until it has ended.")
                time.sleep(_POLL_SECONDS)
        yield


def try_lock(file: IO[Any], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file unless another process holds it, and return whether it is locked now."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
