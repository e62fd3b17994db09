"""Stored features as files that other programs read: NumPy, PyTorch, HDF5, Parquet, and VSFA's folder."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from vqafeat.datasets import Dataset, Video
from vqafeat.errors import ArgumentError
from vqafeat.io import write_csv, write_json
from vqafeat.registry import named
from vqafeat.remote import remove_tree
from vqafeat.store.features import (
    Seconds,
    complete_rows,
    fuse,
    load_features,
    only_feature_sets,
    split_feature_sets,
)
from vqafeat.store.store import FeatureStore
from vqafeat.store.types import VideoFeatures
from vqafeat.store.zarr_io import store_key

# the ends of the names of feature files that VSFA.py, MDTVSFA.py and Li et al.'s train.py read
VSFA_ENDING, MDTVSFA_ENDING = "_resnet-50_res5c.npy", "_ResNet-50_last_conv.npy"
FUSED_ENDING = "_SpatialMotion_last_conv.npy"
_PERMUTATIONS = 1000  # the columns of `index` in the released *info.mat


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote; `left_out` names the videos without complete features."""

    out: Path
    videos: int
    channels: int
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.videos < 1 or self.channels < 1:
            values = f"{self.videos} and {self.channels}"
            raise ArgumentError(f"an export has at least one video and channel, got {values}.")


@dataclass(frozen=True)
class _Source:
    """Videos of a store with their features, read one at a time with their checksums."""

    store: FeatureStore
    feature_sets: tuple[str, ...]
    dataset: Dataset
    seconds: Callable[[int], Seconds | None]

    def __iter__(self) -> Iterator[tuple[Video, VideoFeatures, Seconds | None]]:
        for row, video in enumerate(self.dataset.videos):
            parts = [self.store.read(name, video.name, checked=True) for name in self.feature_sets]
            yield video, fuse(parts, video.name), self.seconds(row)

    def description(self) -> dict[str, Any]:
        """Return the data set and the identities of the feature sets, as JSON values."""
        sets = {name: self.store.identity(name).as_dict() for name in self.feature_sets}
        labels = {name: getattr(self.dataset, name) for name in ("title", "score_name", "mos_range", "scale")}
        return {"dataset": self.dataset.name, **labels, "feature_sets": sets}


def export_features(
    store: FeatureStore, out: Path | str, format: str, feature_sets: str = "", skip_missing: bool = False
) -> ExportSummary:
    """Write a feature set, or several joined by `+`, in a format of `EXPORT_FORMATS`.

    Args:
        out: file (hdf5, parquet) or folder (npy, pt, vsfa) to make; it appears once it is whole.
        feature_sets: empty for the only one of the store.
        skip_missing: leave out videos without complete features instead of refusing them.
    """
    write, out = named("format", format, EXPORT_FORMATS), Path(out)
    if out.exists():
        raise ArgumentError(f"--out '{out}' exists already; name another path, or delete it.")
    feature_sets = feature_sets or only_feature_sets(store)
    videos = store.dataset.videos
    rows = complete_rows(store, feature_sets) if skip_missing else tuple(range(len(videos)))
    features = load_features(store, feature_sets, rows)
    left_out = [videos[row].name for row in sorted(set(range(len(videos))) - set(rows))]
    dataset = store.dataset.subset(rows) if left_out else store.dataset
    partial = out.with_name(f"{out.name}.partial")
    if partial.is_dir():
        remove_tree(partial)  # of an export that was stopped
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(_Source(store, split_feature_sets(feature_sets), dataset, features.seconds), partial)
    partial.rename(out)
    return ExportSummary(out, len(features), features.channels, tuple(left_out))


def _save_npy(path: Path, video: Video, features: VideoFeatures, seconds: Seconds | None) -> None:
    np.save(path, features.values)
    np.save(path.with_suffix(".frame.npy"), features.frame)
    if seconds is not None:
        np.save(path.with_suffix(".seconds.npy"), seconds)


def _save_pt(path: Path, video: Video, features: VideoFeatures, seconds: Seconds | None) -> None:
    arrays = {"features": features.values, "frame": features.frame, "seconds": seconds}
    tensors = {name: torch.tensor(array) for name, array in arrays.items() if array is not None}
    torch.save({**tensors, **_labels(video)}, path)


def _write_files(source: _Source, out: Path, ending: str, save: Callable[..., None]) -> None:
    """Write one file per video, videos.csv, which names them, and features.json."""
    out.mkdir()
    rows = list[Sequence[Any]]()
    for video, features, seconds in source:
        file = "/".join(map(store_key, video.name.split("/"))) + ending
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        save(out / file, video, features, seconds)
        rows.append((*_labels(video).values(), file, *features.values.shape))
    write_csv(out / "videos.csv", ("video", "mos", "content", "file", "rows", "channels"), rows)
    write_json(out / "features.json", source.description())


