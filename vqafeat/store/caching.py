"""Copies of what a fit reads from an object store, on a local disk: made once, bounded, the least recently used ones removed first."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path

from vqafeat.errors import ArgumentError
from vqafeat.store.copying import copy_store
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key
from vqafeat.store.layouts import StoredVideo

_SHARE_OF_FREE = 2
_LOCK, _SIZE, _WHOLE = "in-use.lock", "bytes", "complete"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cache:
    """Where copies lie, and how much they may take.

    Attributes:
        folder: of all copies.
        most_bytes: of all copies together; 0 makes none, None is half of what is free on the disk and taken by copies.
    """

    folder: Path
    most_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.most_bytes is not None and self.most_bytes < 0:
            raise ArgumentError(f"--cache {self.most_bytes}: copies take an amount such as 20G, or none.")

    @property
    def limit_bytes(self) -> int:
        """How much all copies may take."""
        if self.most_bytes is not None:
            return self.most_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        return (shutil.disk_usage(self.folder).free + sum(map(_size, self.copies()))) // _SHARE_OF_FREE

    def copies(self) -> list[Path]:
        """Return the folders of the copies, the least recently used first."""
        return sorted((lock.parent for lock in self.folder.glob(f"*/{_LOCK}")), key=lambda copy: (copy / _LOCK).stat().st_mtime)


@contextmanager
def local_copy(store: FeatureStore, feature_sets: Sequence[str], cache: Cache, tell: Tell) -> Iterator[FeatureStore]:
    """Lend a copy of what is complete of some feature sets on this machine's disk, which is kept for the next time.

    A store on this machine is lent as it is, and so is one that is larger than the cache: it is then read at each access.

    Args:
        store: of any layout, anywhere.
        feature_sets: the ones that are needed.
        cache: where copies lie.
        tell: told what is copied, removed, or not copied.

    Raises:
        StoreError: the store has no such feature set, or something of it cannot be read.
    """
    if isinstance(store.path, Path):
        yield store
        return
    needed = {name: _complete(store, name) for name in dict.fromkeys(feature_sets)}
    size = sum(said.bytes for videos in needed.values() for said in videos)
    folder = cache.folder / _key(store, needed)
    if size > cache.limit_bytes:
        tell(f"{_gib(size)} of {store.path} is more than the {_gib(cache.limit_bytes)} of --cache; it is read there at each access")
        yield store
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{store_key(store.dataset_name)}.zarr"
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if (folder / _WHOLE).is_file():
            tell(f"reading the copy of {store.path} in {folder}")
        elif not _made(store, needed, path, lock, cache, tell):
            tell(f"copies that are in use leave no room for {_gib(size)} of {store.path}; it is read there at each access")
            yield store
            return
        os.utime(folder / _LOCK)
        yield FeatureStore.open(path)


def _made(store: FeatureStore, needed: dict[str, list[StoredVideo]], path: Path, lock: TextIOWrapper, cache: Cache, tell: Tell) -> bool:
    """Make a copy where no other process makes it meanwhile, and tell whether there was room for it."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    size = sum(said.bytes for videos in needed.values() for said in videos)
    room = (path.parent / _WHOLE).is_file() or _make_room(cache, size, path.parent, tell)
    if room and not (path.parent / _WHOLE).is_file():
        (path.parent / _SIZE).write_text(str(size))
        tell(f"copying {_gib(size)} of {store.path} to {path.parent}, once")
        copy_store(store, needed, path)
        (path.parent / _WHOLE).touch()
    fcntl.flock(lock, fcntl.LOCK_SH)
    return room


def _complete(store: FeatureStore, feature_set: str) -> list[StoredVideo]:
    store.identity(feature_set)
    found = store.layout.of_each(lambda video: store.stored(feature_set, video.name), store.dataset.videos)
    return [said for said in found if said is not None]


def _key(store: FeatureStore, needed: dict[str, list[StoredVideo]]) -> str:
    """Return a digest of the URL and all that the store says of what is needed: another content has another copy."""
    sets = {name: [store.identity(name).as_dict(), [vars(said) for said in videos]] for name, videos in needed.items()}
    what = [str(store.path), store.dataset.name, store.dataset.digest, store.content, sets]
    return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _make_room(cache: Cache, size: int, own: Path, tell: Tell) -> bool:
    """Remove the least recently used copies that no process reads, until there is room; tell whether there is."""
    limit, taken = cache.limit_bytes, {copy: _size(copy) for copy in cache.copies() if copy != own}
    for copy in list(taken):
        if sum(taken.values()) + size <= limit:
            break
        with (copy / _LOCK).open("a") as lock:
            if _free(lock):
                tell(f"removing the copy {copy}, {_gib(taken.pop(copy))}, to make room")
                shutil.rmtree(copy)
    return sum(taken.values()) + size <= limit


def _free(lock: TextIOWrapper) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(copy: Path) -> int:
    return int((copy / _SIZE).read_text()) if (copy / _SIZE).is_file() else 0


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
