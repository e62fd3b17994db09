"""Features that others computed, brought into a store with their provenance: VSFA's folders and per-video
matrices.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.matlab import mat5_contents
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.store import FeatureStore
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures

UNKNOWN = "unknown"
VSFA_FEATURE_SET = "resnet50"
_VSFA_FILE = re.compile(r"(\d+)_resnet-50_res5c\.npy")
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought in; `left_out` names the videos whose rows are not finite."""

    feature_set: str
    imported: int
    channels: int
    left_out: tuple[str, ...]


def vsfa_dataset(folder: Path, name: str) -> Dataset:
    """Return the data set that a VSFA feature folder describes by itself: videos named by their index, MOS
    from `*_score.npy`.

    Raises:
        DatasetError: the folder holds no such features, or a score is missing or not finite.
    """
    videos = tuple(
        Video(name=str(index), mos=_score(folder, index), content=str(index))
        for index in vsfa_indices(folder)
    )
    scores = [video.mos for video in videos]
    digest = sha256(repr([(video.name, video.mos) for video in videos]).encode()).hexdigest()
    return Dataset(
        name,
        f"{name} (imported VSFA features)",
        "MOS",
        (min(scores), max(scores)),
        videos,
        "*_score.npy",
        digest,
    )


def vsfa_indices(folder: Path) -> list[int]:
    """Return the indices of the videos in a folder of `<index>_resnet-50_res5c.npy` files, ascending."""
    found = sorted(
        int(match.group(1)) for path in folder.glob("*.npy") if (match := _VSFA_FILE.fullmatch(path.name))
    )
    if not found:
        raise DatasetError(
            f"'{folder}' holds no file named <index>_resnet-50_res5c.npy; name the folder that VSFA's "
            f"CNNfeatures.py wrote."
        )
    return found


def import_vsfa(folder: Path, dataset: Dataset, store: FeatureStore) -> ImportSummary:
    """Bring a VSFA feature folder into a store as feature set `resnet50`, in the precision it was saved in.

    Args:
        dataset: from `vsfa_dataset`, or a published one whose label list has the folder's order; scores are
            compared with its MOS.

    Raises:
        DatasetError: an index is beyond the label list, a score is another video's, or a file is no (frame,
            channel) array.
    """
    indices = vsfa_indices(folder)
    own_names = {video.name for video in dataset.videos} == {str(index) for index in indices}
    raw_name = (
        {int(video.name): video for video in dataset.videos} if own_names else dict(enumerate(dataset.videos))
    )
    videos = {index: raw_name[index] for index in indices if index in raw_name}
    strangers = [index for index in indices if index not in videos]
    strangers += [
        index for index, video in videos.items() if abs(_score(folder, index) - video.mos) > _SCORE_TOLERANCE
    ]
    if strangers:
        raise DatasetError(
            f"{len(strangers)} of {len(indices)} scores in '{folder}' are not those of '{dataset.name}' "
            f"({dataset.label_list}) "
            f"at the same index (first: {strangers[:3]}); name the label list that the features were made "
            f"with by --labels, "
            "or give --dataset a name of its own."
        )
    rows = ((videos[index].name, _array(folder / f"{index}_resnet-50_res5c.npy")) for index in indices)
    _check_widths(folder, indices)
    digest = sha256()
    for index in indices:
        digest.update(_file_sha256(folder / f"{index}_resnet-50_res5c.npy").encode())
    identity = _identity(
        "resnet50",
        f"import vsfa {folder.name}",
        digest.hexdigest(),
        taps=("layer4",),
        pooling="GAP ‖ unbiased GSP",
        frame_rule="every frame",
    )
    return _import_rows(store, VSFA_FEATURE_SET, identity, rows)


def import_matrix(
    path: Path, dataset: Dataset, store: FeatureStore, feature_set: str, key: str | None = None
) -> ImportSummary:
    """Bring a (video, channel) matrix of a .mat file, in the order of the data set's label list, into a
    store: one row a video.

    Raises:
        DatasetError: the file holds no such matrix, or it has another number of rows than the label list.
    """
    matrix = read_matrix(path, key)
    if len(matrix) != len(dataset.videos):
        raise DatasetError(
            f"matrix in '{path}' has {len(matrix)} rows, '{dataset.name}' has {len(dataset.videos)} videos "
            f"in {dataset.label_list}; "
            "name the label list the matrix was made with by --labels."
        )
    _refuse_reserved(feature_set)
    identity = _identity(
        feature_set,
        f"import mat {path.name}",
        _file_sha256(path),
        taps=(),
        pooling="one row a video",
        frame_rule="one row a video",
    )
    rows = ((video.name, row[np.newaxis]) for video, row in zip(dataset.videos, matrix, strict=True))
    return _import_rows(store, feature_set, identity, rows)


