"""Fill a table: run what the stores allow, say what is missing, hold what was measured against what was
published.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path

import numpy as np

from vqafeat.errors import ArgumentError, DatasetError, VqafeatError
from vqafeat.metrics import evaluate_predictions
from vqafeat.paper_tables.cells import CELL_TYPES, Measured, Task
from vqafeat.paper_tables.cells.runs import average
from vqafeat.paper_tables.fits import FitCache
from vqafeat.paper_tables.table import Cell, PaperTable, Recorded, RequiredFeatures, number, signed
from vqafeat.training.results import MetricsSummary


@dataclass(frozen=True)
class CellResult:
    """A cell with what was measured for it.

    Attributes:
        cell: of the study.
        measured: None where nothing was.
        missing: the feature sets that it lacks.
        reasons: why, in words.
        failure: the error that stopped it.
        comparable: the published number is of the same videos.
    """

    cell: Cell
    measured: Measured | None = None
    missing: tuple[RequiredFeatures, ...] = ()
    reasons: tuple[str, ...] = ()
    failure: str = ""
    comparable: bool = True

    @property
    def value(self) -> float:
        """The measured number; NaN where there is none."""
        return self.measured.value(self.cell.statistic) if self.measured else nan

    @property
    def plain_value(self) -> float:
        """PLCC or RMSE without a mapping, where the value is after one; NaN otherwise."""
        plain = self.measured.plain if self.measured else None
        if plain is None or plain == self.measured.spread:  # type: ignore[union-attr]
            return nan
        return plain.median if self.cell.statistic == "median" else plain.mean

    @property
    def difference(self) -> float:
        """Measured − published; NaN where one of the two is not there, or they are of different videos."""
        return self.value - self.cell.published.value if self.cell.published and self.comparable else nan

    def rounded_difference(self, digits: int) -> float:
        """Return the difference as it is shown: with the table's digits, or whole where the published value
        is smaller than these tell.
        """
        small = self.cell.published is not None and 0 < abs(self.cell.published.value) < 10**-digits
        return self.difference if small else round(self.difference, digits)


@dataclass(frozen=True)
class TableResult:
    """A filled table.

    Attributes:
        study: what was asked.
        cells: in its order.
        words: what a reader has to know of the data.
        stands_in: the data are others than the table asks for, and the numbers mean nothing.
    """

    table: PaperTable
    cells: tuple[CellResult, ...]
    words: str = ""
    stands_in: bool = False

    @property
    def missing(self) -> tuple[RequiredFeatures, ...]:
        """The feature sets that cells lack, each once."""
        return tuple(dict.fromkeys(need for found in self.cells for need in found.missing))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why cells were not measured, each reason once."""
        return tuple(dict.fromkeys(reason for found in self.cells for reason in found.reasons))

    @property
    def failures(self) -> tuple[str, ...]:
        """What stopped cells, each error once, with the first place and the number of places."""
        places: dict[str, list[str]] = {}
        for found in self.cells:
            if found.failure:
                places.setdefault(found.failure, []).append(self.table.words(found.cell))
        return tuple(
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {failure}"
            for failure, names in places.items()
        )

    @property
    def measured(self) -> tuple[CellResult, ...]:
        """The cells with a number."""
        return tuple(found for found in self.cells if isfinite(found.value))

    def row(self, number: int) -> tuple[CellResult, ...]:
        """Return the cells of a row."""
        return tuple(found for found in self.cells if found.cell.row == number)


