"""Local copies of stores at a URL: each is made once, and the least recently used ones make room for it."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vqafeat import remote
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.store.layout import PlainLayout
from vqafeat.store.lock import try_lock
from vqafeat.store.store import FeatureStore
from vqafeat.store.types import StoredVideo
from vqafeat.store.zarr_io import read_node, store_key

_CONCURRENT_DOWNLOADS = 16
_METADATA = "zarr.json"
_LOCK, _SIZE, _COMPLETE = "in-use.lock", "bytes", "complete"

Log = Callable[[str], None]
Required = Mapping[str, Sequence[StoredVideo]]  # feature set → its complete videos


@dataclass(frozen=True)
class Cache:
    """A folder of copies that may take `most_bytes`; None for half of the space that is free without them."""

    folder: Path
    most_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.most_bytes is not None and self.most_bytes < 0:
            raise ArgumentError(f"--cache is {self.most_bytes} bytes; it has to be 0 or more, such as 20G.")

    @property
    def limit_bytes(self) -> int:
        """The most bytes that all copies may take."""
        if self.most_bytes is not None:
            return self.most_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        return (shutil.disk_usage(self.folder).free + sum(map(_size, self.copies()))) // 2

    def copies(self) -> list[Path]:
        """Return the folders of the copies, the least recently used first."""
        locks = sorted(self.folder.glob(f"*/{_LOCK}"), key=lambda lock: lock.stat().st_mtime)
        return [lock.parent for lock in locks]

    def evict(self, size: int, folder: Path, log: Log) -> bool:
        """Remove the least recently used copies that are not in use; return whether `size` bytes fit then."""
        limit, sizes = self.limit_bytes, {copy: _size(copy) for copy in self.copies() if copy != folder}
        for copy in list(sizes):
            if sum(sizes.values()) + size <= limit:
                break
            with (copy / _LOCK).open("a") as lock:
                if try_lock(lock):
                    log(f"removing the copy {copy}, {_gib(sizes.pop(copy))}, to make room")
                    shutil.rmtree(copy)
        return sum(sizes.values()) + size <= limit


def _size(copy: Path) -> int:
    return int((copy / _SIZE).read_text()) if (copy / _SIZE).is_file() else 0


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


@contextmanager
def cached_copy(
    store: FeatureStore, feature_sets: Sequence[str], cache: Cache, log: Log
) -> Iterator[FeatureStore]:
    """Yield a copy on the local disk of the complete videos of some feature sets; it is kept for later.

    A local store is yielded itself, and so is one that does not fit in the cache: each access reads it at its
    URL. `log` is called with a sentence about what is copied, removed, or not copied.
    """
    if isinstance(store.path, Path):
        yield store
        return
    required = {name: store.complete(name) for name in dict.fromkeys(feature_sets)}
    size, limit = sum(video.bytes for videos in required.values() for video in videos), cache.limit_bytes
    if size > limit:
        log(f"{_gib(size)} of {store.path} exceed the {_gib(limit)} of --cache; each access reads it there")
        yield store
        return
    folder = cache.folder / _key(store, required)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{store_key(store.dataset_name)}.zarr"
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not (folder / _COMPLETE).is_file():
            fcntl.flock(lock, fcntl.LOCK_EX)  # until then, another process may make the copy
        if (folder / _COMPLETE).is_file():
            log(f"reading the copy of {store.path} in {folder}")
        elif cache.evict(size, folder, log):
            (folder / _SIZE).write_text(str(size))
            log(f"copying {_gib(size)} of {store.path} to {folder}, once")
            _copy(store, required, path)
            (folder / _COMPLETE).touch()
        else:
            log(f"copies in use leave no room for {_gib(size)} of {store.path}; each access reads it there")
            yield store
            return
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(folder / _LOCK)
        yield FeatureStore.open(path)


def _key(store: FeatureStore, required: Required) -> str:
    """Return a digest of the URL and of all metadata of what is required: a changed store gets a new copy."""
    sets = {name: [store.identity(name).as_dict(), list(map(vars, own))] for name, own in required.items()}
    values = [str(store.path), store.dataset.name, store.dataset.digest, store.content, sets]
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def _copy(store: FeatureStore, required: Required, path: Path) -> None:
    """Copy what is required and check it; what an earlier, stopped process copied is kept.

    The root's metadata are written last, so that a partial copy cannot be opened.
    """
    objects = _objects(store, required)
    with (
        remote.translate_network_errors(store.path),
        ThreadPoolExecutor(_CONCURRENT_DOWNLOADS, "copying") as pool,
    ):
        list(pool.map(_fetch, objects.values(), [path / name for name in objects]))
        features, root = _metadata(store.path / "features"), _metadata(store.path)
    # the consolidated metadata of a packed store also name the feature sets that were not copied
    nodes = root.get("consolidated_metadata", {}).get("metadata", {})
    keys = {store_key(name) for name in required}
    left_out = [name for name in nodes if name.startswith("features/") and name.split("/")[1] not in keys]
    for name in left_out:
        del nodes[name]
    if left_out:
        root["attributes"].pop("content", None)  # the digest is of all feature sets
    with remote.translate_cache_errors(path):
        (path / "features" / _METADATA).write_text(json.dumps(features))
        (path / _METADATA).write_text(json.dumps(root))
    _check(store, path, required)


def _objects(store: FeatureStore, required: Required) -> dict[str, remote.RemoteFile]:
    """Return the objects to copy: of a plain store, whose videos have their own, those of required videos."""
    assert not isinstance(store.path, Path)
    whole = not isinstance(store.layout, PlainLayout)
    groups = {
        f"features/{store_key(name)}": {store_key(video.video) for video in videos}
        for name, videos in required.items()
    }
    objects = {f"labels/{name}": file for name, file in remote.listed_files(store.path / "labels").items()}
    for group, videos in {**groups, "frames": set().union(*groups.values())}.items():
        kept = {*videos, _METADATA}
        for name, file in remote.listed_files(store.path / group).items():
            if whole or name.split("/")[0] in kept:
                objects[f"{group}/{name}"] = file
    return objects


def _fetch(file: remote.RemoteFile, target: Path) -> None:
    if file.is_copied_to(target):
        return  # by a stopped process
    with remote.translate_cache_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        file.fetch(partial)
    except (FileNotFoundError, remote.ChangedError) as error:
        raise StoreError(f"'{file}' changed while it was copied ({error}); run the command again.") from error
    partial.rename(target)


def _metadata(node: remote.StorePath) -> dict[str, Any]:
    if not (metadata := read_node(node)):
        raise StoreError(f"'{node / _METADATA}' is missing or came damaged; run the same command again.")
    return metadata


def _check(store: FeatureStore, path: Path, required: Required) -> None:
    """Refuse and delete what is damaged or was changed meanwhile, so that the next try copies it again.

    A copy of a packed store is deleted as a whole, since its videos share objects.
    """
    copy = FeatureStore.open(path)
    with _discard_on_error(store, path, "labels"):
        _same(copy.dataset.digest, store.dataset.digest, "labels")
    for name, videos in required.items():
        group, identity = f"features/{store_key(name)}", store.identity(name)
        with _discard_on_error(store, path, f"{group}/{_METADATA}"):
            _same(copy.identity(name), identity, f"identity of '{name}'")
        for video in videos:
            key = store_key(video.video)
            parts = (f"{group}/{key}", f"frames/{key}") if isinstance(store.layout, PlainLayout) else ("",)
            with _discard_on_error(store, path, *parts):
                _same(copy.stored(name, video.video), video, f"rows of '{video.video}'")
                copy.seconds(video.video)
                copy.read(name, video.video, checked=True)


def _same(copied: object, original: object, what: str) -> None:
    if copied != original:
        raise StoreError(f"the {what} differ from those at the URL")


@contextmanager
def _discard_on_error(store: FeatureStore, path: Path, *parts: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, ValueError, KeyError, OSError, RuntimeError) as error:
        for part in (path / _METADATA, *(path / part for part in parts)):
            if part.is_dir():
                remote.remove_tree(part)
            else:
                part.unlink(missing_ok=True)
        problem = f"'{store.path}' came damaged or was changed while it was copied ({error})"
        raise StoreError(f"{problem}; run the same command again, or `vqafeat verify` it.") from error
