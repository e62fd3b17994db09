"""What is needed of a store at a URL, on its way to a local disk: its objects, as they are."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from vqafeat.errors import StoreError
from vqafeat.places import Place, cache_errors_told, network_errors_told, remove_tree
from vqafeat.remote_files import RemoteFile, listed_files
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
    with network_errors_told(store.path), ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        for _ in pool.map(lambda item: _fetch(item[1], path / item[0]), _objects(store, needed)):
            pass
        features, root = _metadata(store.path / "features"), _metadata(store.path)
    _leave_out(root, needed)
    with cache_errors_told(path):
        (path / "features" / _METADATA).write_text(json.dumps(features))
        (path / _METADATA).write_text(json.dumps(root))
    _check(FeatureStore.open(path), path, needed)


def _metadata(node: Place) -> dict[str, Any]:
    if not (found := read_node(node)):
        raise StoreError(f"'{node / _METADATA}' is missing or came damaged; run the same command again.")
    return found


def _check(copied: FeatureStore, path: Path, needed: Mapping[str, Sequence[StoredVideo]]) -> None:
    """Refuse what came damaged; it goes, so that the next try does not keep it: of a packed store all, since videos share objects."""
    with _going_where_damaged(partial(remove_tree, path / "labels")):
        _ = copied.dataset
    for name, videos in needed.items():
        with _going_where_damaged((path / "features" / store_key(name) / _METADATA).unlink):
            copied.identity(name)
        for said in videos:
            rows = partial(copied.forget, said.video) if copied.layout.name == PLAIN else partial(remove_tree, path)
            with _going_where_damaged(rows):
                copied.seconds(said.video)
                copied.read(name, said.video, checked=True)


@contextmanager
def _going_where_damaged(remove: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except StoreError:
        remove()
        raise


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
    if to.is_file():
        return  # a stopped process had it whole
    with cache_errors_told(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f"{to.name}.partial")
    file.fetch(partial)
    partial.rename(to)
