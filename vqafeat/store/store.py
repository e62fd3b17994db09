"""The feature store of a data set: one Zarr v3 group, in one of the two layouts of the module `layout`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import are_permutations, times_problem
from vqafeat.errors import IdentityError, StoreError
from vqafeat.io import without_nan
from vqafeat.remote import StorePath, map_concurrently, parse_path, translate_network_errors
from vqafeat.store.layout import PackedLayout, PlainLayout
from vqafeat.store.lock import exclusive_lock, remove_partial_files, translate_write_errors
from vqafeat.store.types import FeatureSetIdentity, FrameTable, StoredVideo, VideoFeatures
from vqafeat.store.zarr_io import open_root, read_array, store_key, stores_in

if TYPE_CHECKING:
    from vqafeat.store.features import FeatureDataset

Layout = PlainLayout | PackedLayout

# an older vqafeat refuses the schema version of a layout that it does not know
_LAYOUTS: dict[Any, type[Layout]] = {1: PlainLayout, 2: PackedLayout, 3: PackedLayout}
_LABEL_TOLERANCE = 1e-3  # label lists of the same data set differ by rounding
_LABEL_ATTRIBUTES = ("title", "score_name", "mos_range", "scale", "label_list")
_LABEL_COLUMNS = {"video": "name", "mos": "mos", "content": "content", "split": "split"}  # → field of `Video`


class FeatureStore:
    """One data set's features in a Zarr group."""

    def __init__(self, path: StorePath, root: zarr.Group, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self._root = root

    @classmethod
    def open(cls, path: StorePath | str, writable: bool = False) -> "FeatureStore":
        """Open a store at a local path or a URL; a packed one cannot be opened as writable."""
        path = parse_path(path)
        if isinstance(path, Path) and path.name in ("", ".."):
            path = path.resolve()  # the lock and the failure log are named after the store
        with translate_network_errors(path):
            root = _open_root(path, "r+" if writable else "r")
        schema = root.attrs.get("schema_version")
        if schema not in _LAYOUTS:
            known = f"this vqafeat reads {', '.join(map(str, _LAYOUTS))}"
            raise StoreError(f"'{path}' has schema version {schema}, {known}; use the matching version.")
        store = cls(path, root, _LAYOUTS[schema](path, root))
        if writable:
            store._plain()
        return store

    @classmethod
    def create(cls, path: StorePath | str, dataset: Dataset) -> "FeatureStore":
        """Open the store of `dataset` for writing with its present labels; make it if it is missing."""
        path = parse_path(path)
        with translate_network_errors(path):
            exists, is_inside = ((folder / "zarr.json").is_file() for folder in (path, path.parent))
        if is_inside:  # a store in a store would be extracted again, and no command would show it
            next_step = f"name its folder, '{path.parent.parent}', with --store"
            raise StoreError(f"'{path.parent}' is a store, not a folder of stores; {next_step}.")
        if not exists:
            attributes = {"dataset": dataset.name, "manifest_digest": ""}
            with translate_write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            # locked, so that of two runs that begin together one makes it and the other opens it
            with exclusive_lock(path), translate_write_errors(path):
                open_root(path, "a", {"schema_version": PlainLayout.schema_version, **attributes})
        store = cls.open(path, writable=True)
        if store.dataset_name != dataset.name:
            holds = f"holds the data set '{store.dataset_name}', not '{dataset.name}'"
            raise StoreError(f"'{path}' {holds}; choose another --store.")
        if store._root.attrs["manifest_digest"] != dataset.digest or not store._labels():
            store._renew_labels(dataset)
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.path,)

    def __repr__(self) -> str:
        labels = self._labels()
        videos = f"{len(labels['columns']['video'])} videos" if labels else "labels are missing"
        sets = [f"{name} ({self.identity(name).channels})" for name in self.feature_sets()]
        return f"{self.dataset_name}: {videos}; {', '.join(sets) or 'no features'}"

    @property
    def dataset_name(self) -> str:
        """The name of the data set that the store holds."""
        return str(self._root.attrs["dataset"])

    @property
    def content(self) -> str:
        """The content digest that packing stored; empty in a plain store, whose content may change."""
        return str(self._root.attrs.get("content", ""))

    @cached_property
    def dataset(self) -> Dataset:
        """The data set with its labels as they were last written; videos have no path."""
        labels = self._labels()
        if not labels:
            problem = f"the labels in '{self.path}' are missing or damaged"
            next_step = "run `vqafeat extract` or `vqafeat import` again to renew them"
            raise StoreError(f"{problem}; {next_step}, or copy a packed store again.")
        columns = [labels["columns"][name] for name in _LABEL_COLUMNS]
        attributes = {name: labels[name] for name in _LABEL_ATTRIBUTES}
        return Dataset(
            name=self.dataset_name,
            **{**attributes, "mos_range": tuple(map(_from_json, attributes["mos_range"]))},
            videos=tuple(
                Video(name, _from_json(mos), content, split, labelled=mos is not None)
                for name, mos, content, split in zip(*columns, strict=True)
            ),
            digest=str(self._root.attrs["manifest_digest"]),
            stored_permutations=labels.get("permutations"),
        )

    def _labels(self) -> dict[str, Any]:
        """Return the attributes of the labels, and their `permutations` if there are any."""
        try:
            labels: dict[str, Any] = dict(self._root["labels"].attrs)
            splits = "labels/permutations"
            if splits in self._root:
                labels["permutations"] = read_array(self._root, splits)
                if not are_permutations(labels["permutations"], len(labels["columns"]["video"])):
                    return {}
        except (KeyError, TypeError, ValueError):
            return {}  # missing or damaged
        return labels

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets with separate label scales; one here, several in a `JointStore`."""
        return (self.dataset,)

    @property
    def member_numbers(self) -> npt.NDArray[np.intp]:
        """(video,) index into `datasets`."""
        return np.zeros(len(self.dataset.videos), np.intp)

    def _renew_labels(self, dataset: Dataset) -> None:
        """Replace the labels, unless too few of the stored ones agree with those of `dataset`."""
        with self.exclusive():
            old = {video.name: video.mos for video in self.dataset.videos} if self._labels() else {}
            if old and self.dataset.labelled and not dataset.labelled:
                next_step = "name that data set with --dataset, or choose another --store"
                raise StoreError(f"'{self.path}' has labels, which would be lost; {next_step}.")
            shared = [video for video in dataset.videos if video.name in old]
            changed = sum(abs(old[video.name] - video.mos) > _LABEL_TOLERANCE for video in shared)
            if old and (not shared or 2 * changed > len(shared)):
                counts = f"{len(shared)} of its {len(old)} videos are in the new one, {changed} of those with"
                raise StoreError(
                    f"'{self.path}' holds another data set called '{dataset.name}': {counts} another label. "
                    "Give one of the two another name, or choose another --store."
                )
            with translate_write_errors(self.path):
                self._root.attrs["manifest_digest"] = ""
                self._plain().write_labels(label_attributes(dataset), dataset.stored_permutations)
                self._root.attrs["manifest_digest"] = dataset.digest
                self.__dict__.pop("dataset", None)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the store against other writers, and remove what a killed writer left half written."""
        with exclusive_lock(self.path):
            remove_partial_files(self.path)
            yield

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""
        return self.layout.feature_sets()

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of a feature set depend on."""
        values = self.layout.identity(feature_set)
        if values is None:
            known = ", ".join(self.feature_sets()) or "none yet"
            hint = "extract it with `vqafeat extract`, or, if that was done, run `vqafeat verify`"
            raise StoreError(f"feature set '{feature_set}' is not in '{self.path}' (there: {known}); {hint}.")
        return FeatureSetIdentity(**values)

    def add_feature_set(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Create a feature set unless it exists; an `IdentityError` shows how a stored identity differs."""
        folder = self.path / "features" / store_key(feature_set)
        if (folder / "zarr.json").is_file():
            stored = self.identity(feature_set)
            if stored != identity:
                raise IdentityError(
                    f"feature set '{feature_set}' of '{self.path}' was computed differently; stored against "
                    f"requested: {stored.differences(identity)}. Use another --store, or delete the folder "
                    f"'{folder}'."
                )
            return
        with translate_write_errors(self.path):
            self._plain().write_identity(feature_set, identity)

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from (digest, size, rate, colour), if they are complete."""
        return self.layout.source(video)

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return the metadata of a video's rows, if they are complete and of the stored frames."""
        info = self.layout.stored(feature_set, video)
        if info is None or not info.source_sha256:
            return info  # imported features have no digest: their file is not known
        source = self.source(video)
        return info if source is not None and info.source_sha256 == source["sha256"] else None

    def stored_each(self, feature_set: str, videos: Sequence[str]) -> list[StoredVideo | None]:
        """Return `stored` of several videos; requests over a network run concurrently."""
        stored = partial(self.stored, feature_set)
        if isinstance(self.layout, PackedLayout):  # its tables are in memory
            return list(map(stored, videos))
        return map_concurrently(self.path, stored, videos)

    def is_complete(self, feature_set: str, video: str) -> bool:
        """Return whether a video's rows are complete and of the stored frames."""
        return self.stored(feature_set, video) is not None

    def complete(self, feature_set: str) -> list[StoredVideo]:
        """Return the metadata of the data set's videos whose rows are complete, in the data set's order."""
        self.identity(feature_set)
        infos = self.stored_each(feature_set, [video.name for video in self.dataset.videos])
        return [info for info in infos if info is not None]

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos of the data set whose rows are complete, in the data set's order."""
        return [info.video for info in self.complete(feature_set)]

    def features(self, feature_sets: str = "") -> "FeatureDataset":
        """Return a PyTorch `Dataset` of a feature set, of several joined by `+`, or of the only one."""
        from vqafeat.store.features import load_features

        return load_features(self, feature_sets)

    def forget(self, video: str) -> None:
        """Remove all that is stored of a video, so that it is extracted again."""
        self._plain().forget(video)

    def write_frames(self, video: str, table: FrameTable) -> None:
        """Store the frame times of a video; its features follow."""
        self._plain().write_frames(video, table)

    def write_features(
        self, feature_set: str, video: str, features: VideoFeatures, source_sha256: str
    ) -> None:
        """Store the rows of a video, which have to be finite; the mark of completeness is written last."""
        layout, channels = self._plain(), self.identity(feature_set).channels
        width, dtype = features.values.shape[1], features.values.dtype
        if width != channels:
            raise StoreError(f"'{video}' has {width} channels, feature set '{feature_set}' has {channels}.")
        if not features.finite:
            hint = "store them with --dtype float32, or check the network's weights"
            raise StoreError(f"features '{feature_set}' of '{video}' are not finite as {dtype}; {hint}.")
        layout.write_features(feature_set, video, features, source_sha256)

    def read(self, feature_set: str, video: str, checked: bool = False) -> VideoFeatures:
        """Return the rows of a video, as read-only maps of the files of a local store.

        If `checked`, checksums are compared, as `verify` does; over a network they always are.
        """
        info = self.layout.stored(feature_set, video)
        if info is None:
            self.identity(feature_set)
            where = f"feature set '{feature_set}' of '{self.path}'"
            raise StoreError(f"video '{video}' is not complete in {where}; run `vqafeat extract` again.")
        with translate_network_errors(self.path):
            return self.layout.read(feature_set, info, checked)

    def seconds(self, video: str) -> npt.NDArray[np.float64] | None:
        """Return (frame,) presentation times in seconds; None if the features were imported without them."""
        return None if self.source(video) is None else self.layout.seconds(video)

    def times_problem(self, video: str) -> str:
        """Return why the times of a video's frames cannot be used, or an empty text."""
        source = self.source(video)
        return "" if source is None else times_problem(self.layout.seconds(video), source)

    def _plain(self) -> PlainLayout:
        if not isinstance(self.layout, PlainLayout):
            raise StoreError(f"'{self.path}' is packed; `vqafeat unpack {self.path}` makes it writable.")
        return self.layout


