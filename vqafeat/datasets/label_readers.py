"""Label readers: delimited tables, workbooks, headerless lists, and MATLAB files."""

import csv
import math
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from vqafeat.datasets.dataset import are_permutations
from vqafeat.errors import DatasetError
from vqafeat.io import duplicates, read_text_limited, summarize
from vqafeat.registry import Registry
from vqafeat.schema import Texts


@dataclass(frozen=True)
class LabelRow:
    """One row of a label list, unchecked: `load_dataset` counts and names all wrong rows in one message."""

    raw_name: str  # the video's name in this list
    mos: float  # NaN if the cell is empty
    content: str | None = None
    split: str | None = None
    path: Path | None = None  # where the list says that the file is, if it says so


@dataclass(frozen=True)
class LabelRows:
    """All rows of a label list, and the permutations stored with it."""

    rows: tuple[LabelRow, ...]
    permutations: npt.NDArray[np.int64] | None = None  # zero-based row indices (video, run)
    note: str = ""  # which columns were taken for what, where they are not the documented ones


@dataclass(frozen=True)
class LabelReader:
    """A function that reads a label file, and the dataclass of the options that a manifest gives it."""

    options: type[Any]
    read: Callable[[Path, Any], LabelRows]


@dataclass(frozen=True)
class NoOptions:
    """The options of a reader that has none."""


LABEL_READERS: Registry[LabelReader] = Registry("label reader")


def label_error(path: Path, message: str) -> DatasetError:
    """Return the error of a label file."""
    return DatasetError(f"label file '{path}': {message}.")


def text_of(path: Path) -> str:
    """Return the text of a label file in UTF-8, or in UTF-16 with a byte order mark."""
    try:
        with path.open("rb") as file:
            is_utf16 = file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE)
        return read_text_limited(path, "utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise label_error(
            path, f"it is not {'UTF-16' if is_utf16 else 'UTF-8'} text ({where}); save it as UTF-8 CSV"
        ) from error
    except OSError as error:
        message = f"it cannot be read ({error.strerror}); give the path of a file with --labels"
        raise label_error(path, message) from error


def parsed_scores(cells: Iterable[tuple[int, str]], path: Path, decimal: str = ".") -> list[float]:
    """Return the labels of (line number, text) cells; an empty cell is NaN."""
    scores, bad = list[float](), list[str]()
    for line, cell in cells:
        text = cell.strip().replace(decimal, ".")
        try:
            scores.append(float(text) if text else math.nan)
        except ValueError:
            bad.append(f"line {line} '{cell}'")
    if bad:
        raise label_error(path, f"{len(bad)} labels are not numbers: {summarize(bad)}; correct these rows")
    return scores


