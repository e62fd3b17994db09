"""Who may write to a store: one run at a time, with the processes that work for it.

Two lock files lie beside the store. A run holds the first one alone. Processes that write for a run hold the
second one together, each until it ends; so a run that follows a killed one knows when the last of that one's
processes is gone. The system frees both with the process that holds them, however it ends; what the files
hold, and how old they are, means nothing.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from vqafeat.errors import StoreError
from vqafeat.remote import StorePath, translate_network_errors

if TYPE_CHECKING:
    from upath import UPath


_ORPHANS_SECONDS = 30.0  # for what a killed run left behind to notice it
_LOOK_SECONDS = 0.05


@contextmanager
def exclusive_lock(store: StorePath) -> Iterator[None]:
    """Hold a store against all other runs, once the processes of a killed one are gone.

    Raises:
        StoreError: another process is writing to it, or it cannot be written to.
    """
    if not isinstance(store, Path):
        with _locked_object(store):
            yield
        return
    with _locked(store.with_suffix(".lock"), store, fcntl.LOCK_EX, 0.0):
        with wait_for_workers(store):
            pass
        yield


@contextmanager
def worker_lock(store: StorePath) -> Iterator[None]:
    """Take part in writing to a store, for a run that holds it alone.

    Raises:
        StoreError: a run is just beginning, which this process does not belong to, or the store cannot be
            written to.
    """
    if not isinstance(store, Path):
        yield  # an object appears whole or not at all
        return
    with _locked(store.with_suffix(".writers.lock"), store, fcntl.LOCK_SH, _ORPHANS_SECONDS):
        yield


@contextmanager
def wait_for_workers(store: Path) -> Iterator[None]:
    """Keep out new processes that would take part in writing, once those that do are gone.

    Raises:
        StoreError: some are still there after half a minute, or the store cannot be written to.
    """
    with _locked(store.with_suffix(".writers.lock"), store, fcntl.LOCK_EX, _ORPHANS_SECONDS):
        yield


def remove_partial_files(store: StorePath) -> None:
    """Remove what processes that died left half written; for who holds the store alone, with no other process
    at work.
    """
    if isinstance(store, Path):
        with translate_write_errors(store):
            for leftover in store.rglob("*.partial"):
                leftover.unlink(missing_ok=True)


def remove_partial_files_after_workers(store: StorePath) -> None:
    """Remove it once the processes that wrote for this run are gone.

    One that is only out of reach may outlast the timeout; then the next run sweeps.
    """
    if isinstance(store, Path):
        with suppress(StoreError), wait_for_workers(store):
            remove_partial_files(store)


@contextmanager
def translate_write_errors(store: StorePath) -> Iterator[None]:
    """Turn the system's refusal to write into one sentence.

    Raises:
        StoreError: the store, or the folder that it lies in, cannot be written to: read-only, full, or
            without locks.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"'{store}' cannot be written to ({error.strerror or error}); make room or make it writable and "
            f"run the same command again, "
            "or choose another --store."
        ) from error


@contextmanager
def _locked_object(path: "UPath") -> Iterator[None]:
    """Put an object that nobody else may put; it stays where this process is killed."""
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
def _locked(path: Path, store: Path, kind: int, timeout_seconds: float) -> Iterator[None]:
    with translate_write_errors(store):
        file = path.open("w")
    with file:
        deadline = time.monotonic() + timeout_seconds
        while not _taken(file.fileno(), kind, store):
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"another process is writing to '{store}'; wait for it, or choose another --store."
                )
            time.sleep(_LOOK_SECONDS)
        yield


def _taken(descriptor: int, kind: int, store: Path) -> bool:
    with translate_write_errors(store):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
