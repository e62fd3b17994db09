"""Label files of MATLAB: the released `*info.mat` (version 7.3, which is HDF5), and older versions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets.dataset import are_permutations
from vqafeat.datasets.label_readers import (
    LABEL_READERS,
    LabelReader,
    LabelRow,
    LabelRows,
    NoOptions,
    label_error,
)
from vqafeat.errors import DatasetError


@dataclass(frozen=True)
class Mat5Options:
    """The variables of names and labels; a dot steps into a structure, as "qualcommVideoData.vidNames"."""

    video: str
    mos: str


def read_info_mat(path: Path, _options: NoOptions) -> LabelRows:
    """Return the names, labels and permutations in an `*info.mat`.

    Source: the files released with VSFA (Li et al. 2019) and TCSVT-2022-BVQA, and VSFA.py, which takes
    `index[:, run]` with h5py's view of the matrix.
    """
    import h5py  # not above: decoding processes do not need it

    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in ("video_names", "scores", "index") if key not in file]
            if missing:
                lacks = f"it has no variable {' and '.join(missing)} (it has {', '.join(file)})"
                raise label_error(path, f"{lacks}; it is not an *info.mat")
            references = np.ravel(file["video_names"][()])
            names = ["".join(map(chr, np.ravel(file[reference][()]))) for reference in references]
            scores = np.ravel(file["scores"][()])
            index = np.asarray(file["index"][()])
    except OSError as error:
        message = f"it is not a MATLAB 7.3 (HDF5) file; give the released *info.mat as it is ({error})"
        raise label_error(path, message) from error
    return LabelRows(_rows(names, scores, path), _permutations(index, len(names), path))


def _permutations(index: npt.NDArray[Any], rows: int, path: Path) -> npt.NDArray[np.int64]:
    """Return zero-based permutations, one run per column, whichever way round MATLAB wrote the matrix."""
    for matrix in (index, index.T):
        if are_permutations(matrix - 1, rows):
            return np.ascontiguousarray(matrix, dtype=np.int64) - 1
    problem = f"index of shape {index.shape} holds no permutations of 1 to {rows}"
    raise label_error(path, f"{problem}; the file is damaged, fetch it again")


def read_mat5(path: Path, options: Mat5Options) -> LabelRows:
    """Return names and labels of a MATLAB file older than version 7.3."""
    names, scores = mat5_variables(path, options.video, options.mos)
    return LabelRows(_rows([str(name).strip() for name in names], scores, path))


def mat5_variables(path: Path, *dotted: str) -> list[npt.NDArray[Any]]:
    """Return variables (element,) of a MATLAB file older than version 7.3; a dot steps into a structure."""
    variables = mat5_contents(path, simplify_cells=True)
    return [np.ravel(_variable(variables, name, path)) for name in dotted]


def mat5_contents(path: Path, simplify_cells: bool = False) -> dict[str, Any]:
    """Return all variables of a MATLAB file older than version 7.3, as `scipy.io.loadmat` has them."""
    from scipy.io import loadmat

    try:
        path.open("rb").close()  # what the disk refuses is not damage; the parser raises OSError for both
    except OSError as error:
        next_step = "give the path of a readable .mat file"
        raise DatasetError(f"'{path}' cannot be read ({error.strerror}); {next_step}.") from error
    try:
        variables: dict[str, Any] = loadmat(path, simplify_cells=simplify_cells)
    except Exception as error:  # damaged bytes make SciPy's parser raise anything, even UnboundLocalError
        problem = f"'{path}' is not a MATLAB file of version 7.2 or older, or is damaged"
        next_step = "give the file as the data set ships it"
        raise DatasetError(f"{problem} ({type(error).__name__}: {error}); {next_step}.") from error
    return variables


def _variable(variables: Any, dotted: str, path: Path) -> npt.NDArray[Any]:
    value = variables
    for step in dotted.split("."):
        known = [key for key in value if not key.startswith("__")] if isinstance(value, dict) else []
        if step not in known:
            lacks = f"it has no variable '{dotted}' ('{step}' is not among: {', '.join(known)})"
            raise label_error(path, f"{lacks}; give the list that the manifest names")
        value = value[step]
    return np.asarray(value)


def _rows(names: list[str], scores: npt.NDArray[Any], path: Path) -> tuple[LabelRow, ...]:
    if len(names) != len(scores):
        counts = f"it has {len(names)} names but {len(scores)} labels"
        raise label_error(path, f"{counts}; the file is damaged, fetch it again")
    return tuple(map(LabelRow, names, map(float, scores)))


LABEL_READERS.add("info-mat", LabelReader(NoOptions, read_info_mat))
LABEL_READERS.add("mat5", LabelReader(Mat5Options, read_mat5))
