"""What a label reader returns, and the registry of readers."""

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from vqafeat.errors import DatasetError
from vqafeat.io import read_text_limited
from vqafeat.registry import Registry


@dataclass(frozen=True)
class LabelRow:
    """One row as the list has it; loading checks rows together, so that one message can count and name all
    bad ones.

    Attributes:
        listed: the video's name in this list.
        mos: the label; NaN where the cell is empty.
        content: the list's own group of the video, where it has one.
        split: the list's own part of the video, where it has one.
    """

    raw_name: str
    mos: float
    content: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class LabelRows:
    """All rows of a list.

    Attributes:
        rows: in the order of the list.
        permutations: (video, run) zero-based row indices, column = run; None where the list has none.
    """

    rows: tuple[LabelRow, ...]
    permutations: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class LabelReader:
    """A way to read label files.

    Attributes:
        options: frozen dataclass of the keys that a manifest may give beside the common ones.
        read: reads a file with those options.
    """

    options: type[Any]
    read: Callable[[Path, Any], LabelRows]


@dataclass(frozen=True)
class NoOptions:
    """For readers that need no options."""


LABEL_READERS: Registry[LabelReader] = Registry("label reader")


def text_of(path: Path) -> str:
    """Return the text of a label file, with or without a byte order mark.

    Raises:
        DatasetError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return read_text_limited(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"label file '{path}' is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8 "
            f"CSV."
        ) from error
    except OSError as error:
        raise DatasetError(
            f"label file '{path}' cannot be read ({error.strerror}); give the path of a file with --labels."
        ) from error


def parsed_scores(cells: Iterable[tuple[int, str]], path: Path, decimal: str = ".") -> list[float]:
    """Return the labels of (line number, text) cells; an empty cell is NaN.

    Raises:
        DatasetError: cells that are no numbers; the message counts them and shows the first few.
    """
    scores: list[float] = []
    bad: list[str] = []
    for line, cell in cells:
        text = cell.strip().replace(decimal, ".") if decimal != "." else cell.strip()
        try:
            scores.append(float(text) if text else math.nan)
        except ValueError:
            bad.append(f"line {line} '{cell}'")
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DatasetError(
            f"label file '{path}': {len(bad)} labels are no numbers: {', '.join(bad[:5])}{more}; mend these "
            f"rows."
        )
    return scores


@dataclass(frozen=True)
class Table:
    """A delimited file.

    Attributes:
        header: names of the columns.
        rows: (line number, cells) of each row that is not blank; cells are as many as columns.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True)
class TableOptions:
    """Which columns of a table hold what; where releases of one list differ in a column's name, the first
    name that is there counts.

    Attributes:
        video: columns that may hold the video's name.
        mos: columns that may hold the label.
        content: columns that may hold the content group; none where there is no such column.
        split_column: columns that may hold the official part.
        split_values: what a cell of that column means, for example {"True": "test"}.
        delimiter: between cells.
        decimal: the decimal mark of the labels.
        at_least: smallest value by column; rows below it are left out, for example those with fewer than two
            frames.
    """

    video: tuple[str, ...]
    mos: tuple[str, ...]
    content: tuple[str, ...] = ()
    split_column: tuple[str, ...] = ()
    split_values: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","
    decimal: str = "."
    at_least: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or len(self.decimal) != 1:
            raise DatasetError(
                f"delimiter '{self.delimiter}' and decimal '{self.decimal}' must be one character each."
            )


def header_of(path: Path, delimiter: str = ",") -> tuple[str, ...]:
    """Return the names of the columns.

    Raises:
        DatasetError: the file has no header, or doubles a column.
    """
    lines = _lines(path, delimiter)
    if not lines:
        raise DatasetError(f"label file '{path}' is empty; its first line must name the columns.")
    header = tuple(lines[0][1])
    columns = [name for name in header if name]
    if len(set(columns)) < len(columns):
        raise DatasetError(
            f"label file '{path}' doubles a column among {', '.join(header)}; name each column once."
        )
    return header


def read_table(path: Path, delimiter: str = ",") -> Table:
    """Return the table in a delimited file; blank rows are passed over.

    Raises:
        DatasetError: the header is not one, or rows have more cells than columns.
    """
    header = header_of(path, delimiter)
    lines = _lines(path, delimiter)[1:]
    wide = [str(number) for number, cells in lines if any(cells[len(header) :])]
    if wide:
        raise DatasetError(
            f"label file '{path}': {len(wide)} rows have more cells than columns: lines "
            f"{', '.join(wide[:5])}; "
            f"quote cells that hold '{delimiter}'."
        )
    padding = ("",) * len(header)
    return Table(header, tuple((number, (*cells, *padding)[: len(header)]) for number, cells in lines))


