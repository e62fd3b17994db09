"""Filled tables of the papers on a page, from the files of `vqafeat table --json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqafeat.errors import DatasetError
from vqafeat.io import read_text_limited
from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.table import Heading

TABLE_SUFFIX = ".json"
_WRITE_IT = "write it with `vqafeat table NAME --json --out FOLDER`"


@dataclass(frozen=True)
class ReportCell:
    """A cell: its text, the value by which rows are sorted, and the indices of its runs on the page."""

    text: str
    value: float | None
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReportTable:
    """A table as the page shows it; a row is its name and one cell for each column."""

    name: str
    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ReportCell, ...]], ...]

    def __post_init__(self) -> None:
        if any(len(cells) != len(self.columns) for _, cells in self.rows):
            wrong = f"rows of more or fewer than its {len(self.columns)} columns"
            raise DatasetError(f"table '{self.name}' has {wrong}; {_WRITE_IT}.")


@dataclass(frozen=True)
class WrittenTable:
    """A file that `vqafeat table --json` wrote."""

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "WrittenTable":
        """Read the file."""
        if path.suffix != TABLE_SUFFIX:
            write_it = f"write it with `vqafeat table {path} --json --out tables`"
            next_step = f"then name tables/{path}{TABLE_SUFFIX}"
            raise DatasetError(f"'{path}' is the name of a table; {write_it}, {next_step}.")
        try:
            values = json.loads(read_text_limited(path))
        except (OSError, ValueError) as error:
            raise DatasetError(f"table '{path}' cannot be read ({error}); {_WRITE_IT}.") from error
        if not isinstance(values, dict) or not isinstance(values.get("cells"), list) or not values["cells"]:
            raise DatasetError(f"'{path}' is not a table; {_WRITE_IT}.")
        return cls(path, values)

    @property
    def runs(self) -> list[Path]:
        """The run folders that exist, relative to the working folder or to the folder of the file."""
        runs = dict.fromkeys(str(run) for cell in self.values["cells"] for run in cell.get("runs", ()))
        folders = [next(filter(Path.is_dir, self._paths(run)), None) for run in runs]
        return [folder for folder in folders if folder]

    def _paths(self, run: str) -> tuple[Path, Path]:
        return Path(run), self.path.parent / run

    def shown(self, folders: Sequence[Path]) -> ReportTable:
        """Return the table of a page with the runs `folders`."""
        index = {folder.resolve(): number for number, folder in enumerate(folders)}
        try:
            rows: dict[str, list[ReportCell]] = {}
            for cell in self.values["cells"]:
                paths = [path.resolve() for run in cell["runs"] for path in self._paths(run)]
                runs = tuple(dict.fromkeys(index[path] for path in paths if path in index))
                value = cell["published"] if cell["measured"] is None else cell["measured"]
                shown = ReportCell(str(cell["shown"]), value, runs)
                rows.setdefault(Heading(cell["row"], cell["row_group"]).words, []).append(shown)
            headings = [Heading(cell["column"], cell["column_group"]) for cell in self.values["cells"]]
            columns = tuple(dict.fromkeys(heading.words for heading in headings))
            name, lines = self.values["name"], tuple(self.values["lines"])
            title = "{label} of {paper}: {title}".format_map(self.values)
            cells_by_row = tuple((row, tuple(cells)) for row, cells in rows.items())
            return ReportTable(name, title, lines, columns, cells_by_row)
        except (KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DatasetError(f"'{self.path}' is not a whole table ({problem}); {_WRITE_IT}.") from error


def is_table(path: Path) -> bool:
    """Return whether a path is a table file, or the name of a shipped table, which `read` refuses."""
    return path.suffix == TABLE_SUFFIX or (str(path) in table_names() and not path.is_dir())