def open_store(path: StorePath | str) -> FeatureStore:
    """Open a feature store, for example `features/konvid.zarr` or `s3://bucket/features/konvid.zarr`."""
    return FeatureStore.open(path)


def _open_root(path: StorePath, mode: Literal["r", "r+"]) -> zarr.Group:
    if not (path / "zarr.json").is_file():
        if path.with_name(f"{path.name}.old").exists():
            problem = f"no feature store at '{path}': packing was stopped and left it as '{path.name}.old'"
            raise StoreError(f"{problem}; run `vqafeat pack` or `vqafeat unpack` again.")
        near = ", ".join(sorted(map(str, {*stores_in(path.parent), *stores_in(path)} - {path}))) or "none"
        hint = "give the path of a store, or make one with `vqafeat extract`"
        problem = "is no feature store" if path.exists() else "does not exist"
        raise StoreError(f"'{path}' {problem} (stores in this folder: {near}); {hint}.")
    try:
        return open_root(path, mode)
    except ValueError as error:
        next_step = "delete this file and extract again, which keeps the features; copy a packed store again"
        raise StoreError(f"'{path / 'zarr.json'}' is damaged ({error}); {next_step}.") from error


def _from_json(number: float | None) -> float:
    return nan if number is None else number


def label_attributes(dataset: Dataset) -> dict[str, Any]:
    """Return what a store keeps of a data set's labels, as JSON values."""
    attributes = {name: getattr(dataset, name) for name in _LABEL_ATTRIBUTES}
    columns = {
        name: [getattr(video, field) for video in dataset.videos] for name, field in _LABEL_COLUMNS.items()
    }
    return without_nan({**attributes, "mos_range": list(dataset.mos_range), "columns": columns})  # type: ignore[no-any-return]
