"""The plain layout: one array a video and feature set, one checked chunk an array; the one that can be
written to.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import StoreError
from vqafeat.remote import Found, Item, StorePath, map_concurrently
from vqafeat.store.layout import LAYOUTS, PLAIN, StoredVideo
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures
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


@LAYOUTS.register(PLAIN)
class PlainLayout:
    """Nodes of each video, read anew at each access: another process may be writing."""

    name = PLAIN

    def __init__(self, path: StorePath, root: zarr.Group) -> None:
        self.path, self._root = path, root

    def map_concurrently(self, look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """Return what `look` finds of each item, in order; many at once where each is a request."""
        return map_concurrently(self.path, look, items)

    # --- reading
    # ------------------------------------------------------------------------------------------------------------------

    def labels(self) -> dict[str, Any]:
        """Return the attributes of the labels, or none where they are missing or damaged."""
        return read_attributes(self.path / "labels")

    def permutations(self) -> npt.NDArray[np.int32] | None:
        """Return (video, run) the published splits, where there are any."""
        return (
            np.asarray(self._array("labels/permutations")[...])
            if (self.path / "labels" / "permutations").is_dir()
            else None
        )

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        found = (read_attributes(path).get("name") for path in listdir(self.path / "features"))
        return sorted(str(name) for name in found if name is not None)

    def identity(self, feature_set: str) -> dict[str, Any] | None:
        """Return the identity of a feature set as JSON values."""
        return cast(
            dict[str, Any] | None,
            read_attributes(self.path / "features" / store_key(feature_set)).get("identity"),
        )

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""
        found = map_concurrently(self.path, read_attributes, listdir(self.path / "frames"))
        return sorted(str(attributes["video"]) for attributes in found if attributes.get("complete"))

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""
        attributes = read_attributes(self.path / "frames" / store_key(video))
        return cast(dict[str, Any], attributes["source"]) if attributes.get("complete") else None

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return (frame,) presentation times of a video that has them."""
        key = f"frames/{store_key(video)}"
        shape = tuple(read_node(self.path / key)["shape"])
        return np.array(read_chunk(self.path / key / "c" / "0", np.dtype(np.float64), shape, checked=True))

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""
        found = map_concurrently(
            self.path, read_attributes, listdir(self.path / "features" / store_key(feature_set))
        )
        return sorted(str(attributes["video"]) for attributes in found if attributes.get("complete"))

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return what is said of a video's rows."""
        attributes = read_attributes(self._video_path(feature_set, video))
        if not attributes.get("complete"):
            return None
        return StoredVideo(
            video,
            attributes["rows"],
            attributes["channels"],
            attributes["dtype"],
            attributes["source_sha256"],
        )

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video as read-only maps of the chunk files."""
        path = self._video_path(feature_set, video.video)
        values = read_chunk(
            path / "values" / "c" / "0" / "0", np.dtype(video.dtype), (video.rows, video.channels), checked
        )
        return VideoFeatures(
            values, read_chunk(path / "frame" / "c" / "0", np.dtype(np.int32), (video.rows,), checked)
        )

    # --- checking
    # -----------------------------------------------------------------------------------------------------------------

    def damaged_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield for each thing that is wrong outside of the rows the video, or nothing where it is no
        video's, and a sentence.
        """
        for path in child_nodes(self.path / "frames"):
            for words in self._damages(f"frames/{path.name}"):
                yield str(read_attributes(path).get("video", path.name)), words
        for path in child_nodes(self.path / "features"):
            if not read_attributes(path):
                yield (
                    "",
                    f"features/{path.name}: its zarr.json is damaged; delete the folder and run `vqafeat "
                    f"extract` again",
                )

    def damaged_rows(self, feature_set: str) -> Iterator[tuple[str, list[str]]]:
        """Read all rows of a feature set through Zarr's codecs; yield each video with what is wrong with
        them.
        """
        for path in child_nodes(self.path / "features" / store_key(feature_set)):
            attributes = read_attributes(path)
            name = str(attributes.get("video", path.name))
            if not attributes.get("complete"):
                yield (
                    name,
                    [
                        f"{feature_set}/{name}: not complete, or its zarr.json is damaged; run `vqafeat "
                        f"extract` again"
                    ],
                )
                continue
            key = f"features/{path.parent.name}/{path.name}"
            yield name, [*self._damages(f"{key}/values"), *self._damages(f"{key}/frame")]

    def _damages(self, key: str) -> Iterator[str]:
        try:
            array = self._array(key)
            if array.nchunks_initialized != array.nchunks:
                yield f"{key}: a chunk is missing"
            elif not np.isfinite(np.asarray(array[...])).all():
                yield f"{key}: holds NaN or infinity"
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            yield f"{key}: cannot be read ({error})"

    # --- writing
    # ------------------------------------------------------------------------------------------------------------------

    def write_labels(self, attributes: dict[str, Any], permutations: npt.NDArray[np.int32] | None) -> None:
        """Store the attributes of the labels, and (video, run) the published splits where there are any."""
        remove_node(self.path / "labels")
        self._root.create_group("labels", attributes=attributes)
        if permutations is not None:
            write_array(self._root, self.path, "labels/permutations", permutations)

    def write_identity(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Make room for a feature set."""
        attributes = {"name": feature_set, "identity": identity.as_dict()}
        self._root.create_group(f"features/{store_key(feature_set)}", attributes=attributes)

    def forget(self, video: str) -> None:
        """Remove a video's frame times and rows of every feature set."""
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
        """Store the rows of a video, the mark of completeness last."""
        key = f"features/{store_key(feature_set)}/{store_key(video)}"
        remove_node(self.path / key)
        group = self._root.create_group(key)
        write_array(self._root, self.path, f"{key}/values", features.values)
        write_array(self._root, self.path, f"{key}/frame", features.frame)
        rows, width = features.values.shape
        group.attrs.update(
            {
                "video": video,
                "rows": rows,
                "channels": width,
                "dtype": str(features.values.dtype),
                "source_sha256": source_sha256,
                "complete": True,
            }
        )

    def _video_path(self, feature_set: str, video: str) -> Any:
        return self.path / "features" / store_key(feature_set) / store_key(video)

    def _array(self, key: str) -> "zarr.Array[Any]":
        return cast("zarr.Array[Any]", self._root[key])


def plain(layout: object, path: StorePath) -> PlainLayout:
    """Return the layout of a store that is to be written to.

    Raises:
        StoreError: it is packed.
    """
    if not isinstance(layout, PlainLayout):
        raise StoreError(
            f"'{path}' is packed, and nothing can be written to it; run `vqafeat unpack {path}` first."
        )
    return layout
