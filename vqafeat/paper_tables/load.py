"""Reading of a paper table from a TOML file, checked key by key; docs/guide/tables.md explains the keys.

A cell joins the settings of [run], its row, its group and its column; later ones replace earlier ones. They
are the values of a `TableFit` and of `_Shown`, and the options of a kind of cell in a table of its name.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import backbone_names
from vqafeat.errors import ArgumentError, DatasetError, UnknownNameError, VqafeatError, suggestion
from vqafeat.io import read_toml
from vqafeat.paper_tables import TABLES_FOLDER, table_names
from vqafeat.paper_tables.cells import CELL_TYPES
from vqafeat.paper_tables.figures import FIGURES
from vqafeat.paper_tables.table import (
    NO_CELL,
    Cell,
    Heading,
    PaperTable,
    Published,
    Statistic,
    TableFit,
    TableHeader,
    merged,
)
from vqafeat.registry import named
from vqafeat.schema import NonEmpty, parse, refuse_unknown

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _File(TableHeader):
    """The keys of a file."""

    rows: NonEmpty[tuple[Settings, ...]]
    columns: NonEmpty[tuple[Settings, ...]]
    groups: tuple[Settings, ...] = ()
    run: Settings = field(default_factory=dict)
    statistic: Statistic = "mean"

    def __post_init__(self) -> None:
        if self.plot:
            named("plot", self.plot, FIGURES)


@dataclass(frozen=True)
class _Shown:
    """The settings of a cell that do not belong to its fit; a quoted one shows the published value alone."""

    statistic: Statistic
    kind: str = "fit"
    measure: str = ""
    shows: str = ""  # a measure that a row shows in place of those of its columns
    quoted: bool = False

    def __post_init__(self) -> None:
        CELL_TYPES.get(self.kind)


_REQUEST = [item.name for item in fields(TableFit)]
_SHOWN = [item.name for item in fields(_Shown)]


def load_table(name_or_path: str, **changes: str | None) -> PaperTable:
    """Return a shipped table by name, or a user's by the path of its .toml.

    `changes` replace the recipe and the protocol of [run]; rows and columns keep their own.
    """
    is_path = name_or_path.lower().endswith(".toml")
    if not is_path and name_or_path not in table_names():
        hint = suggestion(name_or_path.lower(), table_names())
        raise UnknownNameError(f"unknown table '{name_or_path}': {hint} Give your own by its .toml file.")
    path = Path(name_or_path) if is_path else TABLES_FOLDER / f"{name_or_path}.toml"
    given = {key: value for key, value in changes.items() if value is not None}
    return table_of(read_toml(path, "table"), path.stem, given)


def table_of(values: Mapping[str, Any], name: str, changes: Mapping[str, str] | None = None) -> PaperTable:
    """Return the table that the values of a file describe; `changes` replace settings of its [run]."""
    where = f"table '{name}.toml'"
    file = parse(_File, values, where)
    for key, value in (changes or {}).items():
        if key not in file.run:
            next_step = f"leave out --{key}, or write a table of your own"
            raise ArgumentError(f"{where} has no {key} in [run]; {next_step}.")
        caption = f"{file.caption} Run with {key} {value} in place of {file.run[key]}."
        file = replace(file, run={**file.run, key: value}, caption=caption.strip())
    _check_keys(file, where)
    columns = list(product(file.groups or ({},), file.columns))
    headings = tuple(_heading(column, group.get("name", "")) for group, column in columns)
    cells = []
    for number, row in enumerate(file.rows):
        in_row = f"{where}, row '{row.get('name', '')}'"
        printed = _printed(row.get("published", ""), len(columns), in_row)
        for index, (levels, (published, absent)) in enumerate(zip(columns, printed, strict=True)):
            settings = merged({"statistic": file.statistic}, file.run, row, *levels)
            settings |= {"quoted": True} if absent else {}
            in_column = f"{in_row}, column '{headings[index].words}'"
            cells.append(_cell(number, index, settings, published, in_column))
    return PaperTable(
        name=name,
        rows=tuple(_heading(row, row.get("group", "")) for row in file.rows),
        columns=headings,
        cells=tuple(cells),
        **{item.name: getattr(file, item.name) for item in fields(TableHeader)},
    )


def _check_keys(file: _File, where: str) -> None:
    settings = (*_REQUEST, *_SHOWN, *CELL_TYPES)
    refuse_unknown(file.run, settings, f"{where}, [run]")
    levels = {"groups": ["name"], "columns": ["name"], "rows": ["name", "group", "published"]}
    for level, keys in levels.items():
        for number, table in enumerate(getattr(file, level), start=1):
            refuse_unknown(table, (*keys, *settings), f"{where}, [[{level}]] {table.get('name', number)}")


def _heading(level: Settings, group: object) -> Heading:
    return Heading(str(level.get("name", "")), str(group))


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Name the row or cell of an error."""
    try:
        yield
    except VqafeatError as error:
        raise DatasetError(f"{where}: {error}") from error


def _printed(text: object, columns: int, where: str) -> list[tuple[Published | None, bool]]:
    """Return the published value of each column, None where there is none, and whether it has no cell."""
    with _naming(where):
        if not isinstance(text, str):
            raise DatasetError(f"published is {text!r}; it has to be a text with one value per column.")
        values = text.split()
        if values and len(values) != columns:
            count = f"{len(values)} values for {columns} columns"
            raise DatasetError(f"published has {count}; write one per column, - for none.")
        return [(Published.parse(value), value == NO_CELL) for value in values] or [(None, False)] * columns


def _cell(row: int, column: int, settings: Settings, published: Published | None, where: str) -> Cell:
    shown = parse(_Shown, _only(settings, _SHOWN), where)
    kind, measure, request, options = shown.kind, shown.shows or shown.measure, None, None
    if not shown.quoted:
        request = parse(TableFit, _only(settings, _REQUEST), where)
        with _naming(where):
            options = parse(CELL_TYPES.get(kind), settings.get(kind, {}), f"[{kind}]")
            if measure not in options.measures:
                known = ", ".join(options.measures)
                raise DatasetError(f"measure is '{measure}'; kind '{kind}' has {known}.")
            for network in backbone_names(need.feature_set for need in options.required(request)):
                BACKBONES.get(network)
    return Cell(row, column, kind, options, measure, shown.statistic, request, published)


def _only(settings: Settings, keys: Collection[str]) -> Settings:
    return {key: value for key, value in settings.items() if key in keys}
