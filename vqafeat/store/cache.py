"""Copies of what a fit reads from an object store, on a local disk: made once, bounded, the least recently
used ones removed first.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, StoreError
from vqafeat.remote import (
    ChangedError,
    RemoteFile,
    StorePath,
    listed_files,
    remove_tree,
    translate_cache_errors,
    translate_network_errors,
)
from vqafeat.store.layout import PLAIN, StoredVideo
from vqafeat.store.store import FeatureStore
from vqafeat.store.zarr_io import read_node, store_key

_AT_ONCE = 16  # objects on their way
_METADATA = "zarr.json"


def copy_store(store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]], path: Path) -> None:
    """Copy some feature sets of a store at a URL; what an earlier, stopped process copied is kept.

    The root's metadata come last, so that what is copied in part is no store.

    Args:
        needed: feature set → the videos that are stored whole.
        path: of the copy.

    Raises:
        StoreError: something does not have its check sum, or the object store cannot be reached.
    """
    objects = list(_objects(store, needed))
    with translate_network_errors(store.path), ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        for _ in pool.map(lambda item: _fetch(item[1], path / item[0]), objects):
            pass
        features, root = _metadata(store.path / "features"), _metadata(store.path)
    _leave_out(root, needed)
    with translate_cache_errors(path):
        (path / "features" / _METADATA).write_text(json.dumps(features))
        (path / _METADATA).write_text(json.dumps(root))
    _check(store, path, needed)


def _metadata(node: StorePath) -> dict[str, Any]:
    if not (found := read_node(node)):
        raise StoreError(f"'{node / _METADATA}' is missing or came damaged; run the same command again.")
    return found


def _check(store: FeatureStore, path: Path, needed: Mapping[str, Sequence[StoredVideo]]) -> None:
    """Refuse what came damaged, or was changed meanwhile; it goes, so that the next try does not keep it.

    Of a packed store all goes, since videos share objects.
    """
    copied = FeatureStore.open(path)
    with _discard_on_error(store, path, "labels"):
        _same(copied.dataset.digest, store.dataset.digest, "labels")
    for name, videos in needed.items():
        group, identity = f"features/{store_key(name)}", store.identity(name)
        with _discard_on_error(store, path, f"{group}/{_METADATA}"):
            _same(copied.identity(name), identity, f"identity of '{name}'")
        for said in videos:
            key = store_key(said.video)
            with _discard_on_error(
                store, path, *((f"{group}/{key}", f"frames/{key}") if store.layout.name == PLAIN else ("",))
            ):
                _same(copied.stored(name, said.video), said, f"rows of '{said.video}'")
                copied.seconds(said.video)
                copied.read(name, said.video, checked=True)


def _same(copied: object, there: object, what: str) -> None:
    if copied != there:
        raise StoreError(f"the {what} are not those that were there")


@contextmanager
def _discard_on_error(store: FeatureStore, path: Path, *parts: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, ValueError, KeyError, OSError, RuntimeError) as error:
        for part in (path / _METADATA, *(path / part for part in parts)):
            if part.is_dir():
                remove_tree(part)
            else:
                part.unlink(missing_ok=True)
        raise StoreError(
            f"'{store.path}' came damaged or was changed while it was copied ({error}); run the same "
            f"command again, and "
            f"`vqafeat verify {store.path}` if that stays."
        ) from error


def _objects(
    store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]]
) -> Iterator[tuple[str, RemoteFile]]:
    """Yield the objects of the labels, the frame times and the feature sets; of a plain store, where videos
    are nodes, the needed ones'.
    """
    assert not isinstance(store.path, Path)
    groups = {
        f"features/{store_key(name)}": {store_key(said.video) for said in videos}
        for name, videos in needed.items()
    }
    for group, videos in {**groups, "frames": set().union(*groups.values())}.items():
        for name, file in listed_files(store.path / group).items():
            node = name.split("/")[0]
            if store.layout.name != PLAIN or node in videos or node == _METADATA:
                yield f"{group}/{name}", file
    for name, file in listed_files(store.path / "labels").items():
        yield f"labels/{name}", file


def _leave_out(root: dict[str, Any], needed: Mapping[str, Sequence[StoredVideo]]) -> None:
    """Take feature sets that were not copied out of the metadata that a packed store's root has of all its
    nodes.
    """
    if "consolidated_metadata" not in root:
        return
    known, keys = root["consolidated_metadata"]["metadata"], {store_key(name) for name in needed}
    left_out = [name for name in known if name.startswith("features/") and name.split("/")[1] not in keys]
    for name in left_out:
        del known[name]
    if left_out:
        root["attributes"].pop("content", None)  # the digest is of all feature sets


def _fetch(file: RemoteFile, to: Path) -> None:
    if file.is_copied_to(to):
        return  # a stopped process had it whole
    with translate_cache_errors(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    unfinished = to.with_name(f"{to.name}.partial")
    try:
        file.fetch(unfinished)
    except (FileNotFoundError, ChangedError) as error:
        raise StoreError(
            f"'{file}' was changed while its store was copied ({error}); run the same command again."
        ) from error
    unfinished.rename(to)


_SHARE_OF_FREE = 2
_LOCK, _SIZE, _WHOLE = "in-use.lock", "bytes", "complete"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Cache:
    """Where copies lie, and how much they may take.

    Attributes:
        folder: of all copies.
        most_bytes: of all copies together; 0 makes none, None is half of what is free on the disk and taken
            by copies.
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
        return sorted(
            (lock.parent for lock in self.folder.glob(f"*/{_LOCK}")),
            key=lambda copy: (copy / _LOCK).stat().st_mtime,
        )


@contextmanager
def cached_copy(
    store: FeatureStore, feature_sets: Sequence[str], cache: Cache, tell: Log
) -> Iterator[FeatureStore]:
    """Lend a copy of what is complete of some feature sets on this machine's disk, which is kept for the next
    time.

    A store on this machine is lent as it is, and so is one that is larger than the cache: it is then read at
    each access.

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
        tell(
            f"{_gib(size)} of {store.path} is more than the {_gib(cache.limit_bytes)} of --cache; it is "
            f"read there at each access"
        )
        yield store
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{store_key(store.dataset_name)}.zarr"
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if (folder / _WHOLE).is_file():
            tell(f"reading the copy of {store.path} in {folder}")
        elif not _made(store, needed, path, lock, cache, tell):
            tell(
                f"copies that are in use leave no room for {_gib(size)} of {store.path}; it is read there "
                f"at each access"
            )
            yield store
            return
        os.utime(folder / _LOCK)
        yield FeatureStore.open(path)


def _made(
    store: FeatureStore,
    needed: dict[str, list[StoredVideo]],
    path: Path,
    lock: TextIOWrapper,
    cache: Cache,
    tell: Log,
) -> bool:
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
    found = store.layout.map_concurrently(
        lambda video: store.stored(feature_set, video.name), store.dataset.videos
    )
    return [said for said in found if said is not None]


def _key(store: FeatureStore, needed: dict[str, list[StoredVideo]]) -> str:
    """Return a digest of the URL and all that the store says of what is needed: another content has another
    copy.
    """
    sets = {
        name: [store.identity(name).as_dict(), [vars(said) for said in videos]]
        for name, videos in needed.items()
    }
    what = [str(store.path), store.dataset.name, store.dataset.digest, store.content, sets]
    return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _make_room(cache: Cache, size: int, own: Path, tell: Log) -> bool:
    """Remove the least recently used copies that no process reads, until there is room; tell whether there
    is.
    """
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
