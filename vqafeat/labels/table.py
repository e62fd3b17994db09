"""Tables with a header line: the benchmark's metadata, and the CSV files that most data sets ship."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from vqafeat.errors import DatasetError
from vqafeat.labels.rows import LABEL_READERS, LabelReader, LabelRow, LabelRows, parsed_scores, text_of


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
    """Which columns of a table hold what; where releases of one list differ in a column's name, the first name that is there counts.

    Attributes:
        video: columns that may hold the video's name.
        mos: columns that may hold the label.
        content: columns that may hold the content group; none where there is no such column.
        split_column: columns that may hold the official part.
        split_values: what a cell of that column means, for example {"True": "test"}.
        delimiter: between cells.
        decimal: the decimal mark of the labels.
        at_least: smallest value by column; rows below it are left out, for example those with fewer than two frames.
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
            raise DatasetError(f"delimiter '{self.delimiter}' and decimal '{self.decimal}' must be one character each.")


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
        raise DatasetError(f"label file '{path}' doubles a column among {', '.join(header)}; name each column once.")
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
            f"label file '{path}': {len(wide)} rows have more cells than columns: lines {', '.join(wide[:5])}; "
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
        raise DatasetError(f"label file '{path}' is no CSV ({error}); save it again with '{delimiter}' between cells.") from error
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
                listed=cells[video],
                mos=score,
                content=cells[content] or None if content is not None else None,
                split=options.split_values.get(cells[part], cells[part]) or None if part is not None else None,
            )
            for (_, cells), score in zip(kept, scores, strict=True)
        )
    )


def _read(path: Path, options: TableOptions) -> LabelRows:
    return rows_of_table(read_table(path, options.delimiter), path, options)


LABEL_READERS.add("table", LabelReader(TableOptions, _read))
