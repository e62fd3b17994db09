"""Import features that others computed: the folders of VSFA and of Li et al., and MATLAB matrices."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import nan
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from vqafeat.backbones import BACKBONES
from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.label_readers import mat5_contents
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import file_sha256
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore
from vqafeat.store.export import FUSED_ENDING, MDTVSFA_ENDING, VSFA_ENDING
from vqafeat.store.features import FUSION_SIGN
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures

UNKNOWN = "unknown"
_Columns = tuple[str, slice, str, str]  # feature set, its channels in the files, tap, frame rule
_RESNET50: tuple[_Columns, ...] = (("resnet50", slice(None), "layer4", "every frame"),)
# what follows the index in the names of released feature files → what they hold: CNNfeatures.py of VSFA and
# MDTVSFA, and CNNfeatures_Fusion.py of Li et al., which joins 32 of each 64 frames
_RELEASED: dict[str, tuple[_Columns, ...]] = {
    VSFA_ENDING: _RESNET50,
    MDTVSFA_ENDING: _RESNET50,
    FUSED_ENDING: (
        ("iqa-resnet50", slice(4096), "layer4", "32 of 64 frames"),
        ("slowfast-fast", slice(4096, None), "res5", "32 of 64 frames"),
    ),
}
_FILE = re.compile(rf"(\d+)({'|'.join(map(re.escape, _RELEASED))})")
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ImportSummary:
    """Counts of an import; `left_out` names the videos whose rows are not finite."""

    feature_set: str
    imported: int
    channels: int
    left_out: tuple[str, ...]


def vsfa_dataset(folder: Path, name: str) -> Dataset:
    """Return the data set of a feature folder: videos named by their index, MOS from `*_score.npy`."""
    scores = {str(index): _score(folder, index) for index in _released_files(folder)[1]}
    return Dataset(
        name,
        title=f"{name} (imported VSFA features)",
        score_name="MOS",
        mos_range=(min(scores.values()), max(scores.values())),
        videos=tuple(Video(name=index, mos=mos, content=index) for index, mos in scores.items()),
        label_list="*_score.npy",
        digest=sha256(repr(list(scores.items())).encode()).hexdigest(),
    )


def _released_files(folder: Path) -> tuple[str, dict[int, Path]]:
    """Return how the names of a folder's feature files end, and the files by index, ascending."""
    matches = [match for path in folder.glob("*.npy") if (match := _FILE.fullmatch(path.name))]
    endings = {match[2] for match in matches}
    if endings == {VSFA_ENDING, MDTVSFA_ENDING}:
        endings = {VSFA_ENDING}  # `vqafeat export` writes the same features under both names
    known = " or ".join(f"<index>{ending}" for ending in _RELEASED)
    if not endings:
        raise DatasetError(f"'{folder}' holds no file named {known}; name the folder of VSFA or Li et al.")
    if len(endings) > 1:
        raise DatasetError(f"'{folder}' holds files named {known}; move those of one kind elsewhere.")
    (ending,) = endings
    return ending, dict(sorted((int(match[1]), folder / match[0]) for match in matches if match[2] == ending))


def import_vsfa(folder: Path, dataset: Dataset, store: FeatureStore | StorePath) -> ImportSummary:
    """Import a folder of released features, in the precision in which they were saved.

    VSFA's become `resnet50`, those of Li et al. `iqa-resnet50` and `slowfast-fast`. The data set is that of
    `vsfa_dataset`, or a published one whose label list has the folder's order, and its scores as MOS. A store
    at a path is made once nothing more is refused.
    """
    ending, paths = _released_files(folder)
    known = dict(enumerate(dataset.videos))
    if {video.name for video in dataset.videos} == set(map(str, paths)):
        known = {int(video.name): video for video in dataset.videos}
    wrong = [
        index
        for index in paths
        if index not in known or abs(_score(folder, index) - known[index].mos) > _SCORE_TOLERANCE
    ]
    if wrong:
        problem = f"{len(wrong)} of {len(paths)} scores in '{folder}' are not those of '{dataset.name}'"
        hint = "name the label list of the features by --labels, or give --dataset another name"
        raise DatasetError(f"{problem} in {dataset.label_list} (first: {wrong[:3]}); {hint}.")
    width = _checked_width(list(paths.values()), _RELEASED[ending])
    digest = sha256("".join(map(file_sha256, paths.values())).encode()).hexdigest()
    store, summaries = _created(store, dataset), list[ImportSummary]()
    for feature_set, columns, tap, frame_rule in _RELEASED[ending]:
        rows = ((known[index].name, _loaded(path)[:, columns]) for index, path in paths.items())
        identity = _identity(
            feature_set,
            digest,
            taps=(tap,),
            pooling="GAP ‖ unbiased GSP",
            frame_rule=frame_rule,
            channels=len(range(width)[columns]),
            origin=f"import vsfa {folder.name}",
        )
        summaries.append(_import_rows(store, identity, rows))
    left_out = dict.fromkeys(video for summary in summaries for video in summary.left_out)
    names = FUSION_SIGN.join(summary.feature_set for summary in summaries)
    return ImportSummary(names, min(summary.imported for summary in summaries), width, tuple(left_out))