def _write_hdf5(source: _Source, out: Path) -> None:
    with h5py.File(out, "w") as file:
        file.attrs["description"] = json.dumps(source.description())
        for video, features, seconds in source:
            group = file.create_group(video.name)
            group.attrs.update(_labels(video))
            group["features"], group["frame"] = features.values, features.frame
            if seconds is not None:
                group["seconds"] = seconds


def _write_parquet(source: _Source, out: Path) -> None:
    """Write one row for each row of features, and one row group for each video.

    Values are float32, which holds float16 exactly: few programs read float16 in Parquet.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        install = "run `pip install 'vqafeat[parquet]'`"
        raise ArgumentError(f"--format parquet needs PyArrow; {install}.") from error
    channels = sum(source.store.identity(name).channels for name in source.feature_sets)
    schema = pa.schema(
        {
            "video": pa.string(),
            "mos": pa.float64(),
            "content": pa.string(),
            "frame": pa.int32(),
            "seconds": pa.float64(),
            "features": pa.list_(pa.float32(), channels),
        },
        metadata={"description": json.dumps(source.description())},
    )
    with ParquetWriter(out, schema, compression="zstd") as writer:
        for video, features, seconds in source:
            rows = len(features.values)
            repeated = [pa.repeat(pa.scalar(value), rows) for value in _labels(video).values()]
            times = pa.nulls(rows, pa.float64()) if seconds is None else pa.array(seconds)
            values = pa.FixedSizeListArray.from_arrays(features.values.astype(np.float32).ravel(), channels)
            writer.write_table(pa.table([*repeated, pa.array(features.frame), times, values], schema=schema))


def _write_vsfa(source: _Source, out: Path) -> None:
    """Write the folder and the `<data set>info.mat` that the released training scripts read.

    Source: the scripts of VSFA, MDTVSFA and TCSVT-2022-BVQA, which take the features of the video with the
    index `i` from `<i>_….npy`, its MOS from `<i>_score.npy`, and the splits from `index` and `ref_ids`.
    """
    source.dataset.require_labels()
    out.mkdir()
    endings = [VSFA_ENDING, MDTVSFA_ENDING] if len(source.feature_sets) == 1 else [FUSED_ENDING]
    longest = 0
    for index, (video, features, _) in enumerate(source):
        first, *others = [out / f"{index}{ending}" for ending in endings]
        np.save(first, features.values)
        for other in others:
            try:
                os.link(first, other)
            except OSError:  # a file system without links
                shutil.copyfile(first, other)
        np.save(out / f"{index}_score.npy", video.mos)
        longest = max(longest, len(features.values))
    _write_info_mat(out / f"{store_key(source.dataset.name)}info.mat", source.dataset, longest)


def _write_info_mat(path: Path, dataset: Dataset, longest: int) -> None:
    """Write names, labels and splits; `index` permutes `ref_ids`, so that no content is in two parts."""
    contents = dict.fromkeys(video.content for video in dataset.videos)
    numbers = {content: number for number, content in enumerate(contents, start=1)}
    references, index = list(range(1, len(dataset.videos) + 1)), dataset.stored_permutations
    if index is None:
        references = [numbers[video.content] for video in dataset.videos]
        rows = np.tile(np.arange(len(numbers), dtype=np.int32), (_PERMUTATIONS, 1))
        index = np.random.default_rng(0).permuted(rows, axis=1).T
    with h5py.File(path, "w") as file:
        names = file.create_dataset("video_names", (1, len(references)), h5py.ref_dtype)
        for row, video in enumerate(dataset.videos):
            letters = np.frombuffer(video.name.encode("utf-16-le"), np.uint16)[:, np.newaxis]
            names[0, row] = file.create_dataset(f"#refs#/{row}", data=letters).ref
        file["scores"] = np.array([[video.mos for video in dataset.videos]])
        file["ref_ids"], file["index"] = np.array([references], np.float64), index + 1
        file["max_len"] = np.array([[longest]])


def _labels(video: Video) -> dict[str, Any]:
    return {"video": video.name, "mos": video.mos, "content": video.content}


EXPORT_FORMATS: Mapping[str, Callable[[_Source, Path], None]] = {
    "npy": partial(_write_files, ending=".npy", save=_save_npy),
    "pt": partial(_write_files, ending=".pt", save=_save_pt),
    "hdf5": _write_hdf5,
    "parquet": _write_parquet,
    "vsfa": _write_vsfa,
}
