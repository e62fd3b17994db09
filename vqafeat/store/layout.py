"""The two layouts of a store, with the same methods: the plain one, and the packed one, which is only read.

The plain layout has an array for each video and feature set, in one uncompressed chunk with its CRC-32C. A
local store is read by mapping the chunk files into memory.

    <dataset>.zarr/              attrs: schema version, data set, manifest digest
      labels/                    attrs: the data set's rows; permutations (videos, runs): its published splits
      frames/<video>             seconds (T,) float64; attrs: where the frames came from
      features/<feature set>/    attrs: the identity
        <video>/                 values (N, D) float16 or float32, frame (N,) int32; attrs: complete, digest

A video counts only if its `complete` attribute, written last, is present. In the packed layout all videos of
a feature set share sharded arrays:

    <dataset>.zarr/            attrs: schema version, data set, complete; consolidated metadata (one request)
      labels/                  as in the plain layout
      frames/                  seconds (all decoded frames,) float64
        videos/                video, start, rows, source: an array (video,) each; source is JSON
      features/<feature set>/  attrs: the identity
        videos/                video, start, rows, dtype, source_sha256: an array (video,) each
        <dtype>/               values (all rows, D), frame (all rows,) int32

A video's rows are `start` to `start + rows` of the arrays of its `dtype`. Shards have a bounded size; each of
their uncompressed chunks has a CRC-32C. In schema version 2, `videos` was one uint8 array with the columns as
JSON.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.datasets.dataset import Permutations
from vqafeat.errors import StoreError
from vqafeat.remote import StorePath, map_concurrently
from vqafeat.store.types import FeatureSetIdentity, FrameTable, StoredVideo, VideoFeatures
from vqafeat.store.zarr_io import (
    ShardedRows,
    child_nodes,
    listdir,
    read_array,
    read_attributes,
    read_chunk,
    read_node,
    remove_node,
    store_key,
    write_array,
    write_group,
)


class PlainLayout:
    """Reads and writes the nodes of each video; nothing is cached, since another process may be writing."""

    name, schema_version = "plain", 1

    def __init__(self, path: StorePath, root: zarr.Group) -> None:
        self.path, self._root = path, root

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        names = (read_attributes(path).get("name") for path in listdir(self.path / "features"))
        return sorted(str(name) for name in names if name is not None)

    def identity(self, feature_set: str) -> dict[str, Any] | None:
        """Return the identity of a feature set as JSON values."""
        identity: dict[str, Any] | None = read_attributes(self._folder(feature_set)).get("identity")
        return identity

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""
        return self._complete_nodes(self.path / "frames")

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        attributes = read_attributes(self.path / "frames" / store_key(video))
        source: dict[str, Any] = attributes.get("source", {}) if attributes.get("complete") else {}
        return source if "sha256" in source else None

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return the presentation times (frame,) of a video that has them."""
        path = self.path / "frames" / store_key(video)
        shape = tuple(read_node(path).get("shape", (0,)))
        return np.array(read_chunk(path / "c" / "0", np.dtype(np.float64), shape, checked=True))

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""
        return self._complete_nodes(self._folder(feature_set))

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return the metadata of a video's rows, if they are complete."""
        return _stored_video(video, read_attributes(self._folder(feature_set) / store_key(video)))

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video as read-only maps of the chunk files."""
        path, shape = self._folder(feature_set) / store_key(video.video), (video.rows, video.channels)
        values = read_chunk(path / "values" / "c" / "0" / "0", np.dtype(video.dtype), shape, checked)
        frame = read_chunk(path / "frame" / "c" / "0", np.dtype(np.int32), shape[:1], checked)
        return VideoFeatures(values, frame)

    def damaged_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield a sentence for each problem outside of the rows, after the name of its video, or ""."""
        for path in child_nodes(self.path / "frames"):
            for problem in self._damages(f"frames/{path.name}"):
                yield str(read_attributes(path).get("video", path.name)), problem
        for path in child_nodes(self.path / "features"):
            if not read_attributes(path):
                problem = "its zarr.json is damaged; delete the folder and run `vqafeat extract` again"
                yield "", f"features/{path.name}: {problem}"

    def damaged_rows(self, feature_set: str) -> Iterator[tuple[str, list[str]]]:
        """Read all rows through Zarr's codecs; yield each video with a sentence for each problem."""
        for path in child_nodes(self._folder(feature_set)):
            attributes = read_attributes(path)
            name = str(attributes.get("video", path.name))
            key = f"features/{path.parent.name}/{path.name}"
            if _stored_video(name, attributes) is not None:
                yield name, [*self._damages(f"{key}/values"), *self._damages(f"{key}/frame")]
            else:
                problem = "not complete, or its zarr.json is damaged; run `vqafeat extract` again"
                yield name, [f"{feature_set}/{name}: {problem}"]

    def write_labels(self, attributes: dict[str, Any], permutations: Permutations | None) -> None:
        """Store the attributes of the labels and the published splits (video, run), if there are any."""
        remove_node(self.path / "labels")
        self._root.create_group("labels", attributes=attributes)
        if permutations is not None:
            write_array(self.path / "labels" / "permutations", permutations.astype(np.int32))

    def write_identity(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Create the group of a feature set."""
        attributes = {"name": feature_set, "identity": identity.as_dict()}
        self._root.create_group(f"features/{store_key(feature_set)}", attributes=attributes)

    def forget(self, video: str) -> None:
        """Remove a video's frame times and its rows of every feature set."""
        remove_node(self.path / "frames" / store_key(video))
        for path in child_nodes(self.path / "features"):
            remove_node(path / store_key(video))

    def write_frames(self, video: str, table: FrameTable) -> None:
        """Store the frame times of a video."""
        folder = self.path / "frames"
        if not (folder / "zarr.json").is_file():
            write_group(folder)
        node = folder / store_key(video)
        remove_node(node)
        write_array(node, table.seconds, {"video": video, "source": dict(table.source), "complete": True})

    def write_features(
        self, feature_set: str, video: str, features: VideoFeatures, source_sha256: str
    ) -> None:
        """Store the rows of a video; the attributes with the mark of completeness are written last."""
        node = self._folder(feature_set) / store_key(video)
        remove_node(node)
        write_group(node)
        write_array(node / "values", features.values)
        write_array(node / "frame", features.frame)
        rows, channels = features.values.shape
        stored = StoredVideo(video, rows, channels, str(features.values.dtype), source_sha256)
        write_group(node, {**vars(stored), "complete": True})

    def _complete_nodes(self, folder: StorePath) -> list[str]:
        nodes = map_concurrently(self.path, read_attributes, listdir(folder))
        return sorted(str(attributes["video"]) for attributes in nodes if attributes.get("complete"))

    def _damages(self, key: str) -> Iterator[str]:
        try:
            array = cast("zarr.Array[Any]", self._root[key])
            if array.nchunks_initialized != array.nchunks:
                yield f"{key}: a chunk is missing"
            elif not np.isfinite(np.asarray(array[...])).all():
                yield f"{key}: holds NaN or infinity"
        except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
            yield f"{key}: cannot be read ({error})"

    def _folder(self, feature_set: str) -> StorePath:
        return self.path / "features" / store_key(feature_set)


def _stored_video(video: str, attributes: Mapping[str, Any]) -> StoredVideo | None:
    keys = ("rows", "channels", "dtype", "source_sha256")
    try:
        return StoredVideo(video, **{key: attributes[key] for key in keys if attributes.get("complete")})
    except (KeyError, TypeError, StoreError):
        return None  # not complete, or damaged


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
