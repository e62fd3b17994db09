"""What is needed of a store at a URL, on its way to a local disk: the objects of a packed one as they are, videos of a plain one."""

import json
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from vqafeat.errors import StoreError
from vqafeat.features import FrameTable, VideoFeatures
from vqafeat.places import cache_errors_told, network_errors_told
from vqafeat.remote_files import RemoteFile, listed_files
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key
from vqafeat.store.layouts import PACKED, StoredVideo

_AT_ONCE = 16  # objects or videos on their way
_ROOT = "zarr.json"


def copy_store(store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]], path: Path) -> None:
    """Copy some feature sets of a store at a URL; what an earlier, stopped process copied is kept.

    Args:
        needed: feature set → the videos that are stored whole.
        path: of the copy.

    Raises:
        StoreError: something does not have its check sum, or the object store cannot be reached.
    """
    if store.layout.name == PACKED:
        _copy_objects(store, needed, path)
    else:
        _copy_videos(store, needed, path)


def _copy_objects(store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]], path: Path) -> None:
    """Copy the objects that hold the feature sets; the root comes last, so that what is copied in part is no store."""
    assert not isinstance(store.path, Path)
    keys = {store_key(name) for name in needed}
    objects = {name: file for name, file in listed_files(store.path).items() if name != _ROOT and _is_needed(name, keys)}
    with network_errors_told(store.path), ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        for _ in pool.map(lambda item: _fetch(item[1], path / item[0]), objects.items()):
            pass
        root = json.loads((store.path / _ROOT).read_bytes())
    known = root["consolidated_metadata"]["metadata"]
    left_out = {name for name in known if not _is_needed(name, keys)}
    if left_out:
        root["attributes"].pop("content", None)  # the digest is of all feature sets
    root["consolidated_metadata"]["metadata"] = {name: value for name, value in known.items() if name not in left_out}
    with cache_errors_told(path):
        (path / _ROOT).write_text(json.dumps(root))
    try:
        copied = FeatureStore.open(path)
        for name, videos in needed.items():
            for said in videos:
                copied.read(name, said.video, checked=True)
    except StoreError:
        shutil.rmtree(path)  # else the next try would keep what came damaged
        raise


def _is_needed(name: str, keys: set[str]) -> bool:
    """Tell whether a node or an object is that of one of the feature sets, or of all."""
    parts = name.split("/")
    return parts[0] != "features" or len(parts) == 1 or parts[1] in keys or parts[1] == _ROOT


def _fetch(file: RemoteFile, to: Path) -> None:
    if to.is_file():
        return  # a stopped process had it whole
    with cache_errors_told(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f"{to.name}.partial")
    file.fetch(partial)
    partial.rename(to)


def _copy_videos(store: FeatureStore, needed: Mapping[str, Sequence[StoredVideo]], path: Path) -> None:
    """Copy videos, several on their way at a time; what an earlier, stopped process copied is kept."""
    written = FeatureStore.create(path, store.dataset)
    with ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        for name, videos in needed.items():
            written.add_feature_set(name, store.identity(name))
            waiting = deque[Future[tuple[StoredVideo, FrameTable | None, VideoFeatures]]]()
            for said in videos:
                if not written.is_complete(name, said.video):
                    waiting.append(pool.submit(_fetched, store, name, said))
                if len(waiting) > _AT_ONCE:
                    _write(written, name, *waiting.popleft().result())
            while waiting:
                _write(written, name, *waiting.popleft().result())


def _fetched(store: FeatureStore, feature_set: str, said: StoredVideo) -> tuple[StoredVideo, FrameTable | None, VideoFeatures]:
    seconds, source = store.seconds(said.video), store.source(said.video)
    times = None if seconds is None or source is None else FrameTable(seconds, source)
    return said, times, store.read(feature_set, said.video)


def _write(written: FeatureStore, feature_set: str, said: StoredVideo, times: FrameTable | None, features: VideoFeatures) -> None:
    if times is not None and written.source(said.video) is None:
        written.write_frames(said.video, times)
    written.write_features(feature_set, said.video, features, said.source_sha256)
