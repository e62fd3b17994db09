"""One writer at a time: a lock beside the store."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from vqafeat.errors import StoreError
from vqafeat.places import Place, network_errors_told

if TYPE_CHECKING:
    from upath import UPath


@contextmanager
def held_alone(path: Place) -> Iterator[None]:
    """Hold the store at a path against other writers.

    Raises:
        StoreError: another process is writing to it.
    """
    with _locked_object(path) if not isinstance(path, Path) else _locked_file(path):
        yield


@contextmanager
def _locked_object(path: "UPath") -> Iterator[None]:
    """Put an object that nobody else may put; it stays where this process is killed."""
    lock = path.with_suffix(".lock")
    with network_errors_told(path):
        try:
            lock.fs.pipe_file(lock.path, f"process {os.getpid()} on {gethostname()}".encode(), mode="create")
        except FileExistsError as error:
            raise StoreError(
                f"another process is writing to '{path}' ({lock.read_text()}); wait for it, or, if it was killed, delete '{lock}'."
            ) from error
    try:
        yield
    finally:
        lock.unlink()


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another process is writing to '{path}'; wait for it, or choose another --store.") from error
        yield