def import_matrix(
    path: Path,
    dataset: Dataset,
    store: FeatureStore | StorePath,
    feature_set: str | None = None,
    key: str | None = None,
) -> ImportSummary:
    """Import a (video, channel) matrix of a .mat file, in the order of the label list: one row a video.

    A store at a path is made once nothing more is refused. Without a name, the feature set is called as a
    network if the file's name and width agree on one, else as the file.
    """
    matrix = read_matrix(path, key)
    feature_set = feature_set or _name_of_network(path.stem, matrix.shape[1]) or path.stem
    if len(matrix) != len(dataset.videos):
        videos = f"'{dataset.name}' has {len(dataset.videos)} videos in {dataset.label_list}"
        raise DatasetError(f"matrix in '{path}' has {len(matrix)} rows, {videos}; name its --labels.")
    if set("+@") & set(feature_set):
        raise ArgumentError(f"--name '{feature_set}' holds + or @, which are reserved; choose another.")
    identity = _identity(
        feature_set,
        file_sha256(path),
        taps=(),
        pooling="one row a video",
        frame_rule="one row a video",
        channels=matrix.shape[1],
        origin=f"import mat {path.name}",
    )
    rows = ((video.name, row[np.newaxis]) for video, row in zip(dataset.videos, matrix, strict=True))
    return _import_rows(_created(store, dataset), identity, rows)


def _created(store: FeatureStore | StorePath, dataset: Dataset) -> FeatureStore:
    return store if isinstance(store, FeatureStore) else FeatureStore.create(store, dataset)


def _name_of_network(stem: str, channels: int) -> str | None:
    """Return the feature set whose network a file's name contains, and whose rows have that many channels."""
    names = list[str]()
    for network in BACKBONES:
        words = r"[\W_]?".join(re.findall(r"[a-z]+|\d+", network))  # resnet50 is also ResNet-50
        if re.search(rf"(?<![a-z]){words}(?!\d)", stem.casefold()):
            backbone = BACKBONES.get(network)
            names += [
                f"{network}:{name}" if name else network
                for name, variant in backbone.variants.items()
                if backbone.row_channels(variant) == channels
            ][:1]
    return max(names, key=len, default=None)  # iqa-resnet50 rather than resnet50


def read_matrix(path: Path, key: str | None = None) -> npt.NDArray[np.float32]:
    """Return the (video, channel) variable `key`, or the only one, of a MATLAB file (5 or 7.3) as float32."""
    if not path.is_file():
        raise DatasetError(f"'{path}' does not exist; name a .mat file with a (video, channel) matrix.")
    if h5py.is_hdf5(path):
        try:
            with h5py.File(path) as file:
                # MATLAB writes columns first
                arrays = {name: np.asarray(item).T for name, item in file.items() if _is_matrix(item)}
        except OSError as error:
            raise DatasetError(f"'{path}' is damaged ({error}); copy it again.") from error
    else:
        arrays = {name: item for name, item in mat5_contents(path).items() if _is_matrix(item)}
    if key is None and len(arrays) == 1:
        key = next(iter(arrays))
    if key not in arrays:
        known = ", ".join(sorted(arrays)) or "none"
        given = "no --key is given" if key is None else f"--key {key} is no matrix of floats"
        raise DatasetError(f"{given}; those in '{path}' are: {known}.")
    return arrays[key].astype(np.float32)


def _is_matrix(item: Any) -> bool:
    return getattr(item, "ndim", 0) == 2 and np.issubdtype(item.dtype, np.floating)


def _identity(feature_set: str, imported_sha256: str, **known: Any) -> FeatureSetIdentity:
    """Return an identity of which the rest is unknown; the digest of the files tells imports apart."""
    unknown: dict[str, Any] = dict.fromkeys(("view", "normalisation", "decoder", "weights"), UNKNOWN)
    return FeatureSetIdentity(
        network=feature_set,
        weights_sha256=f"{UNKNOWN}; imported from SHA-256 {imported_sha256}",
        precision="as imported",
        **unknown,
        **known,
    )


def _import_rows(
    store: FeatureStore, identity: FeatureSetIdentity, rows: Iterable[tuple[str, npt.NDArray[Any]]]
) -> ImportSummary:
    feature_set, imported, left_out = identity.network, 0, []
    with store.exclusive():
        store.add_feature_set(feature_set, identity)
        for video, array in rows:
            values = array if array.dtype == np.float16 else array.astype(np.float32)
            if not np.isfinite(values).all():
                left_out.append(video)
                continue
            features = VideoFeatures(values, np.arange(len(values), dtype=np.int32))
            store.write_features(feature_set, video, features, source_sha256="")
            imported += 1
    return ImportSummary(feature_set, imported, identity.channels, tuple(left_out))


def _checked_width(paths: Sequence[Path], parts: Sequence[_Columns]) -> int:
    """Return the width of (frame, channel) arrays; refuse other ones before anything is written."""
    width = int(_loaded(paths[0], "r").shape[-1])
    for path in paths:
        shape = _loaded(path, "r").shape
        if len(shape) != 2 or shape[0] == 0 or shape[1] != width:
            raise DatasetError(f"'{path}' has shape {shape}, not (frame, {width}); copy it again.")
    if empty := [name for name, columns, *_ in parts if not range(width)[columns]]:
        problem = f"'{paths[0]}' has {width} channels, which leaves none for {empty[0]}"
        raise DatasetError(f"{problem}; give the files that CNNfeatures_Fusion.py wrote.")
    return width


def _score(folder: Path, index: int) -> float:
    path = folder / f"{index}_score.npy"
    if not path.is_file():
        raise DatasetError(f"'{path}' is missing next to its features; copy the score files too.")
    values = _loaded(path).ravel()
    score = float(values[0]) if len(values) else nan
    if not np.isfinite(score):
        raise DatasetError(f"'{path}' holds {score}, no score; correct it, or remove this video's two files.")
    return score


def _loaded(path: Path, mmap_mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    try:
        array = np.asarray(np.load(path, mmap_mode, allow_pickle=False))
        if array.dtype.kind not in "fiu":
            raise ValueError(f"it holds {array.dtype} in place of numbers")
        return array
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(f"'{path}' is no NumPy file or is damaged ({error}); copy it again.") from error
