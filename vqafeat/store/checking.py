"""Reading a whole store, check sums included, to find what is wrong."""

from collections.abc import Iterator

import numpy as np

from vqafeat.store.arrays import read_attributes
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key


def verify_store(store: FeatureStore) -> Iterator[str]:
    """Read everything through Zarr's codecs and yield one sentence for each thing that is wrong."""
    for path in store.children("frames"):
        yield from _verify_array(store, f"frames/{path.name}")
    for path in store.children("features"):
        if not read_attributes(path):
            yield f"features/{path.name}: its zarr.json is damaged; delete the folder and run `vqafeat extract` again"
    for feature_set in store.feature_sets():
        for path in store.children(f"features/{store_key(feature_set)}"):
            name = read_attributes(path).get("video", path.name)
            if not read_attributes(path).get("complete"):
                yield f"{feature_set}/{name}: not complete, or its zarr.json is damaged; run `vqafeat extract` again"
                continue
            key = path.relative_to(store.path).as_posix()
            problems = [*_verify_array(store, f"{key}/values"), *_verify_array(store, f"{key}/frame")]
            yield from problems or _verify_rows(store, feature_set, name)


def _verify_array(store: FeatureStore, key: str) -> Iterator[str]:
    try:
        array = store.array(key)
        if array.nchunks_initialized != array.nchunks:
            yield f"{key}: a chunk is missing"
        elif not np.isfinite(np.asarray(array[...])).all():
            yield f"{key}: holds NaN or infinity"
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        yield f"{key}: cannot be read ({error})"


def _verify_rows(store: FeatureStore, feature_set: str, video: str) -> Iterator[str]:
    features, seconds = store.read(feature_set, video), store.seconds(video)
    if (np.diff(features.frame) <= 0).any() or features.frame[0] < 0:
        yield f"{feature_set}/{video}: frame indices do not increase"
    if seconds is not None and features.frame[-1] >= len(seconds):
        yield f"{feature_set}/{video}: row of frame {features.frame[-1]}, but only {len(seconds)} frames were decoded"
    if not store.is_complete(feature_set, video):
        yield f"{feature_set}/{video}: made from another file than the stored frames; run `vqafeat extract` again"
