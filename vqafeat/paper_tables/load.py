"""From a TOML file to a paper table, checked key by key.

    title, paper, label   required texts; `label` is what the paper calls it, "Table 1"
    plot                  of a figure: lines-over-rows, lines-over-columns, scatter, bars or trade-off
    caption, digits       choices of the protocol in words; digits of measured values
    statistic             mean, mean-std or median
    [tolerance]           measure → largest difference that --check lets pass
    [run]                 what holds for all cells
    [[groups]]            groups of columns; each has all [[columns]]
    [[columns]]           name, measure, and what holds for the column
    [[rows]]              name, group, published, and what holds for the row; `published` has one value a
                          column, "-" for none
    [recorded]            row, databases, splits: predictions that the authors published; `unlike`: data sets
                          of which they had other videos than the print

What holds for a cell is joined from [run], its row, group and column, later ones first: any value of a
`TableFit`, `kind` with a table of that name for its options, `measure`, `statistic`, and `quoted = true`
for what is quoted and not run.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vqafeat.datasets.manifest import build, convert, refuse_unknown
from vqafeat.errors import DatasetError, UnknownNameError, VqafeatError
from vqafeat.io import read_text_limited
from vqafeat.paper_tables import TABLES_FOLDER, table_names
from vqafeat.paper_tables.cells import CELL_TYPES
from vqafeat.paper_tables.figures import FIGURES
from vqafeat.paper_tables.sources import check_feature_sets
from vqafeat.paper_tables.table import Cell, Heading, PaperTable, Published, Recorded, TableFit

_REQUEST = tuple(item.name for item in fields(TableFit))
_SETTINGS = (*_REQUEST, "kind", "measure", "statistic", "quoted")


@dataclass(frozen=True)
class _File:
    """The keys of a file."""

    title: str
    paper: str
    label: str
    columns: Any
    rows: Any
    caption: str = ""
    digits: int = 3
    statistic: str = "mean"
    groups: Any = None
    run: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    recorded: Mapping[str, Any] | None = None
    plot: str = ""


def load_table(name_or_path: str) -> PaperTable:
    """Return a shipped table by name, or a user's by the path of its .toml.

    Raises:
        UnknownNameError: no table of that name is shipped; the nearest names are given.
        DatasetError: the file is missing, no TOML, or not as this module says.
    """
    is_path = name_or_path.lower().endswith(".toml")
    if not is_path and name_or_path not in table_names():
        near = get_close_matches(name_or_path.lower(), table_names(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`vqafeat list tables` names them."
        raise UnknownNameError(f"unknown table '{name_or_path}': {hint} Name your own by its .toml file.")
    path = Path(name_or_path) if is_path else TABLES_FOLDER / f"{name_or_path}.toml"
    try:
        values = tomllib.loads(read_text_limited(path))
    except OSError as error:
        raise DatasetError(
            f"table '{path}' cannot be read ({error.strerror}); give the path of a .toml file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"table '{path}' is no TOML: {error}.") from error
    return table_of(values, path.stem)


def table_of(values: Mapping[str, Any], name: str) -> PaperTable:
    """Return the table that a file's values describe."""
    where = f"table '{name}.toml'"
    file = build(_File, values, where)
    _check_settings(file.run, (), f"{where}, [run]")
    if file.plot and file.plot not in FIGURES:
        raise DatasetError(f"{where}: plot is '{file.plot}'; it has to be one of {', '.join(FIGURES)}.")
    groups = list(_tables(file.groups or [{}], ("name",), f"{where}, [[groups]]"))
    columns = list(_tables(file.columns, ("name",), f"{where}, [[columns]]"))
    rows = list(_tables(file.rows, ("name", "group", "published"), f"{where}, [[rows]]"))
    pairs = [(group, column) for group in groups for column in columns]
    headings = tuple(
        Heading(str(column.get("name", "")), str(group.get("name", ""))) for group, column in pairs
    )
    cells = []
    for number, row in enumerate(rows):
        here = f"{where}, row '{row.get('name', '')}'"
        printed = _printed(row.get("published", ""), len(headings), here)
        for index, (levels, value) in enumerate(zip(pairs, printed, strict=True)):
            settings = _joined({"statistic": file.statistic}, file.run, row, *levels)
            column = f"{here}, column '{headings[index].words}'"
            cells.append(_cell(number, index, settings, value, column))
    return PaperTable(
        name,
        file.title,
        file.paper,
        file.label,
        tuple(Heading(str(row.get("name", "")), str(row.get("group", ""))) for row in rows),
        headings,
        tuple(cells),
        file.caption,
        file.digits,
        file.tolerance,
        None if file.recorded is None else build(Recorded, file.recorded, f"{where}, [recorded]"),
        file.plot,
    )


def _tables(values: Any, keys: tuple[str, ...], where: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(values, list) or not values or not all(isinstance(item, dict) for item in values):
        raise DatasetError(f"{where}: {values!r} must be a list of tables, at least one.")
    for number, item in enumerate(values):
        _check_settings(item, keys, f"{where} {item.get('name', number + 1)}")
        yield item


def _check_settings(values: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    refuse_unknown(values, (*keys, *_SETTINGS, *CELL_TYPES), where)


def _joined(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, of which later ones replace earlier ones, and tables are joined."""
    joined: dict[str, Any] = {}
    for level in levels:
        for key, value in level.items():
            both = isinstance(value, dict) and isinstance(joined.get(key), dict)
            joined[key] = {**joined[key], **value} if both else value
    return joined


def _printed(text: Any, columns: int, where: str) -> list[Published | None]:
    """Return one published value a column, none where the row states none."""
    if not isinstance(text, str):
        raise DatasetError(
            f"{where}: published is {text!r}; it has to be a text of one value a column, divided by spaces."
        )
    values = text.split()
    if values and len(values) != columns:
        raise DatasetError(
            f"{where}: published has {len(values)} values for {columns} columns; write - where there is none."
        )
    try:
        return [Published.parse(value) for value in values] or [None] * columns
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error


def _cell(
    row: int, column: int, settings: Mapping[str, Any], published: Published | None, where: str
) -> Cell:
    kind, measure, statistic = settings.get("kind", "fit"), settings.get("measure", ""), settings["statistic"]
    try:
        cell_type = CELL_TYPES.get(kind)
        if convert(settings.get("quoted", False), bool, "quoted"):
            return Cell(row, column, kind, None, measure, statistic, None, published)
        options = build(cell_type.options, settings.get(kind, {}), f"[{kind}]")
        request = build(TableFit, {key: settings[key] for key in _REQUEST if key in settings}, "run")
        if measure not in cell_type.measures:
            raise DatasetError(f"measure is '{measure}'; kind '{kind}' has {', '.join(cell_type.measures)}.")
        if cell_type.fits:
            check_feature_sets(request)
        options.required(request)  # so that the fits that it changes are checked now
        return Cell(row, column, kind, options, measure, statistic, request, published)
    except VqafeatError as error:
        raise DatasetError(f"{where}: {error}") from error