def _lines(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of the lines that are not blank."""
    reader = csv.reader(StringIO(text_of(path), newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DatasetError(
            f"label file '{path}' is no CSV ({error}); save it again with '{delimiter}' between cells."
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)]


def column_of(table: Table, names: tuple[str, ...], path: Path) -> int:
    """Return the position of the first of these columns that the table has.

    Raises:
        DatasetError: it has none of them.
    """
    for name in names:
        if name in table.header:
            return table.header.index(name)
    raise DatasetError(
        f"label file '{path}' has no column {' or '.join(names)} (it has {', '.join(table.header)}); "
        "it is another list, or another release of it."
    )


def rows_of_table(table: Table, path: Path, options: TableOptions) -> LabelRows:
    """Return the label rows of a table.

    Raises:
        DatasetError: a column is missing, a cell is no number, or a part is unknown.
    """
    at = [(column_of(table, (name,), path), least) for name, least in options.at_least.items()]
    kept = list(table.rows)
    for column, least in at:
        values = parsed_scores(((line, cells[column]) for line, cells in kept), path)
        kept = [row for row, value in zip(kept, values, strict=True) if value >= least]
    video, mos = column_of(table, options.video, path), column_of(table, options.mos, path)
    content = column_of(table, options.content, path) if options.content else None
    part = column_of(table, options.split_column, path) if options.split_column else None
    scores = parsed_scores(((line, cells[mos]) for line, cells in kept), path, options.decimal)
    return LabelRows(
        tuple(
            LabelRow(
                raw_name=cells[video],
                mos=score,
                content=cells[content] or None if content is not None else None,
                split=options.split_values.get(cells[part], cells[part]) or None
                if part is not None
                else None,
            )
            for (_, cells), score in zip(kept, scores, strict=True)
        )
    )


def _read(path: Path, options: TableOptions) -> LabelRows:
    return rows_of_table(read_table(path, options.delimiter), path, options)


LABEL_READERS.add("table", LabelReader(TableOptions, _read))

_LARGEST_PART_BYTES = 64 << 20  # SPAQ's sheet has 3 MB; what unpacks to more is no label file
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_SHARED = "xl/sharedStrings.xml"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"


def read_workbook(path: Path) -> Table:
    """Return the first sheet of a workbook: its first row names the columns, blank rows are passed over,
    cells are text.

    Raises:
        DatasetError: it cannot be read, is no workbook (the older .xls among them), or has no rows.
    """
    try:
        _refuse_old(path)
        with ZipFile(path) as workbook:
            shared = (
                [_text(item) for item in _part(workbook, _SHARED, path)]
                if _SHARED in workbook.namelist()
                else []
            )
            sheet = _part(workbook, _first_sheet(workbook, path), path)
            rows = [(number, cells) for number, cells in _rows(sheet, shared) if any(cells)]
    except OSError as error:
        raise DatasetError(f"label file '{path}' cannot be read ({error.strerror or error}).") from error
    except (BadZipFile, KeyError, LookupError, ValueError, ElementTree.ParseError) as error:
        raise DatasetError(
            f"label file '{path}' is no Excel workbook ({error}); give the .xlsx as the data set ships it."
        ) from error
    if not rows:
        raise DatasetError(
            f"label file '{path}': the first sheet is empty; its first row must name the columns."
        )
    width = max(len(cells) for _, cells in rows)
    padded = [(number, (*cells, *("",) * (width - len(cells)))) for number, cells in rows]
    return Table(padded[0][1], tuple(padded[1:]))


def _refuse_old(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_OLD_WORKBOOK)) == _OLD_WORKBOOK:
            raise DatasetError(
                f"label file '{path}' is an .xls of Excel 97; open it and save it as .xlsx, or give the set "
                f"as a CSV of your own."
            )


def _part(workbook: ZipFile, name: str, path: Path) -> ElementTree.Element:
    if workbook.getinfo(name).file_size > _LARGEST_PART_BYTES:
        raise DatasetError(
            f"label file '{path}': '{name}' unpacks to more than {_LARGEST_PART_BYTES >> 20} MiB; it is no "
            f"label file."
        )
    content = workbook.read(name)
    if b"<!DOCTYPE" in content:  # Excel writes none, and entities in one can grow without bound
        raise DatasetError(
            f"label file '{path}': '{name}' declares a document type; save the workbook again with Excel or "
            f"LibreOffice."
        )
    return ElementTree.fromstring(content)


def _first_sheet(workbook: ZipFile, path: Path) -> str:
    sheet = _part(workbook, "xl/workbook.xml", path).find(f"{_MAIN}sheets/{_MAIN}sheet")
    if sheet is None:
        raise ValueError("it has no sheets")
    targets = {
        item.get("Id"): item.get("Target", "") for item in _part(workbook, "xl/_rels/workbook.xml.rels", path)
    }
    target = targets[sheet.get(_RELATED)]
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _rows(sheet: ElementTree.Element, shared: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for position, row in enumerate(sheet.iter(f"{_MAIN}row"), start=1):
        cells: list[str] = []
        for cell in row.iter(f"{_MAIN}c"):
            column = _column(cell.get("r", ""), len(cells))
            cells += [""] * (column - len(cells))  # empty cells are left out of the file
            cells.append(_value(cell, shared))
        yield int(row.get("r", position)), tuple(cells)


def _column(reference: str, following: int) -> int:
    """Return the column, counted from 0, of a cell such as "AB12"; one without a reference follows the one
    before.
    """
    letters = re.match("[A-Z]+", reference)
    if letters is None:
        return following
    number = 0
    for letter in letters.group():
        number = 26 * number + ord(letter) - ord("A") + 1
    if number > 1 << 14:
        raise ValueError(f"there is no column {letters.group()}")
    return number - 1


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    kind, value = cell.get("t", "n"), cell.findtext(f"{_MAIN}v", "")
    if kind == "s":
        return shared[int(value)].strip()
    inline = cell.find(f"{_MAIN}is")
    return (value if inline is None else _text(inline)).strip()


def _text(item: ElementTree.Element) -> str:
    """Return the text of a string, whose runs may be formatted; what is spoken beside it (phonetic text) is
    not part of it.
    """
    runs = [item, *item.findall(f"{_MAIN}r")]
    return "".join(run.findtext(f"{_MAIN}t", "") for run in runs)


REQUIRED_COLUMNS = ("video", "mos")
OPTIONAL_COLUMNS = ("content", "split")


def read_own(path: Path, _options: NoOptions) -> LabelRows:
    """Return the rows of a CSV of one's own.

    Raises:
        DatasetError: a column is missing, doubled or unknown.
    """
    header = header_of(path)
    allowed = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    unknown = [column for column in header if column not in allowed]
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if unknown or missing:
        said = (
            [f"unknown column{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}"]
            if unknown
            else []
        )
        said += [f"no column {' and '.join(map(repr, missing))}"] if missing else []
        near = get_close_matches(unknown[0].lower(), allowed, n=1) if unknown else []
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise DatasetError(
            f"'{path}': {', '.join(said)}{hint}; a data set of one's own has the columns video,mos and, if "
            f"wanted, content and split, "
            "separated by commas, and nothing else."
        )
    options = TableOptions(
        video=("video",),
        mos=("mos",),
        content=("content",) if "content" in header else (),
        split_column=("split",) if "split" in header else (),
    )
    return rows_of_table(read_table(path), path, options)


LABEL_READERS.add("own", LabelReader(NoOptions, read_own))


def read_lines(path: Path, _options: NoOptions) -> LabelRows:
    """Return the rows of a headerless list; duration and rate are -1 in the released ones and are not used.

    Raises:
        DatasetError: lines that have not four fields.
    """
    lines = [
        (number, line) for number, line in enumerate(text_of(path).splitlines(), start=1) if line.strip()
    ]
    fields = [(number, line.rsplit(",", 3)) for number, line in lines]
    short = [str(number) for number, parts in fields if len(parts) < 4]
    if short:
        raise DatasetError(
            f"label file '{path}': {len(short)} lines are not 'path, duration, fps, MOS': lines "
            f"{', '.join(short[:5])}; mend them."
        )
    scores = parsed_scores(((number, parts[3]) for number, parts in fields), path)
    return LabelRows(
        tuple(LabelRow(parts[0].strip(), score) for (_, parts), score in zip(fields, scores, strict=True))
    )


LABEL_READERS.add("path-duration-fps-mos", LabelReader(NoOptions, read_lines))
