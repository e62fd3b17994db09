"""Reading a whole store, check sums included, to find what is wrong."""

from collections.abc import Iterator

import numpy as np

from vqafeat.store.feature_store import FeatureStore


def verify_store(store: FeatureStore) -> Iterator[str]:
    """Read everything, check sums included, and yield one sentence for each thing that is wrong."""
    yield from store.layout.damaged_nodes()
    for feature_set in store.feature_sets():
        for video, problems in store.layout.damaged_rows(feature_set):
            yield from problems or _wrong_rows(store, feature_set, video)


def _wrong_rows(store: FeatureStore, feature_set: str, video: str) -> Iterator[str]:
    features, seconds = store.read(feature_set, video), store.seconds(video)
    if (np.diff(features.frame) <= 0).any() or features.frame[0] < 0:
        yield f"{feature_set}/{video}: frame indices do not increase"
    if seconds is not None and features.frame[-1] >= len(seconds):
        yield f"{feature_set}/{video}: row of frame {features.frame[-1]}, but only {len(seconds)} frames were decoded"
    if not store.is_complete(feature_set, video):
        yield f"{feature_set}/{video}: made from another file than the stored frames; run `vqafeat extract` again"
