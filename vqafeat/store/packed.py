"""The packed layout: all videos of a feature set in one sharded array, which is read and never written to.

    <dataset>.zarr/                attrs: schema version, data set, complete; consolidated metadata, so that
    it opens with one request
      labels/                      as in the plain layout
      frames/                      videos: the table; seconds (all decoded frames,) float64
      features/<feature set>/      attrs: the identity; videos: the table
        <dtype>/                   values (all rows, D), frame (all rows,) int32

A table has a column each of the videos' names, first rows (`start`) and numbers of rows, and more; it is JSON
in a (byte,) uint8 array: `json.loads(bytes(group["features/resnet50/videos"][...]))`. Rows of a video follow
each other. Shards have a bounded size; the chunks in them are uncompressed and have a CRC-32C each.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import StoreError
from vqafeat.remote import Found, Item, StorePath
from vqafeat.store.layout import LAYOUTS, PACKED, StoredVideo
from vqafeat.store.types import VideoFeatures
from vqafeat.store.zarr_io import ShardedRows, store_key

TABLE = "videos"


@dataclass(frozen=True)
class PackedVideo:
    """Where a video's rows lie: from row `start` on, of the arrays of its type."""

    start: int
    stored: StoredVideo

    @property
    def stop(self) -> int:
        """The row after its last."""
        return self.start + self.stored.rows


@dataclass(frozen=True)
class TimedVideo:
    """Where a video's frame times lie, and where its frames came from."""

    start: int
    stop: int
    source: dict[str, Any]


@LAYOUTS.register(PACKED)
class PackedLayout:
    """The arrays of a packed store; its tables are read once, since nothing changes in it.

    Raises:
        StoreError: the packing was stopped before its end.
    """

    name = PACKED

    def __init__(self, path: StorePath, root: zarr.Group) -> None:
        if not root.attrs.get("complete"):
            raise StoreError(f"'{path}' was not packed to its end; delete it, and run `vqafeat pack` again.")
        self.path, self._root = path, root
        self._videos = lru_cache(None)(self._read_videos)
        self._rows = lru_cache(None)(self._sharded)

    def map_concurrently(self, look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """Return what `look` finds of each item, in order; the tables are at hand."""
        return list(map(look, items))

    def labels(self) -> dict[str, Any]:
        """Return the attributes of the labels."""
        return dict(self._root["labels"].attrs)

    def permutations(self) -> npt.NDArray[np.int32] | None:
        """Return (video, run) the published splits, where there are any."""
        return (
            np.asarray(self._array("labels/permutations")[...])
            if "labels/permutations" in self._root
            else None
        )

    @cached_property
    def _sets(self) -> dict[str, dict[str, Any]]:
        groups = cast(zarr.Group, self._root["features"]).groups()
        return {str(group.attrs["name"]): dict(group.attrs) for _, group in groups}

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        return sorted(self._sets)

    def identity(self, feature_set: str) -> dict[str, Any] | None:
        """Return the identity of a feature set as JSON values."""
        return (
            cast(dict[str, Any], self._sets[feature_set]["identity"]) if feature_set in self._sets else None
        )

    @cached_property
    def _times(self) -> dict[str, TimedVideo]:
        return {
            row["video"]: TimedVideo(row["start"], row["start"] + row["rows"], row["source"])
            for row in self._table(f"frames/{TABLE}")
        }

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""
        return sorted(self._times)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        return self._times[video].source if video in self._times else None

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return (frame,) presentation times of a video that has them."""
        own = self._times[video]
        return np.array(self._rows("frames/seconds").read(own.start, own.stop, checked=True))

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""
        return sorted(self._videos(feature_set))

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return what is said of a video's rows."""
        found = self._videos(feature_set).get(video) if feature_set in self._sets else None
        return None if found is None else found.stored

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video: a map of a shard where they lie in one of its chunks, else a copy."""
        own = self._videos(feature_set)[video.video]
        key = f"features/{store_key(feature_set)}/{video.dtype}"
        values = self._rows(f"{key}/values").read(own.start, own.stop, checked)
        return VideoFeatures(values, self._rows(f"{key}/frame").read(own.start, own.stop, checked))

    def damaged_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield each video whose frame times are damaged, and a sentence."""
        for video in self._times:
            try:
                if not np.isfinite(self.seconds(video)).all():
                    yield video, f"frames/{video}: holds NaN or infinity"
            except StoreError as error:
                yield video, f"frames/{video}: cannot be read ({error})"

    def damaged_rows(self, feature_set: str) -> Iterator[tuple[str, list[str]]]:
        """Read all rows of a feature set, check sums included; yield each video with what is wrong with
        them.
        """
        for name, own in self._videos(feature_set).items():
            try:
                finite = self.read(feature_set, own.stored, checked=True).finite
            except StoreError as error:
                yield name, [f"{feature_set}/{name}: cannot be read ({error})"]
            else:
                yield name, [] if finite else [f"{feature_set}/{name}: holds NaN or infinity"]

    def _read_videos(self, feature_set: str) -> dict[str, PackedVideo]:
        channels = self._sets[feature_set]["identity"]["channels"]
        return {
            row["video"]: PackedVideo(
                row["start"],
                StoredVideo(row["video"], row["rows"], channels, row["dtype"], row["source_sha256"]),
            )
            for row in self._table(f"features/{store_key(feature_set)}/{TABLE}")
        }

    def _table(self, key: str) -> list[dict[str, Any]]:
        try:
            columns = json.loads(bytes(np.asarray(self._array(key)[...])))
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise StoreError(
                f"table '{key}' of '{self.path}' cannot be read ({error}); bring the store from another "
                f"copy, or extract it again."
            ) from error
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _sharded(self, key: str) -> ShardedRows:
        return ShardedRows(self.path / key, self._array(key))

    def _array(self, key: str) -> "zarr.Array[Any]":
        return cast("zarr.Array[Any]", self._root[key])