@dataclass(frozen=True)
class Checked:
    """What became of `--check`.

    Attributes:
        compared: cells that were held against a published value and have a tolerance.
        beyond: words for those whose difference is larger.
    """

    compared: int
    beyond: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing is beyond its tolerance."""
        return self.compared > 0 and not self.beyond


def run_table(table: PaperTable, fits: FitCache, on_cell: Callable[[str], None] | None = None) -> TableResult:
    """Fill a table; a cell that lacks data or fails does not stop the others.

    Args:
        study: the table.
        bench: where fits are made.
        on_cell: is told each cell before it is measured.
    """
    found: dict[tuple[int, int], CellResult] = {}
    for cell in sorted(table.cells, key=lambda cell: CELL_TYPES.get(cell.kind).from_peers):
        same_row = [item for item in found.values() if item.cell.row == cell.row and not item.cell.quoted]
        peers = [
            item
            for item in same_row
            if item.cell.measure == cell.measure and not CELL_TYPES.get(item.cell.kind).from_peers
        ]
        if on_cell and not cell.quoted:
            on_cell(table.words(cell))
        found[cell.row, cell.column] = _result(cell, fits, peers)
    cells = tuple(found[cell.row, cell.column] for cell in table.cells)
    return TableResult(table, cells, fits.stores.words, fits.stores.stands_in)


def _result(cell: Cell, fits: FitCache, peers: Sequence[CellResult]) -> CellResult:
    if cell.quoted:
        return CellResult(cell)
    rule = CELL_TYPES.get(cell.kind)
    needs = (
        dict.fromkeys(peer for item in peers for peer in item.missing)
        if rule.from_peers
        else dict.fromkeys(rule.needs(cell))
    )
    lacking = {need: reason for need in needs if (reason := fits.stores.missing(need))}
    reasons = tuple(dict.fromkeys((*lacking.values(), *rule.missing(cell, fits))))
    if reasons:
        return CellResult(cell, missing=tuple(lacking), reasons=reasons)
    measured = tuple((item.cell, item.measured) for item in peers if item.measured)
    try:
        return CellResult(cell, rule.measure(Task(cell, fits, measured, len(peers))))
    except VqafeatError as error:
        return CellResult(cell, failure=str(error))


def check(result: TableResult) -> Checked:
    """Hold each measured cell against the published value.

    Raises:
        ArgumentError: the data are others than the table asks for.
    """
    if result.stands_in:
        raise ArgumentError(
            "check holds measured against published values, but these are of a stand-in; leave out "
            "--dataset demo or --check."
        )
    tolerance = result.table.tolerance
    compared = [
        found for found in result.cells if found.cell.measure in tolerance and isfinite(found.difference)
    ]
    digits = result.table.digits
    beyond = [
        found for found in compared if abs(found.rounded_difference(digits)) > tolerance[found.cell.measure]
    ]
    words = tuple(
        f"{result.table.words(found.cell)}: {number(found.value, digits)}, published "
        f"{found.cell.published.text}, "
        f"difference {signed(found.rounded_difference(digits), digits)} beyond "
        f"{tolerance[found.cell.measure]:g}"
        for found in beyond
        if found.cell.published
    )
    return Checked(len(compared), words)


def recorded_result(table: PaperTable, path: Path) -> TableResult:
    """Fill the row of a table whose predictions a file holds, as Li et al. released theirs.

    The file is an .npz with the keys K/00/sq (labels), K/00/rq and K/00/mq (relative and mapped scores),
    where K is a data set's letter and 00 a split. As in the released code, SROCC and KROCC are read on
    relative scores, PLCC and RMSE on mapped ones.

    Raises:
        ArgumentError: the table records nothing of that kind.
        DatasetError: the file cannot be read or lacks a key.
    """
    if table.recorded is None:
        raise ArgumentError(
            f"table '{table.name}' has no [recorded] part, so '{path}' cannot fill it; leave out "
            "--published-predictions."
        )
    mapping = next(cell.request.mapping for cell in table.cells if cell.request)
    try:
        with np.load(path, allow_pickle=False) as values:
            summaries = {
                dataset: _summary(values, key, table.recorded, mapping)
                for dataset, key in table.recorded.databases.items()
            }
    except KeyError as error:
        raise DatasetError(
            f"'{path}' lacks {error.args[0]}; it needs sq, rq and mq of {table.recorded.splits} splits."
        ) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is no .npz of recorded predictions ({error}).") from error
    row = [heading.name for heading in table.rows].index(table.recorded.row)
    cells = [
        _filled(cell, summaries, table.recorded) if cell.row == row else CellResult(cell)
        for cell in table.cells
    ]
    cells = [
        _averaged(found, cells) if found.cell.kind == "weighted" and found.cell.row == row else found
        for found in cells
    ]
    words = f"'{table.recorded.row}' is computed from recorded predictions ({path.name}, {table.recorded.splits} splits); nothing was trained."
    for dataset, unlike in table.recorded.unlike.items():
        words += f" {dataset}: {unlike}, so that no difference is stated for it, nor for an average with it."
    return TableResult(table, tuple(cells), words)


def _filled(cell: Cell, summaries: Mapping[str, MetricsSummary], recorded: Recorded) -> CellResult:
    dataset = cell.request.datasets[0] if cell.request and cell.kind == "fit" else ""
    if dataset not in summaries:
        return CellResult(cell)
    summary = summaries[dataset]
    return CellResult(cell, Measured.of(summary, cell.measure), comparable=dataset not in recorded.unlike)


def _averaged(found: CellResult, cells: Sequence[CellResult]) -> CellResult:
    own = [
        item
        for item in cells
        if (item.cell.row, item.cell.measure) == (found.cell.row, found.cell.measure) and item is not found
    ]
    peers = [(item.cell, item.measured) for item in own if item.measured]
    if len(peers) < len(own):
        return found
    return replace(found, measured=average(peers), comparable=all(item.comparable for item in own))


def _summary(values: np.lib.npyio.NpzFile, key: str, recorded: Recorded, mapping: str) -> MetricsSummary:
    found = []
    for split in range(recorded.splits):
        mos, relative, mapped = (values[f"{key}/{split:02d}/{name}"] for name in ("sq", "rq", "mq"))
        ranked = evaluate_predictions(relative, mos, mapping="none")
        fitted = evaluate_predictions(mapped, mos, mapping=mapping)
        found.append(replace(fitted, srocc=ranked.srocc, krocc=ranked.krocc))
    return MetricsSummary.of(found)
