"""What is needed of a store at a URL, on its way to a local disk: its objects, as they are."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqafeat.errors import StoreError
from vqafeat.remote import ChangedError, Place, RemoteFile, cache_errors_told, listed_files, network_errors_told, remove_tree
from vqafeat.store.arrays import read_node
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key
from vqafeat.store.layouts import PLAIN, StoredVideo

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
    with network_errors_told(store.path), ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        for _ in pool.map(lambda item: _fetch(item[1], path / item[0]), objects):
            pass
        features, root = _metadata(store.path / "features"), _metadata(store.path)
    _leave_out(root, needed)
    with cache_errors_told(path):
        (path / "features" / _METADATA).write_text(json.dumps(features))
        (path / _METADATA).write_text(json.dumps(root))
    _check(store, path, needed)


def _metadata(node: Place) -> dict[str, Any]:
    if not (found := read_node(node)):
        raise StoreError(f"'{node / _METADATA}' is missing or came damaged; run the same command again.")
    return found


def _check(store: FeatureStore, path: Path, needed: Mapping[str, Sequence[StoredVideo]]) -> None:
    """Refuse what came damaged, or was changed meanwhile; it goes, so that the next try does not keep it.

    Of a packed store all goes, since videos share objects.
    """
    copied = FeatureStore.open(path)
    with _going_where_damaged(store, path, "labels"):
        _same(copied.dataset.digest, store.dataset.digest, "labels")
    for name, videos in needed.items():
        group, identity = f"features/{store_key(name)}", store.identity(name)
        with _going_where_damaged(store, path, f"{group}/{_METADATA}"):
            _same(copied.identity(name), identity, f"identity of '{name}'")
        for said in videos:
            key = store_key(said.video)
            with _going_where_damaged(store, path, *((f"{group}/{key}", f"frames/{key}") if store.layout.name == PLAIN else ("",))):
                _same(copied.stored(name, said.video), said, f"rows of '{said.video}'")
                copied.seconds(said.video)
                copied.read(name, said.video, checked=True)


def _same(copied: object, there: object, what: str) -> None:
    if copied != there:
        raise StoreError(f"the {what} are not those that were there")


@contextmanager
def _going_where_damaged(store: FeatureStore, path: Path, *parts: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, ValueError, KeyError, OSError, RuntimeError) as error:
        for part in (path / _METADATA, *(path / part for part in parts)):
            if part.is_dir():
                remove_tree(part)
            else:
                part.unlink(missing_ok=True)
        raise StoreError(
            f"'{store.path}' came damaged or was changed while it was copied ({error}); run the same command again, and "
            f"`vqafeat verify {store.path}` if that stays."
        ) from error


def _objects(store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]]) -> Iterator[tuple[str, RemoteFile]]:
    """Yield the objects of the labels, the frame times and the feature sets; of a plain store, where videos are nodes, the needed ones'."""
    assert not isinstance(store.path, Path)
    groups = {f"features/{store_key(name)}": {store_key(said.video) for said in videos} for name, videos in needed.items()}
    for group, videos in {**groups, "frames": set().union(*groups.values())}.items():
        for name, file in listed_files(store.path / group).items():
            node = name.split("/")[0]
            if store.layout.name != PLAIN or node in videos or node == _METADATA:
                yield f"{group}/{name}", file
    for name, file in listed_files(store.path / "labels").items():
        yield f"labels/{name}", file


def _leave_out(root: dict[str, Any], needed: Mapping[str, Sequence[StoredVideo]]) -> None:
    """Take feature sets that were not copied out of the metadata that a packed store's root has of all its nodes."""
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
    with cache_errors_told(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    unfinished = to.with_name(f"{to.name}.partial")
    try:
        file.fetch(unfinished)
    except (FileNotFoundError, ChangedError) as error:
        raise StoreError(f"'{file}' was changed while its store was copied ({error}); run the same command again.") from error
    unfinished.rename(to)
