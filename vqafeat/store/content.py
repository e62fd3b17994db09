"""What is whole in a store, and a digest of that, however its arrays lie."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from vqafeat.errors import StoreError
from vqafeat.store.layout import StoredVideo
from vqafeat.store.store import FeatureStore, label_attributes


@dataclass(frozen=True)
class StoreContents:
    """What is whole in a store.

    Attributes:
        timed: names of the videos with frame times, sorted.
        rows: feature set → its videos, sorted by name; the sets are sorted too.
        left_out: one sentence for each video of the data set whose rows are not whole, and for each that is
            damaged.
    """

    timed: tuple[str, ...]
    rows: Mapping[str, tuple[StoredVideo, ...]]
    left_out: tuple[str, ...]


def contents(store: FeatureStore, readable: bool = False) -> StoreContents:
    """Return what is whole in a store by its metadata; `readable` also reads it all and leaves out what has a
    wrong check sum.
    """
    left_out = list[str]()
    timed = store.layout.timed_videos()
    if readable:
        damaged = {video: words for video in timed if (words := _damage_of_times(store, video))}
        left_out += [f"frames/{video}: {words}" for video, words in damaged.items()]
        timed = [video for video in timed if video not in damaged]
    rows: dict[str, tuple[StoredVideo, ...]] = {}
    for feature_set in store.feature_sets():
        names = sorted(
            {*store.layout.stored_videos(feature_set), *(video.name for video in store.dataset.videos)}
        )
        whole = list[StoredVideo]()
        for name, said in zip(
            names,
            store.layout.map_concurrently(lambda name: store.stored(feature_set, name), names),
            strict=True,
        ):
            if said is None or (said.source_sha256 and name not in timed):
                left_out.append(f"{feature_set}/{name}: not complete")
            elif readable and (words := _damage_of_rows(store, feature_set, name)):
                left_out.append(f"{feature_set}/{name}: {words}")
            else:
                whole.append(said)
        rows[feature_set] = tuple(whole)
    return StoreContents(tuple(timed), rows, tuple(left_out))


def content_digest(store: FeatureStore, whole: StoreContents | None = None) -> str:
    """Return the SHA-256 of what is whole in a store: labels, frame times, identities and rows; packing does
    not change it.

    Args:
        store: of any layout.
        whole: without it, all that is whole by the store's metadata.

    Raises:
        StoreError: something of it cannot be read, or has a wrong check sum.
    """
    found, total = whole or contents(store), sha256()
    for part in _parts(store, found):
        total.update(part)
    return total.hexdigest()


def _parts(store: FeatureStore, whole: StoreContents) -> Iterator[bytes | memoryview]:
    dataset = store.dataset
    yield _words(dataset.name, dataset.digest, label_attributes(dataset))
    if dataset.stored_permutations is not None:
        yield np.ascontiguousarray(dataset.stored_permutations, "<i4").tobytes()
    for video in whole.timed:
        yield _words(video, store.source(video))
        yield np.asarray(store.seconds(video), "<f8").tobytes()
    for feature_set, videos in whole.rows.items():
        yield _words(feature_set, store.identity(feature_set).as_dict())
        for said in videos:
            yield _words(said.video, said.rows, said.channels, said.dtype, said.source_sha256)
            features = store.read(feature_set, said.video, checked=True)
            yield np.ascontiguousarray(features.values, features.values.dtype.newbyteorder("<")).data.cast(
                "B"
            )
            yield np.ascontiguousarray(features.frame, "<i4").tobytes()


def _words(*values: Any) -> bytes:
    return json.dumps(values, sort_keys=True).encode() + b"\n"


def _damage_of_times(store: FeatureStore, video: str) -> str:
    try:
        store.seconds(video)
    except StoreError as error:
        return str(error)
    return ""


def _damage_of_rows(store: FeatureStore, feature_set: str, video: str) -> str:
    try:
        store.read(feature_set, video, checked=True)
    except StoreError as error:
        return str(error)
    return ""


def verify_store(store: FeatureStore) -> Iterator[str]:
    """Read everything, check sums included, and yield one sentence for each thing that is wrong."""
    return (words for _, words in problems(store))


def problems(store: FeatureStore) -> Iterator[tuple[str, str]]:
    """Read everything, check sums included; yield the video, where it is one's, and a sentence for each thing
    that is wrong.

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
