"""The feature store: one Zarr v3 group a data set, the only thing that both stages know.

    <dataset>.zarr/
      labels/                    attrs: the data set's rows; permutations (videos, runs) where the data set
      publishes its splits frames/<video>             seconds (T,) float64; attrs: where the frames came from
      features/<feature set>/    attrs: the identity
        <video>/                 values (N, D) float16 or float32, frame (N,) int32; attrs: complete, source
        digest

This is the plain layout (`plain.py`), which is written to: each array is one uncompressed chunk followed by
its CRC-32C, written at once; a video counts only when its `complete` attribute, written last, is there. A
local store is read by mapping the chunk files. `vqafeat pack` turns a finished store into the packed layout
(`packed.py`), which is read by the same methods.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.datasets import Dataset, Video
from vqafeat.errors import IdentityError, StoreError
from vqafeat.remote import StorePath, translate_network_errors
from vqafeat.store.layout import LAYOUTS, PACKED, PLAIN, Layout, StoredVideo
from vqafeat.store.lock import exclusive_lock, remove_partial_files, translate_write_errors
from vqafeat.store.plain import PlainLayout, plain
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures
from vqafeat.store.zarr_io import open_root, store_key, stores_in

SCHEMA_OF_LAYOUT = {PLAIN: 1, PACKED: 2}  # a vqafeat that does not know a layout refuses its number
_LABEL_TOLERANCE = 1e-3  # label lists of one data set differ by rounding


class FeatureStore:
    """One data set's features; see the module's text for the layout."""

    def __init__(self, path: StorePath, root: zarr.Group, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self._root = root

    @classmethod
    def open(cls, path: StorePath, writable: bool = False) -> "FeatureStore":
        """Open a store.

        Raises:
            StoreError: there is none, it is of another schema, or it is packed and to be written to.
        """
        with translate_network_errors(path):
            root = _opened(path, "r+" if writable else "r")
        schema = root.attrs.get("schema_version")
        name = next((name for name, number in SCHEMA_OF_LAYOUT.items() if number == schema), None)
        if name is None:
            raise StoreError(
                f"'{path}' has schema version {schema}, this vqafeat reads "
                f"{' and '.join(map(str, SCHEMA_OF_LAYOUT.values()))}; "
                "extract it again or use the matching version."
            )
        layout = LAYOUTS.get(name)(path, root)
        if writable:
            plain(layout, path)
        return cls(path, root, layout)

    @classmethod
    def create(cls, path: StorePath, dataset: Dataset) -> "FeatureStore":
        """Open the store of `dataset` for writing, making it where it is missing; its labels become those of
        `dataset`.

        Raises:
            StoreError: the store holds another data set or is packed, another process is writing to it, or it
                cannot be written to.
        """
        with translate_network_errors(path):
            there = (path / "zarr.json").is_file()
        if not there:
            with translate_write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            # alone, since what a second run wrote here would undo what the first has begun
            with exclusive_lock(path), translate_write_errors(path):
                if not (path / "zarr.json").is_file():
                    attributes: dict[str, Any] = {
                        "schema_version": SCHEMA_OF_LAYOUT[PLAIN],
                        "dataset": dataset.name,
                        "manifest_digest": "",
                    }
                    open_root(path, "a", attributes)
        store = cls.open(path, writable=True)
        if store.dataset_name != dataset.name:
            raise StoreError(
                f"'{path}' holds the data set '{store.dataset_name}', not '{dataset.name}'; choose another "
                f"--store."
            )
        if store._root.attrs["manifest_digest"] != dataset.digest or not store.layout.labels():
            store._renew_labels(dataset)
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.path,)

    @property
    def dataset_name(self) -> str:
        """The name of the data set that the store holds."""
        return str(self._root.attrs["dataset"])

    @property
    def content(self) -> str:
        """The content digest that packing noted; empty in a plain store, whose content may change."""
        return str(self._root.attrs.get("content", ""))

    @cached_property
    def dataset(self) -> Dataset:
        """The data set with its labels as they were when the store was last written; videos have no path."""
        labels = self.layout.labels()
        if not labels:
            raise StoreError(
                f"the labels in '{self.path}' are missing or damaged; run `vqafeat extract` or `vqafeat "
                f"import` again to renew them."
            )
        columns = labels["columns"]
        videos = tuple(
            Video(*row)
            for row in zip(
                columns["video"], columns["mos"], columns["content"], columns["split"], strict=True
            )
        )
        return Dataset(
            name=self.dataset_name,
            title=labels["title"],
            score_name=labels["score_name"],
            mos_range=tuple(labels["mos_range"]),
            videos=videos,
            scale=labels["scale"],
            label_list=labels["label_list"],
            digest=str(self._root.attrs["manifest_digest"]),
            stored_permutations=self.layout.permutations(),
        )

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets whose labels lie on scales of their own: the one."""
        return (self.dataset,)

    @property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) which of the members each video belongs to."""
        return np.zeros(len(self.dataset.videos), np.intp)

    def _renew_labels(self, dataset: Dataset) -> None:
        with self.exclusive():
            if self.layout.labels():
                self._refuse_another_data_set(dataset)
            with translate_write_errors(self.path):
                self._root.attrs["manifest_digest"] = ""
                permutations = dataset.stored_permutations
                self._written.write_labels(
                    label_attributes(dataset), None if permutations is None else permutations.astype(np.int32)
                )
                self._root.attrs["manifest_digest"] = dataset.digest
                self.__dict__.pop("dataset", None)

    def _refuse_another_data_set(self, dataset: Dataset) -> None:
        old = {video.name: video.mos for video in self.dataset.videos}
        shared = [video for video in dataset.videos if video.name in old]
        changed = sum(abs(old[video.name] - video.mos) > _LABEL_TOLERANCE for video in shared)
        if not shared or 2 * changed > len(shared):
            raise StoreError(
                f"'{self.path}' holds another data set called '{dataset.name}': {len(shared)} of its "
                f"{len(old)} videos are in the new one, "
                f"{changed} of those with another label. Give one of the two another name, or choose "
                f"another --store."
            )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the store against other writers, and sweep away what a killed one left half written.

        Raises:
            StoreError: another process is writing to it, or it cannot be written to.
        """
        with exclusive_lock(self.path):
            remove_partial_files(self.path)
            yield

    # --- feature sets
    # -------------------------------------------------------------------------------------------------------------

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        return self.layout.feature_sets()

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on.

        Raises:
            StoreError: the store has no such feature set.
        """
        found = self.layout.identity(feature_set)
        if found is None:
            known = ", ".join(self.feature_sets()) or "none yet"
            raise StoreError(
                f"feature set '{feature_set}' is not in '{self.path}' (there: {known}); make it with "
                f"`vqafeat extract --backbone`, "
                "or, if it was there, see what `vqafeat verify` says."
            )
        return FeatureSetIdentity.from_dict(found)

    def add_feature_set(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Make room for a feature set, or find it there with the same identity.

        Raises:
            IdentityError: it is there under another identity; both are printed.
            StoreError: the store is packed.
        """
        folder = self.path / "features" / store_key(feature_set)
        if (folder / "zarr.json").is_file():
            there = self.identity(feature_set)
            if there != identity:
                raise IdentityError(
                    f"feature set '{feature_set}' of '{self.path}' was computed differently; stored against "
                    f"asked for: "
                    f"{there.differences(identity)}. Use another --store, or delete the folder '{folder}'."
                )
            return
        with translate_write_errors(self.path):
            self._written.write_identity(feature_set, identity)

    # --- videos
    # -------------------------------------------------------------------------------------------------------------------

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from (digest, size, rate, colour), or None where they are not
        stored whole.
        """
        return self.layout.source(video)

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return what is said of a video's rows, or None where they are not stored whole or belong to other
        frames than are stored.
        """
        found = self.layout.stored(feature_set, video)
        if found is None or not found.source_sha256:
            return found  # without a digest it was imported: the file is not known
        source = self.source(video)
        return found if source is not None and found.source_sha256 == source["sha256"] else None

    def is_complete(self, feature_set: str, video: str) -> bool:
        """Tell whether a video's rows are stored whole and belong to the frames that are stored for it."""
        return self.stored(feature_set, video) is not None

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos of the data set whose rows are stored whole, in the data set's order."""
        self.identity(feature_set)
        names = [video.name for video in self.dataset.videos]
        whole = self.layout.map_concurrently(lambda name: self.is_complete(feature_set, name), names)
        return [name for name, there in zip(names, whole, strict=True) if there]

    def forget(self, video: str) -> None:
        """Remove all that is stored of a video, so that it is extracted anew.

        Raises:
            StoreError: the store is packed.
        """
        self._written.forget(video)

    def write_frames(self, video: str, table: FrameTable) -> None:
        """Store the frame times of a video; its features follow.

        Raises:
            StoreError: the store is packed.
        """
        self._written.write_frames(video, table)

    def write_features(
        self, feature_set: str, video: str, features: VideoFeatures, source_sha256: str
    ) -> None:
        """Store the rows of a video, the mark of completeness last.

        Raises:
            StoreError: the rows hold NaN, infinity, or another number of channels than the feature set, or
                the store is packed.
        """
        written, channels = self._written, self.identity(feature_set).channels
        if features.values.shape[1] != channels:
            raise StoreError(
                f"video '{video}' has {features.values.shape[1]} channels, feature set '{feature_set}' has "
                f"{channels}."
            )
        if not features.finite:
            raise StoreError(
                f"features '{feature_set}' of video '{video}' are not finite as {features.values.dtype}; "
                "store them with --dtype float32, or check the network's weights."
            )
        written.write_features(feature_set, video, features, source_sha256)

    def read(self, feature_set: str, video: str, checked: bool = False) -> VideoFeatures:
        """Return the rows of a video, as read-only maps of the store's files where these lie on this machine.

        Args:
            feature_set: for example `resnet50`.
            video: its name.
            checked: also compare check sums, as `verify` does; what comes over a network always is.

        Raises:
            StoreError: they are not stored whole, a file is missing or cut, or a check sum is wrong.
        """
        found = self.layout.stored(feature_set, video)
        if found is None:
            self.identity(feature_set)
            raise StoreError(
                f"video '{video}' is not complete in feature set '{feature_set}' of '{self.path}'; run "
                f"`vqafeat extract` again."
            )
        with translate_network_errors(self.path):
            return self.layout.read(feature_set, found, checked)

    def seconds(self, video: str) -> npt.NDArray[np.float64] | None:
        """Return (frame,) presentation times in seconds, or None where the features were imported without
        them.
        """
        return None if self.source(video) is None else self.layout.seconds(video)

    @property
    def _written(self) -> PlainLayout:
        return plain(self.layout, self.path)


