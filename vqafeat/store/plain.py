"""The plain layout, which can be written to: one array per video and feature set, in one checked chunk."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.datasets.dataset import Permutations
from vqafeat.remote import StorePath, map_concurrently
from vqafeat.store.types import FeatureSetIdentity, FrameTable, StoredVideo, VideoFeatures
from vqafeat.store.zarr_io import (
    child_nodes,
    listdir,
    read_attributes,
    read_chunk,
    read_node,
    remove_node,
    store_key,
    write_array,
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
        attributes = read_attributes(self.path / "features" / store_key(feature_set))
        return cast(dict[str, Any] | None, attributes.get("identity"))

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""
        return self._complete_nodes(self.path / "frames")

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        attributes = read_attributes(self.path / "frames" / store_key(video))
        return cast(dict[str, Any], attributes["source"]) if attributes.get("complete") else None

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return the presentation times (frame,) of a video that has them."""
        path = self.path / "frames" / store_key(video)
        shape = tuple(read_node(path)["shape"])
        return np.array(read_chunk(path / "c" / "0", np.dtype(np.float64), shape, checked=True))

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""
        return self._complete_nodes(self.path / "features" / store_key(feature_set))

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return the metadata of a video's rows, if they are complete."""
        attributes = read_attributes(self._video_path(feature_set, video))
        if not attributes.get("complete"):
            return None
        keys = ("rows", "channels", "dtype", "source_sha256")
        return StoredVideo(video, **{key: attributes[key] for key in keys})

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video as read-only maps of the chunk files."""
        path, shape = self._video_path(feature_set, video.video), (video.rows, video.channels)
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
        for path in child_nodes(self.path / "features" / store_key(feature_set)):
            attributes = read_attributes(path)
            name = str(attributes.get("video", path.name))
            key = f"features/{path.parent.name}/{path.name}"
            if attributes.get("complete"):
                yield name, [*self._damages(f"{key}/values"), *self._damages(f"{key}/frame")]
            else:
                problem = "not complete, or its zarr.json is damaged; run `vqafeat extract` again"
                yield name, [f"{feature_set}/{name}: {problem}"]

    def write_labels(self, attributes: dict[str, Any], permutations: Permutations | None) -> None:
        """Store the attributes of the labels and the published splits (video, run), if there are any."""
        remove_node(self.path / "labels")
        self._root.create_group("labels", attributes=attributes)
        if permutations is not None:
            write_array(self._root, self.path, "labels/permutations", permutations.astype(np.int32))

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
        key = f"frames/{store_key(video)}"
        remove_node(self.path / key)
        write_array(self._root, self.path, key, table.seconds)
        self._root[key].attrs.update({"video": video, "source": dict(table.source), "complete": True})

    def write_features(
        self, feature_set: str, video: str, features: VideoFeatures, source_sha256: str
    ) -> None:
        """Store the rows of a video; the attributes with the mark of completeness are written last."""
        key = f"features/{store_key(feature_set)}/{store_key(video)}"
        remove_node(self.path / key)
        group = self._root.create_group(key)
        write_array(self._root, self.path, f"{key}/values", features.values)
        write_array(self._root, self.path, f"{key}/frame", features.frame)
        rows, channels = features.values.shape
        stored = StoredVideo(video, rows, channels, str(features.values.dtype), source_sha256)
        group.attrs.update({**vars(stored), "complete": True})

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
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            yield f"{key}: cannot be read ({error})"

    def _video_path(self, feature_set: str, video: str) -> Any:
        return self.path / "features" / store_key(feature_set) / store_key(video)
