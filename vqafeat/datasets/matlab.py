"""MATLAB files: the released `*info.mat` (version 7.3, which is HDF5), and the older ones that data sets ship
(version 5).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets.label_readers import LABEL_READERS, LabelReader, LabelRow, LabelRows, NoOptions
from vqafeat.errors import DatasetError


@dataclass(frozen=True)
class Mat5Options:
    """Where names and labels lie in a MATLAB 5 file.

    Attributes:
        video: variable with the names; a dot steps into a structure, for example
            "qualcommVideoData.vidNames".
        mos: variable with the labels, likewise.
    """

    video: str
    mos: str


def read_info_mat(path: Path, _options: NoOptions) -> LabelRows:
    """Return names, labels and permutations of an `*info.mat`.

    Source: the files released with VSFA (Li et al. 2019) and TCSVT-2022-BVQA, and VSFA.py, which takes
        `index[:, run]` with h5py's view of
    the matrix. Frame rates, reference ids and frame counts in these files are not used.

    Raises:
        DatasetError: it is no HDF5 file, lacks a variable, or its variables differ in length.
    """
    import h5py  # here and not above: processes that only decode need neither of the MATLAB readers

    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in ("video_names", "scores", "index") if key not in file]
            if missing:
                raise DatasetError(
                    f"label file '{path}' has no variable {' and '.join(missing)} (it has "
                    f"{', '.join(file)}); it is no *info.mat."
                )
            names = [
                "".join(map(chr, np.ravel(file[reference][()])))
                for reference in np.ravel(file["video_names"][()])
            ]
            scores = np.ravel(file["scores"][()]).astype(np.float64)
            index = np.asarray(file["index"][()])
    except OSError as error:
        raise DatasetError(
            f"label file '{path}' is no MATLAB 7.3 (HDF5) file; give the released *info.mat as it is "
            f"({error})."
        ) from error
    return LabelRows(_rows(names, scores, path), _permutations(index, len(names), path))


def _permutations(index: npt.NDArray[Any], rows: int, path: Path) -> npt.NDArray[np.int64]:
    """Return zero-based permutations, column = run, whichever way round MATLAB wrote the matrix."""
    wanted = np.arange(1, rows + 1)
    for matrix in (index, index.T):
        if (
            matrix.ndim == 2
            and matrix.shape[0] == rows
            and (np.sort(matrix, axis=0) == wanted[:, None]).all()
        ):
            return np.ascontiguousarray(matrix, dtype=np.int64) - 1
    raise DatasetError(
        f"label file '{path}': index of shape {index.shape} holds no permutations of 1 to {rows}; the file "
        f"is damaged, fetch it again."
    )


def read_mat5(path: Path, options: Mat5Options) -> LabelRows:
    """Return names and labels of a MATLAB file older than version 7.3.

    Raises:
        DatasetError: it is no such file, lacks a variable, or names and labels differ in number.
    """
    names, scores = mat5_variables(path, options.video, options.mos)
    return LabelRows(_rows([str(name).strip() for name in names], scores.astype(np.float64), path))


def mat5_variables(path: Path, *dotted: str) -> list[npt.NDArray[Any]]:
    """Return the named variables of a MATLAB file older than version 7.3, (element,) each; a dot steps into a
    structure.

    Raises:
        DatasetError: it is no such file, is cut short, or lacks a variable.
    """
    variables = mat5_contents(path, simplify_cells=True)
    return [np.ravel(_variable(variables, name, path)) for name in dotted]


def mat5_contents(path: Path, simplify_cells: bool = False) -> dict[str, Any]:
    """Return all variables of a MATLAB file older than version 7.3, as `scipy.io.loadmat` has them.

    Raises:
        DatasetError: it cannot be opened, is no such file, or is damaged.
    """
    from scipy.io import loadmat

    try:
        path.open("rb").close()  # what the disk refuses is not damage; the parser raises OSError for both
    except OSError as error:
        raise DatasetError(
            f"'{path}' cannot be read ({error.strerror}); give the path of a .mat file that can be."
        ) from error
    try:
        found: dict[str, Any] = loadmat(path, simplify_cells=simplify_cells)
    except Exception as error:
        # SciPy's parser meets damaged bytes with whatever they lead it to, down to UnboundLocalError: no list
        # of kinds is complete
        raise DatasetError(
            f"'{path}' is no MATLAB file of version 7.2 or older, or is damaged ({type(error).__name__}: "
            f"{error}); "
            "give the file as the data set ships it."
        ) from error
    return found


def _variable(variables: Any, dotted: str, path: Path) -> npt.NDArray[Any]:
    found = variables
    for step in dotted.split("."):
        if not isinstance(found, dict) or step not in found:
            there = (
                ", ".join(key for key in found if not key.startswith("__"))
                if isinstance(found, dict)
                else "no structure"
            )
            raise DatasetError(
                f"label file '{path}' has no variable '{dotted}' ('{step}' is not among: {there}); it is "
                f"another list."
            )
        found = found[step]
    return np.asarray(found)


def _rows(names: list[str], scores: Iterable[float], path: Path) -> tuple[LabelRow, ...]:
    values = [float(score) for score in scores]
    if len(names) != len(values):
        raise DatasetError(
            f"label file '{path}' has {len(names)} names but {len(values)} labels; the file is damaged, "
            f"fetch it again."
        )
    return tuple(LabelRow(name, value) for name, value in zip(names, values, strict=True))


LABEL_READERS.add("info-mat", LabelReader(NoOptions, read_info_mat))
LABEL_READERS.add("mat5", LabelReader(Mat5Options, read_mat5))
