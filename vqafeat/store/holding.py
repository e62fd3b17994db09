"""One writer at a time: a lock beside the store."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from vqafeat.errors import StoreError
from vqafeat.places import Place


@contextmanager
def held_alone(path: Place) -> Iterator[None]:
    """Hold the store at a path against other writers.

    Raises:
        StoreError: another process is writing to it.
    """
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another process is writing to '{path}'; wait for it, or choose another --store.") from error
        yield
