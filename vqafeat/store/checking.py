"""Reading a whole store, check sums included, to find what is wrong."""

from collections.abc import Iterator

import numpy as np

from vqafeat.errors import StoreError
from vqafeat.store.feature_store import FeatureStore


def verify_store(store: FeatureStore) -> Iterator[str]:
    """Read everything, check sums included, and yield one sentence for each thing that is wrong."""
    return (words for _, words in problems(store))


def problems(store: FeatureStore) -> Iterator[tuple[str, str]]:
    """Read everything, check sums included; yield the video, where it is one's, and a sentence for each thing that is wrong.

    A video whose name cannot be read any more is named by its node.
    """
    yield from store.layout.damaged_nodes()
    for feature_set in store.feature_sets():
        for video, damages in store.layout.damaged_rows(feature_set):
            for words in damages or _wrong_rows(store, feature_set, video):
                yield video, words


def _wrong_rows(store: FeatureStore, feature_set: str, video: str) -> Iterator[str]:
    features = store.read(feature_set, video)
    try:
        seconds = store.seconds(video)
    except StoreError:
        return  # the frame times are damaged, which is told of them
    if (np.diff(features.frame) <= 0).any() or features.frame[0] < 0:
        yield f"{feature_set}/{video}: frame indices do not increase"
    if seconds is not None and features.frame[-1] >= len(seconds):
        yield f"{feature_set}/{video}: row of frame {features.frame[-1]}, but only {len(seconds)} frames were decoded"
    if not store.is_complete(feature_set, video):
        yield f"{feature_set}/{video}: made from another file than the stored frames; run `vqafeat extract` again"
