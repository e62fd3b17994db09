"""The packed layout: all videos of a feature set in one sharded array, which is only read.

    <dataset>.zarr/            attrs: schema version, data set, complete; consolidated metadata (one request)
      labels/                  as in the plain layout
      frames/                  seconds (all decoded frames,) float64
        videos/                video, start, rows, source: an array (video,) each; source is JSON
      features/<feature set>/  attrs: the identity
        videos/                video, start, rows, dtype, source_sha256: an array (video,) each
        <dtype>/               values (all rows, D), frame (all rows,) int32

A video's rows are `start` to `start + rows` of the arrays of its `dtype`. Shards have a bounded size; the
chunks in them are uncompressed and have a CRC-32C each. In schema version 2, `videos` was one uint8 array
with the columns as JSON.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import StoreError
from vqafeat.remote import StorePath, map_concurrently
from vqafeat.store.types import StoredVideo, VideoFeatures
from vqafeat.store.zarr_io import ShardedRows, read_array, store_key

TABLE = "videos"
VIDEO_COLUMNS = {"video": str, "start": np.int64, "rows": np.int64, "dtype": str, "source_sha256": str}
FRAME_COLUMNS = {"video": str, "start": np.int64, "rows": np.int64, "source": str}


class PackedLayout:
    """Reads a packed store; each table is read once, since a packed store does not change."""

    name, schema_version = "packed", 3

    def __init__(self, path: StorePath, root: zarr.Group) -> None:
        if not root.attrs.get("complete"):
            raise StoreError(f"'{path}' was not packed to its end; delete it, and run `vqafeat pack` again.")
        self.path, self._root = path, root
        self._videos = lru_cache(None)(self._read_videos)
        self._rows = lru_cache(None)(self._sharded)

    @cached_property
    def _sets(self) -> dict[str, dict[str, Any]]:
        groups = cast(zarr.Group, self._root["features"]).groups()
        return {str(group.attrs["name"]): dict(group.attrs) for _, group in groups}

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        return sorted(self._sets)

    def identity(self, feature_set: str) -> dict[str, Any] | None:
        """Return the identity of a feature set as JSON values."""
        return self._sets.get(feature_set, {}).get("identity")

    @cached_property
    def _times(self) -> dict[str, dict[str, Any]]:
        return {row["video"]: row for row in self._table("frames", FRAME_COLUMNS)}

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""
        return sorted(self._times)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        source = self._times.get(video, {}).get("source")
        return json.loads(source) if isinstance(source, str) else source

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return the presentation times (frame,) of a video that has them."""
        row = self._times[video]
        start, stop = row["start"], row["start"] + row["rows"]
        return np.array(self._rows("frames/seconds").read(start, stop, checked=True))

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""
        return sorted(self._videos(feature_set))

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return the metadata of a video's rows, if they are complete."""
        videos = self._videos(feature_set) if feature_set in self._sets else {}
        return videos[video][1] if video in videos else None

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video: a map of a shard if one chunk holds them all, else a copy."""
        start = self._videos(feature_set)[video.video][0]
        arrays = (
            self._rows(f"features/{store_key(feature_set)}/{video.dtype}/{name}")
            for name in ("values", "frame")
        )
        values, frame = (array.read(start, start + video.rows, checked) for array in arrays)
        return VideoFeatures(values, frame)

    def damaged_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield each video whose frame times are damaged, and a sentence."""
        for video in self._times:
            try:
                if not np.isfinite(self.seconds(video)).all():
                    yield video, f"frames/{video}: holds NaN or infinity"
            except StoreError as error:
                yield video, f"frames/{video}: cannot be read ({error})"

    def damaged_rows(self, feature_set: str) -> Iterator[tuple[str, list[str]]]:
        """Read all rows, checksums included; yield each video with a sentence for each problem."""
        for name, (_, stored) in self._videos(feature_set).items():
            try:
                finite = self.read(feature_set, stored, checked=True).finite
            except StoreError as error:
                yield name, [f"{feature_set}/{name}: cannot be read ({error})"]
            else:
                yield name, [] if finite else [f"{feature_set}/{name}: holds NaN or infinity"]

    def _read_videos(self, feature_set: str) -> dict[str, tuple[int, StoredVideo]]:
        """Return for each video its first row in the arrays of its dtype, and its metadata."""
        channels = self._sets[feature_set]["identity"]["channels"]
        rows = self._table(f"features/{store_key(feature_set)}", VIDEO_COLUMNS)
        return {row["video"]: (row.pop("start"), StoredVideo(channels=channels, **row)) for row in rows}

    def _table(self, group: str, columns: Iterable[str]) -> list[dict[str, Any]]:
        key = f"{group}/{TABLE}"
        try:
            if isinstance(self._root[key], zarr.Group):
                arrays = map_concurrently(
                    self.path, lambda name: read_array(self._root, f"{key}/{name}"), columns
                )
                table = dict(zip(columns, (array.tolist() for array in arrays), strict=True))
            else:  # schema version 2
                table = json.loads(bytes(read_array(self._root, key)))
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise StoreError(
                f"table '{key}' of '{self.path}' cannot be read ({error}); copy or extract the store again."
            ) from error
        return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]

    def _sharded(self, key: str) -> ShardedRows:
        return ShardedRows(self.path / key, cast("zarr.Array[Any]", self._root[key]))
