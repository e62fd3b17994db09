"""What is complete in a store, the digest of it, and the check of everything in it, for both layouts."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from vqafeat.errors import StoreError
from vqafeat.store.store import FeatureStore, label_attributes
from vqafeat.store.types import StoredVideo


@dataclass(frozen=True)
class StoreContents:
    """What is complete in a store."""

    timed: tuple[str, ...]  # names of the videos with frame times, sorted
    rows: Mapping[str, tuple[StoredVideo, ...]]  # feature set → its videos, both sorted by name
    left_out: tuple[str, ...]  # one sentence for each video that is incomplete or damaged


def contents(store: FeatureStore, readable: bool = False) -> StoreContents:
    """Return what is complete by its metadata; `readable` also leaves out what cannot be read undamaged."""
    left_out, timed = list[str](), store.layout.timed_videos()
    if readable:
        damaged = {video: error for video in timed if (error := _error_of(store.seconds, video))}
        left_out += [f"frames/{video}: {error}" for video, error in damaged.items()]
        timed = [video for video in timed if video not in damaged]
    rows: dict[str, tuple[StoredVideo, ...]] = {}
    labelled = [video.name for video in store.dataset.videos]
    for feature_set in store.feature_sets():
        names = sorted({*store.layout.stored_videos(feature_set), *labelled})
        complete = list[StoredVideo]()
        for name, info in zip(names, store.stored_each(feature_set, names), strict=True):
            if info is None or (info.source_sha256 and name not in timed):
                left_out.append(f"{feature_set}/{name}: not complete")
            elif readable and (error := _error_of(store.read, feature_set, name, True)):
                left_out.append(f"{feature_set}/{name}: {error}")
            else:
                complete.append(info)
        rows[feature_set] = tuple(complete)
    return StoreContents(tuple(timed), rows, tuple(left_out))


def content_digest(store: FeatureStore, complete: StoreContents | None = None) -> str:
    """Return the SHA-256 of what is complete, labels and identities included; packing does not change it."""
    total = sha256()
    for part in _parts(store, complete or contents(store)):
        total.update(part)
    return total.hexdigest()


def _parts(store: FeatureStore, complete: StoreContents) -> Iterator[bytes | memoryview]:
    dataset = store.dataset
    yield _json_line(dataset.name, dataset.digest, label_attributes(dataset))
    if dataset.stored_permutations is not None:
        yield np.ascontiguousarray(dataset.stored_permutations, "<i4").tobytes()
    for name in complete.timed:
        yield _json_line(name, store.source(name))
        yield np.asarray(store.seconds(name), "<f8").tobytes()
    for feature_set, videos in complete.rows.items():
        yield _json_line(feature_set, store.identity(feature_set).as_dict())
        for video in videos:
            yield _json_line(video.video, video.rows, video.channels, video.dtype, video.source_sha256)
            features = store.read(feature_set, video.video, checked=True)
            little_endian = features.values.dtype.newbyteorder("<")
            yield np.ascontiguousarray(features.values, little_endian).data.cast("B")
            yield np.ascontiguousarray(features.frame, "<i4").tobytes()


def _json_line(*values: Any) -> bytes:
    return json.dumps(values, sort_keys=True).encode() + b"\n"


def _error_of(read: Callable[..., object], *arguments: object) -> str:
    try:
        read(*arguments)
    except StoreError as error:
        return str(error)
    return ""


def verify_store(store: FeatureStore) -> Iterator[str]:
    """Read everything, checksums included, and yield a sentence for each problem."""
    return (sentence for _, sentence in problems(store))


def problems(store: FeatureStore) -> Iterator[tuple[str, str]]:
    """Read everything, checksums included; yield the video and a sentence for each problem.

    The video is "" for what belongs to no video, and its node's name where its own name cannot be read.
    """
    yield from store.layout.damaged_nodes()
    for feature_set in store.feature_sets():
        for video, damages in store.layout.damaged_rows(feature_set):
            for sentence in damages or _wrong_rows(store, feature_set, video):
                yield video, sentence


def _wrong_rows(store: FeatureStore, feature_set: str, video: str) -> Iterator[str]:
    where = f"{feature_set}/{video}"
    try:
        frame = store.read(feature_set, video).frame
    except StoreError as error:
        yield f"{where}: cannot be read ({error})"
        return
    try:
        seconds = store.seconds(video)
    except StoreError:
        return  # damaged_nodes reports the frame times
    if (np.diff(frame) < 0).any() or frame[0] < 0:  # a temporal network repeats frames of short videos
        yield f"{where}: frame indices decrease"
    if seconds is not None and frame[-1] >= len(seconds):
        yield f"{where}: row of frame {frame[-1]}, but only {len(seconds)} frames were decoded"
    if not store.is_complete(feature_set, video):
        yield f"{where}: made from another file than the stored frames; run `vqafeat extract` again"