def read_matrix(path: Path, key: str | None = None) -> npt.NDArray[np.float32]:
    """Return the (video, channel) matrix of a MATLAB file, version 5 or 7.3, as float32.

    Args:
        key: the variable's name; may be left out where the file holds one matrix only.
    """
    if not path.is_file():
        raise DatasetError(
            f"matrix file '{path}' does not exist; name a .mat file with a (video, channel) matrix."
        )
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            # MATLAB writes columns first
            arrays = {
                name: np.asarray(item).T
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and item.ndim == 2
            }
    else:
        contents = mat5_contents(path)
        arrays = {
            name: item
            for name, item in contents.items()
            if not name.startswith("__") and getattr(item, "ndim", 0) == 2
        }
    arrays = {name: item for name, item in arrays.items() if np.issubdtype(item.dtype, np.floating)}
    if key is None and len(arrays) == 1:
        key = next(iter(arrays))
    if key not in arrays:
        raise DatasetError(
            f"--key {key} is no matrix of floating-point numbers in '{path}'; there are: "
            f"{', '.join(sorted(arrays)) or 'none'}."
        )
    return arrays[key].astype(np.float32)


def _import_rows(
    store: FeatureStore,
    feature_set: str,
    identity: dict[str, Any],
    rows: Iterator[tuple[str, npt.NDArray[Any]]],
) -> ImportSummary:
    with store.exclusive():
        return _write_rows(store, feature_set, identity, rows)


def _write_rows(
    store: FeatureStore,
    feature_set: str,
    identity: dict[str, Any],
    rows: Iterator[tuple[str, npt.NDArray[Any]]],
) -> ImportSummary:
    imported, channels, left_out = 0, 0, []
    for video, values in rows:
        if not channels:
            channels = values.shape[1]
            store.add_feature_set(feature_set, FeatureSetIdentity(**identity, channels=channels))
        if not np.isfinite(values).all():
            left_out.append(video)
            continue
        store.write_features(
            feature_set,
            video,
            VideoFeatures(values, np.arange(len(values), dtype=np.int32)),
            source_sha256="",
        )
        imported += 1
    return ImportSummary(feature_set, imported, channels, tuple(left_out))


def _check_widths(folder: Path, indices: list[int]) -> None:
    """Refuse a folder whose arrays are not all (frame, channel) of one width, before anything is written."""
    widths = {index: _loaded(folder / f"{index}_resnet-50_res5c.npy", mapped=True).shape for index in indices}
    width = widths[indices[0]][-1]
    for index, shape in widths.items():
        if len(shape) != 2 or shape[0] == 0 or shape[1] != width:
            path = folder / f"{index}_resnet-50_res5c.npy"
            raise DatasetError(
                f"'{path}' has shape {shape}, expected (frame, {width}) as in the first file; copy it "
                f"again, or remove it."
            )


def _identity(network: str, origin: str, imported_sha256: str, **known: Any) -> dict[str, Any]:
    fields = dict.fromkeys(("view", "normalisation", "decoder"), UNKNOWN)
    # nothing is known of the weights, but features of another file are other features
    weights = f"{UNKNOWN}; imported from SHA-256 {imported_sha256}"
    return {
        **fields,
        "network": network,
        "weights_sha256": weights,
        "origin": origin,
        "precision": "as imported",
        "weights": UNKNOWN,
        **known,
    }


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _refuse_reserved(feature_set: str) -> None:
    if set("+@") & set(feature_set):
        raise ArgumentError(
            f"--name '{feature_set}' holds + or @, which join feature sets and name views; choose another "
            f"name."
        )


def _score(folder: Path, index: int) -> float:
    path = folder / f"{index}_score.npy"
    if not path.is_file():
        raise DatasetError(f"'{path}' is missing beside its features; copy the score files too.")
    score = float(_loaded(path).ravel()[0])
    if not np.isfinite(score):
        raise DatasetError(f"'{path}' holds {score}, no score; mend it, or remove this video's two files.")
    return score


def _loaded(path: Path, mapped: bool = False) -> npt.NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(f"'{path}' is no NumPy file or is damaged ({error}); copy it again.") from error


def _array(path: Path) -> npt.NDArray[Any]:
    values = _loaded(path)
    return values if values.dtype == np.float16 else values.astype(np.float32)