@dataclass(frozen=True)
class Table:
    """A delimited file or a sheet: column names, and (line number, cells) of each row that is not blank."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True)
class TableOptions:
    """The columns of a label table; of several names for a column, the first that the file has is read."""

    video: Texts
    mos: Texts
    content: Texts = ()  # column of the content group
    # column of the official part; `split_values` translates its cells, as {"True": "test"}
    split_column: Texts = ()
    split_values: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","
    decimal: str = "."  # decimal mark of the labels
    # column → its smallest value; rows below it are left out
    at_least: Mapping[str, float] = field(default_factory=dict)
    leave_out: Texts = ()  # names, as in the column of videos, whose rows are left out

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or len(self.decimal) != 1:
            marks = f"delimiter '{self.delimiter}' and decimal '{self.decimal}'"
            raise DatasetError(f"{marks} must be one character each.")


def read_table(path: Path, delimiter: str = ",", text: str | None = None) -> Table:
    """Return the table in a delimited file, or in its `text` if that is given, without blank rows."""
    text = text_of(path) if text is None else text
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        numbered = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        problem = f"it is not a CSV ({error})"
        raise label_error(path, f"{problem}; save it again with '{delimiter}' between cells") from error
    lines = [(number, cells) for number, cells in numbered if any(cells)]
    if not lines:
        raise label_error(path, "it is empty; its first line must name the columns")
    (_, header), *rows = lines
    if twice := duplicates(filter(None, header)):
        raise label_error(path, f"it has more than one column {summarize(twice)}; name each column once")
    if wide := [str(number) for number, cells in rows if any(cells[len(header) :])]:
        problem = f"{len(wide)} rows have more cells than columns: lines {summarize(wide)}"
        raise label_error(path, f"{problem}; quote cells that hold '{delimiter}'")
    padding = ("",) * len(header)
    return Table(tuple(header), tuple((number, (*cells, *padding)[: len(header)]) for number, cells in rows))


def column_of(table: Table, names: tuple[str, ...], path: Path) -> int:
    """Return the position of the first of these columns that the table has."""
    for name in names:
        if name in table.header:
            return table.header.index(name)
    message = f"it has no column {' or '.join(names)} (it has {', '.join(table.header)})"
    raise label_error(path, f"{message}; it is another list, or another release of it")


def labelled_rows(table: Table, path: Path, options: TableOptions) -> LabelRows:
    """Return the labels in a table that was read from `path`."""
    rows = list(table.rows)
    for name, least in options.at_least.items():
        column = column_of(table, (name,), path)
        values = parsed_scores(((line, cells[column]) for line, cells in rows), path)
        rows = [row for row, value in zip(rows, values, strict=True) if value >= least]
    video, mos = column_of(table, options.video, path), column_of(table, options.mos, path)
    rows = [row for row in rows if row[1][video] not in options.leave_out]
    content = column_of(table, options.content, path) if options.content else None
    split = column_of(table, options.split_column, path) if options.split_column else None
    scores = parsed_scores(((line, cells[mos]) for line, cells in rows), path, options.decimal)
    labelled = list[LabelRow]()
    for (_, cells), score in zip(rows, scores, strict=True):
        group = "" if content is None else cells[content]
        part = "" if split is None else options.split_values.get(cells[split], cells[split])
        labelled.append(LabelRow(cells[video], score, group or None, part or None))
    return LabelRows(tuple(labelled))


def _read_label_table(path: Path, options: TableOptions) -> LabelRows:
    return labelled_rows(read_table(path, options.delimiter), path, options)


_LARGEST_PART_BYTES = 64 << 20  # SPAQ's sheet has 3 MB; what unpacks to more is not a label file


def read_workbook(path: Path) -> Table:
    """Return the first sheet of an .xlsx or .xls workbook, whose first row names the columns, as text."""
    read = _xls_rows if path.suffix.lower() == ".xls" else _xlsx_rows
    try:
        numbered = enumerate(read(path), start=1)
        rows = [(number, tuple(map(_cell_text, cells))) for number, cells in numbered]
    except DatasetError:
        raise
    except OSError as error:
        raise label_error(path, f"it cannot be read ({error.strerror or error})") from error
    except Exception as error:  # damaged bytes make the parsers raise anything
        message = f"it is not an Excel workbook ({error}); give the workbook as the data set ships it"
        raise label_error(path, message) from error
    rows = [(number, cells) for number, cells in rows if any(cells)]
    if not rows:
        raise label_error(path, "the first sheet is empty; its first row must name the columns")
    width = max(len(cells) for _, cells in rows)
    padded = [(number, (*cells, *("",) * (width - len(cells)))) for number, cells in rows]
    return Table(padded[0][1], tuple(padded[1:]))


def _xlsx_rows(path: Path) -> list[tuple[object, ...]]:
    from openpyxl import load_workbook  # type: ignore[import-untyped]  # costs 0.1 s

    with ZipFile(path) as parts:
        for part in parts.infolist():
            if part.file_size > _LARGEST_PART_BYTES:
                most = f"{_LARGEST_PART_BYTES >> 20} MiB"
                raise label_error(
                    path, f"'{part.filename}' unpacks to more than {most}; it is not a label file"
                )
            if b"<!DOCTYPE" in parts.read(part):  # Excel writes none; its entities could grow without bound
                next_step = "save the workbook again with Excel or LibreOffice"
                raise label_error(path, f"'{part.filename}' declares a document type; {next_step}")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about styles
        sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones
        return list(sheet.iter_rows(values_only=True))


def _xls_rows(path: Path) -> list[list[object]]:
    import xlrd  # type: ignore[import-untyped]

    sheet = xlrd.open_workbook(file_contents=path.read_bytes(), logfile=StringIO()).sheet_by_index(0)
    errors = xlrd.error_text_from_code
    return [
        [errors[cell.value] if cell.ctype == xlrd.XL_CELL_ERROR else cell.value for cell in row]
        for row in sheet.get_rows()
    ]


def _cell_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def read_lines(path: Path, _options: NoOptions) -> LabelRows:
    """Return the rows of a list without a header; its durations and frame rates are not used."""
    numbered = enumerate(text_of(path).splitlines(), start=1)
    rows = [(number, line.rsplit(",", 3)) for number, line in numbered if line.strip()]
    if short := [str(number) for number, cells in rows if len(cells) < 4]:
        message = f"{len(short)} lines are not 'path, duration, fps, MOS': lines {summarize(short)}"
        raise label_error(path, f"{message}; correct them")
    scores = parsed_scores(((number, cells[3]) for number, cells in rows), path)
    names = [cells[0].strip() for _, cells in rows]
    return LabelRows(tuple(map(LabelRow, names, scores)))


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
    rows = _rows(names, scores, path)
    # a run is a column, whichever way round MATLAB wrote the matrix
    for matrix in (index, index.T):
        if are_permutations(matrix - 1, len(rows)):
            return LabelRows(rows, np.ascontiguousarray(matrix, dtype=np.int64) - 1)
    problem = f"index of shape {index.shape} holds no permutations of 1 to {len(rows)}"
    raise label_error(path, f"{problem}; the file is damaged, fetch it again")


def read_mat5(path: Path, options: Mat5Options) -> LabelRows:
    """Return names and labels of a MATLAB file older than version 7.3."""
    names, scores = mat5_variables(path, options.video, options.mos)
    return LabelRows(_rows([str(name).strip() for name in names], scores, path))


def mat5_variables(path: Path, *dotted: str) -> list[npt.NDArray[Any]]:
    """Return variables (element,) of a MATLAB file older than version 7.3; a dot steps into a structure."""
    variables, arrays = mat5_contents(path, simplify_cells=True), []
    for name in dotted:
        value: Any = variables
        for step in name.split("."):
            known = [key for key in value if not key.startswith("__")] if isinstance(value, dict) else []
            if step not in known:
                lacks = f"it has no variable '{name}' ('{step}' is not among: {', '.join(known)})"
                raise label_error(path, f"{lacks}; give the list that the manifest names")
            value = value[step]
        arrays.append(np.ravel(value))
    return arrays


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


def _rows(names: list[str], scores: npt.NDArray[Any], path: Path) -> tuple[LabelRow, ...]:
    if len(names) != len(scores):
        counts = f"it has {len(names)} names but {len(scores)} labels"
        raise label_error(path, f"{counts}; the file is damaged, fetch it again")
    return tuple(map(LabelRow, names, map(float, scores)))


LABEL_READERS.add("table", LabelReader(TableOptions, _read_label_table))
LABEL_READERS.add("path-duration-fps-mos", LabelReader(NoOptions, read_lines))
LABEL_READERS.add("info-mat", LabelReader(NoOptions, read_info_mat))
LABEL_READERS.add("mat5", LabelReader(Mat5Options, read_mat5))