def _opened(path: StorePath, mode: Literal["r", "r+"]) -> zarr.Group:
    if not (path / "zarr.json").is_file():
        if path.with_name(f"{path.name}.old").exists():
            raise StoreError(
                f"no feature store at '{path}': packing it was stopped, and it lies beside as "
                f"'{path.name}.old'; "
                "run `vqafeat pack` or `vqafeat unpack` again."
            )
        near = sorted(map(str, [*stores_in(path.parent), *stores_in(path)]))
        hint = f"there are {', '.join(near)}" if near else "there is none in that folder"
        raise StoreError(
            f"no feature store at '{path}' ({hint}); make one with `vqafeat extract --dataset NAME` or name "
            f"its folder with --store."
        )
    try:
        return open_root(path, mode)
    except ValueError as error:
        raise StoreError(
            f"'{path / 'zarr.json'}' is damaged ({error}); the store has to be extracted again."
        ) from error


def label_attributes(dataset: Dataset) -> dict[str, Any]:
    """Return what a store keeps of a data set's rows, as JSON values."""
    columns = {
        "video": [video.name for video in dataset.videos],
        "mos": [video.mos for video in dataset.videos],
        "content": [video.content for video in dataset.videos],
        "split": [video.split for video in dataset.videos],
    }
    return {
        "title": dataset.title,
        "score_name": dataset.score_name,
        "mos_range": list(dataset.mos_range),
        "scale": dataset.scale,
        "label_list": dataset.label_list,
        "columns": columns,
    }
