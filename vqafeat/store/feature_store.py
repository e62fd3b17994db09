"""The feature store: one Zarr v3 group a data set, the only thing that both stages know.

    <dataset>.zarr/
      labels/                    attrs: the data set's rows; permutations (videos, runs) where the data set publishes its splits
      frames/<video>             seconds (T,) float64; attrs: where the frames came from
      features/<feature set>/    attrs: the identity
        <video>/                 values (N, D) float16 or float32, frame (N,) int32; attrs: complete, source digest

Each array is one uncompressed chunk followed by its CRC-32C, written at once; a video counts only when its `complete` attribute, written
last, is there. A local store is read by mapping the chunk files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import IdentityError, StoreError
from vqafeat.features import FeatureSetIdentity, FrameTable, VideoFeatures
from vqafeat.manifest import Dataset, Video
from vqafeat.store.arrays import mapped, read_attributes, remove_node, write_array
from vqafeat.store.keys import store_key
from vqafeat.store.locking import held_alone, telling_refusals

SCHEMA_VERSION = 1
_LABEL_TOLERANCE = 1e-3  # label lists of one data set differ by rounding


class FeatureStore:
    """One data set's features; see the module's text for the layout."""

    def __init__(self, path: Path, root: zarr.Group) -> None:
        self.path = path
        self._root = root

    @classmethod
    def open(cls, path: Path, writable: bool = False) -> "FeatureStore":
        """Open a store.

        Raises:
            StoreError: there is none, or it is of another schema.
        """
        if not (path / "zarr.json").is_file():
            near = sorted(map(str, [*path.parent.glob("*.zarr"), *path.glob("*.zarr")]))
            hint = f"there are {', '.join(near)}" if near else "there is none in that folder"
            raise StoreError(
                f"no feature store at '{path}' ({hint}); make one with `vqafeat extract --dataset NAME` or name its folder with --store."
            )
        try:
            root = zarr.open_group(path, mode="r+" if writable else "r")
        except ValueError as error:
            raise StoreError(f"'{path / 'zarr.json'}' is damaged ({error}); the store has to be extracted again.") from error
        schema = root.attrs.get("schema_version")
        if schema != SCHEMA_VERSION:
            raise StoreError(
                f"'{path}' has schema version {schema}, this vqafeat reads {SCHEMA_VERSION}; extract it again or use the matching version."
            )
        return cls(path, root)

    @classmethod
    def create(cls, path: Path, dataset: Dataset) -> "FeatureStore":
        """Open the store of `dataset` for writing, making it where it is missing; its labels become those of `dataset`.

        Raises:
            StoreError: the store holds another data set, another process is writing to it, or it cannot be written to.
        """
        if not (path / "zarr.json").is_file():
            with telling_refusals(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            # alone, since what a second run wrote here would undo what the first has begun
            with held_alone(path), telling_refusals(path):
                if not (path / "zarr.json").is_file():
                    attributes: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "dataset": dataset.name, "manifest_digest": ""}
                    zarr.open_group(path, mode="a", attributes=attributes)
        store = cls.open(path, writable=True)
        if store.dataset_name != dataset.name:
            raise StoreError(f"'{path}' holds the data set '{store.dataset_name}', not '{dataset.name}'; choose another --store.")
        if store._root.attrs["manifest_digest"] != dataset.digest or not read_attributes(path / "labels"):
            store._renew_labels(dataset)
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.path,)

    @property
    def dataset_name(self) -> str:
        """The name of the data set that the store holds."""
        return str(self._root.attrs["dataset"])

    @cached_property
    def dataset(self) -> Dataset:
        """The data set with its labels as they were when the store was last written; videos have no path."""
        labels = read_attributes(self.path / "labels")
        if not labels:
            raise StoreError(
                f"the labels in '{self.path}' are missing or damaged; run `vqafeat extract` or `vqafeat import` again to renew them."
            )
        columns = labels["columns"]
        videos = tuple(Video(*row) for row in zip(columns["video"], columns["mos"], columns["content"], columns["split"], strict=True))
        permutations = np.asarray(self.array("labels/permutations")[...]) if (self.path / "labels" / "permutations").is_dir() else None
        return Dataset(
            name=self.dataset_name,
            title=labels["title"],
            score_name=labels["score_name"],
            mos_range=tuple(labels["mos_range"]),
            videos=videos,
            scale=labels["scale"],
            label_list=labels["label_list"],
            digest=str(self._root.attrs["manifest_digest"]),
            stored_permutations=permutations,
        )

    @property
    def members(self) -> tuple[Dataset, ...]:
        """The data sets whose labels lie on scales of their own: the one."""
        return (self.dataset,)

    @property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) which of the members each video belongs to."""
        return np.zeros(len(self.dataset.videos), np.intp)

    def _renew_labels(self, dataset: Dataset) -> None:
        with self.exclusive():
            if read_attributes(self.path / "labels"):
                self._refuse_another_data_set(dataset)
            with telling_refusals(self.path):
                self._root.attrs["manifest_digest"] = ""
                self._write_labels(dataset)

    def _refuse_another_data_set(self, dataset: Dataset) -> None:
        old = {video.name: video.mos for video in self.dataset.videos}
        shared = [video for video in dataset.videos if video.name in old]
        changed = sum(abs(old[video.name] - video.mos) > _LABEL_TOLERANCE for video in shared)
        if not shared or 2 * changed > len(shared):
            raise StoreError(
                f"'{self.path}' holds another data set called '{dataset.name}': {len(shared)} of its {len(old)} videos are in the new one, "
                f"{changed} of those with another label. Give one of the two another name, or choose another --store."
            )

    def _write_labels(self, dataset: Dataset) -> None:
        columns = {
            "video": [video.name for video in dataset.videos],
            "mos": [video.mos for video in dataset.videos],
            "content": [video.content for video in dataset.videos],
            "split": [video.split for video in dataset.videos],
        }
        attributes = {
            "title": dataset.title,
            "score_name": dataset.score_name,
            "mos_range": list(dataset.mos_range),
            "scale": dataset.scale,
            "label_list": dataset.label_list,
            "columns": columns,
        }
        self._remove("labels")
        self._root.create_group("labels", attributes=attributes)
        if dataset.stored_permutations is not None:
            write_array(self._root, self.path, "labels/permutations", dataset.stored_permutations.astype(np.int32))
        self._root.attrs["manifest_digest"] = dataset.digest
        self.__dict__.pop("dataset", None)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the store against other writers, and sweep away what a killed one left half written.

        Raises:
            StoreError: another process is writing to it, or it cannot be written to.
        """
        with held_alone(self.path):
            for leftover in self.path.rglob("*.partial"):
                leftover.unlink()
            yield

    # --- feature sets -------------------------------------------------------------------------------------------------------------

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        found = (read_attributes(path).get("name") for path in self.children("features"))
        return sorted(str(name) for name in found if name is not None)

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on.

        Raises:
            StoreError: the store has no such feature set.
        """
        path = self.path / "features" / store_key(feature_set)
        if not path.is_dir():
            known = ", ".join(self.feature_sets()) or "none yet"
            raise StoreError(
                f"feature set '{feature_set}' is not in '{self.path}' (there: {known}); make it with `vqafeat extract --backbone`."
            )
        return FeatureSetIdentity.from_dict(read_attributes(path)["identity"])

    def add_feature_set(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Make room for a feature set, or find it there with the same identity.

        Raises:
            IdentityError: it is there under another identity; both are printed.
        """
        key = f"features/{store_key(feature_set)}"
        if (self.path / key / "zarr.json").is_file():
            there = self.identity(feature_set)
            if there != identity:
                raise IdentityError(
                    f"feature set '{feature_set}' of '{self.path}' was made otherwise; stored against asked for: "
                    f"{there.differences(identity)}. Use another --store, or delete the folder '{self.path / key}'."
                )
            return
        with telling_refusals(self.path):
            self._root.create_group(key, attributes={"name": feature_set, "identity": identity.as_dict()})

    # --- videos -------------------------------------------------------------------------------------------------------------------

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from (digest, size, rate, colour), or None where they are not stored whole."""
        attributes = read_attributes(self.path / "frames" / store_key(video))
        return cast(dict[str, Any], attributes["source"]) if attributes.get("complete") else None

    def is_complete(self, feature_set: str, video: str) -> bool:
        """Tell whether a video's rows are stored whole and belong to the frames that are stored for it."""
        attributes = read_attributes(self._video_path(feature_set, video))
        if not attributes.get("complete"):
            return False
        if not attributes["source_sha256"]:
            return True  # imported: the file is not known
        source = self.source(video)
        return source is not None and attributes["source_sha256"] == source["sha256"]

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos of the data set whose rows are stored whole, in the data set's order."""
        self.identity(feature_set)
        return [video.name for video in self.dataset.videos if self.is_complete(feature_set, video.name)]

    def write_frames(self, video: str, table: FrameTable) -> None:
        """Store the frame times of a video; its features follow."""
        key = f"frames/{store_key(video)}"
        self._remove(key)
        write_array(self._root, self.path, key, table.seconds)
        self._root[key].attrs.update({"video": video, "source": dict(table.source), "complete": True})

    def write_features(self, feature_set: str, video: str, features: VideoFeatures, source_sha256: str) -> None:
        """Store the rows of a video, the mark of completeness last.

        Raises:
            StoreError: the rows hold NaN, infinity, or another number of channels than the feature set.
        """
        channels = self.identity(feature_set).channels
        if features.values.shape[1] != channels:
            raise StoreError(f"video '{video}' has {features.values.shape[1]} channels, feature set '{feature_set}' has {channels}.")
        if not features.finite:
            raise StoreError(
                f"features '{feature_set}' of video '{video}' are not finite as {features.values.dtype}; "
                "store them with --dtype float32, or check the network's weights."
            )
        key = f"features/{store_key(feature_set)}/{store_key(video)}"
        self._remove(key)
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

    def read(self, feature_set: str, video: str) -> VideoFeatures:
        """Return the rows of a video as read-only maps of the chunk files.

        Raises:
            StoreError: they are not stored whole, or a chunk is missing or cut.
        """
        path = self._video_path(feature_set, video)
        attributes = read_attributes(path)
        if not attributes.get("complete"):
            self.identity(feature_set)
            raise StoreError(
                f"video '{video}' is not complete in feature set '{feature_set}' of '{self.path}'; run `vqafeat extract` again."
            )
        rows, channels = attributes["rows"], attributes["channels"]
        values = mapped(path / "values" / "c" / "0" / "0", np.dtype(attributes["dtype"]), (rows, channels))
        return VideoFeatures(values, mapped(path / "frame" / "c" / "0", np.dtype(np.int32), (rows,)))

    def seconds(self, video: str) -> npt.NDArray[np.float64] | None:
        """Return (frame,) presentation times in seconds, or None where the features were imported without them."""
        if self.source(video) is None:
            return None
        return np.asarray(self.array(f"frames/{store_key(video)}")[...])

    def _video_path(self, feature_set: str, video: str) -> Path:
        return self.path / "features" / store_key(feature_set) / store_key(video)

    def children(self, key: str) -> list[Path]:
        """Return the folders of the nodes below a node, sorted."""
        folder = self.path / key
        return sorted(path for path in folder.iterdir() if (path / "zarr.json").is_file()) if folder.is_dir() else []

    def array(self, key: str) -> zarr.Array[Any]:
        """Return an array through Zarr's codecs, which check its sums."""
        return cast("zarr.Array[Any]", self._root[key])

    def _remove(self, key: str) -> None:
        remove_node(self.path / key)
