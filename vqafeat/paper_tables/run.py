"""Fill a table: run what the stores allow, say what is missing, compare measured with published values."""

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
        measured = self.measured
        if measured is None or measured.plain is None or measured.plain == measured.spread:
            return nan
        return Measured(measured.plain).value(self.cell.statistic)

    @property
    def difference(self) -> float:
        """Measured − published; NaN where one of the two is missing, or they are of different videos."""
        return self.value - self.cell.published.value if self.cell.published and self.comparable else nan

    def rounded_difference(self, digits: int) -> float:
        """Return the difference as it is shown: with the table's digits, or whole where the published value
        is too small for these.
        """
        small = self.cell.published is not None and 0 < abs(self.cell.published.value) < 10**-digits
        return self.difference if small else round(self.difference, digits)


@dataclass(frozen=True)
class TableResult:
    """A filled table.

    Attributes:
        cells: in the table's order.
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
        return tuple(dict.fromkeys(need for result in self.cells for need in result.missing))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why cells were not measured, each reason once."""
        return tuple(dict.fromkeys(reason for result in self.cells for reason in result.reasons))

    @property
    def failures(self) -> tuple[str, ...]:
        """What stopped cells, each error once, with the first cell and the number of cells."""
        by_failure: dict[str, list[str]] = {}
        for result in self.cells:
            if result.failure:
                by_failure.setdefault(result.failure, []).append(self.table.words(result.cell))
        return tuple(
            f"{cells[0]}{f' and {len(cells) - 1} more' if len(cells) > 1 else ''}: {failure}"
            for failure, cells in by_failure.items()
        )

    @property
    def measured(self) -> tuple[CellResult, ...]:
        """The cells with a number."""
        return tuple(result for result in self.cells if isfinite(result.value))

    def row(self, number: int) -> tuple[CellResult, ...]:
        """Return the cells of a row."""
        return tuple(result for result in self.cells if result.cell.row == number)


@dataclass(frozen=True)
class Checked:
    """The outcome of `--check`.

    Attributes:
        compared: number of cells with a published value and a tolerance.
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
        on_cell: called with the words of each cell before it is measured.
    """
    results: dict[tuple[int, int], CellResult] = {}
    for cell in sorted(table.cells, key=_is_average):
        peers = [
            peer
            for peer in results.values()
            if (peer.cell.row, peer.cell.measure) == (cell.row, cell.measure)
            and not (peer.cell.quoted or _is_average(peer.cell))
        ]
        if on_cell and not cell.quoted:
            on_cell(table.words(cell))
        results[cell.row, cell.column] = _result(cell, fits, peers)
    cells = tuple(results[cell.row, cell.column] for cell in table.cells)
    return TableResult(table, cells, fits.stores.words, fits.stores.stands_in)


def _is_average(cell: Cell) -> bool:
    return CELL_TYPES.get(cell.kind).from_peers


def _result(cell: Cell, fits: FitCache, peers: Sequence[CellResult]) -> CellResult:
    if cell.request is None:
        return CellResult(cell)
    needs = cell.options.required(cell.request)
    if _is_average(cell):
        needs = tuple(need for peer in peers for need in peer.missing)
    lacking = {need: reason for need in dict.fromkeys(needs) if (reason := fits.stores.missing(need))}
    reasons = tuple(dict.fromkeys((*lacking.values(), *cell.options.missing(fits))))
    if reasons:
        return CellResult(cell, missing=tuple(lacking), reasons=reasons)
    task = Task(cell, fits, tuple((peer.cell, peer.measured) for peer in peers))
    try:
        return CellResult(cell, CELL_TYPES.get(cell.kind).measure(task))
    except VqafeatError as error:
        return CellResult(cell, failure=str(error))


def check(result: TableResult) -> Checked:
    """Compare each measured cell with the published value."""
    if result.stands_in:
        raise ArgumentError(
            "check compares measured with published values, but these are of a stand-in; leave out --dataset "
            "demo or --check."
        )
    compared, beyond = 0, []
    for cell in result.cells:
        tolerance, published = result.table.tolerance.get(cell.cell.measure), cell.cell.published
        if tolerance is None or published is None or not isfinite(cell.difference):
            continue
        compared += 1
        digits = result.table.digits
        difference = cell.rounded_difference(digits)
        if abs(difference) > tolerance:
            beyond.append(
                f"{result.table.words(cell.cell)}: {number(cell.value, digits)}, published {published.text}, "
                f"difference {signed(difference, digits)} beyond {tolerance:g}"
            )
    return Checked(compared, tuple(beyond))


def recorded_result(table: PaperTable, path: Path) -> TableResult:
    """Fill the row of a table whose predictions a file holds, as Li et al. released theirs.

    The file is an .npz with the keys K/00/sq (labels), K/00/rq and K/00/mq (relative and mapped scores),
    where K is a data set's letter and 00 a split. As in the released code, SROCC and KROCC are computed from
    relative scores, PLCC and RMSE from mapped ones.
    """
    recorded = table.recorded
    if recorded is None:
        raise ArgumentError(
            f"table '{table.name}' has no [recorded] part, so '{path}' cannot fill it; leave out "
            "--published-predictions."
        )
    mapping = next(cell.request.mapping for cell in table.cells if cell.request)
    try:
        with np.load(path, allow_pickle=False) as values:
            summaries = {
                dataset: _summary(values, key, recorded, mapping)
                for dataset, key in recorded.databases.items()
            }
    except KeyError as error:
        raise DatasetError(
            f"'{path}' lacks {error.args[0]}; it needs sq, rq and mq of {recorded.splits} splits."
        ) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is no .npz of recorded predictions ({error}).") from error
    row = [heading.name for heading in table.rows].index(recorded.row)
    cells = [
        _filled(cell, summaries, recorded) if cell.row == row else CellResult(cell) for cell in table.cells
    ]
    cells = [
        _averaged(result, cells) if result.cell.kind == "weighted" and result.cell.row == row else result
        for result in cells
    ]
    source = f"{path.name}, {recorded.splits} splits"
    words = f"'{recorded.row}' is computed from recorded predictions ({source}); nothing was trained."
    for dataset, unlike in recorded.unlike.items():
        words += f" {dataset}: {unlike}, so that no difference is stated for it, nor for an average with it."
    return TableResult(table, tuple(cells), words)


def _filled(cell: Cell, summaries: Mapping[str, MetricsSummary], recorded: Recorded) -> CellResult:
    dataset = cell.request.datasets[0] if cell.request and cell.kind == "fit" else ""
    if dataset not in summaries:
        return CellResult(cell)
    measured = Measured.of(summaries[dataset], cell.measure)
    return CellResult(cell, measured, comparable=dataset not in recorded.unlike)


def _averaged(average_cell: CellResult, cells: Sequence[CellResult]) -> CellResult:
    key = average_cell.cell.row, average_cell.cell.measure
    peers = [item for item in cells if (item.cell.row, item.cell.measure) == key and item is not average_cell]
    measured = [(item.cell, item.measured) for item in peers if item.measured]
    if len(measured) < len(peers):
        return average_cell
    comparable = all(item.comparable for item in peers)
    return replace(average_cell, measured=average(measured), comparable=comparable)


def _summary(values: np.lib.npyio.NpzFile, key: str, recorded: Recorded, mapping: str) -> MetricsSummary:
    metrics = []
    for split in range(recorded.splits):
        mos, relative, mapped = (values[f"{key}/{split:02d}/{name}"] for name in ("sq", "rq", "mq"))
        ranked = evaluate_predictions(relative, mos, mapping="none")
        fitted = evaluate_predictions(mapped, mos, mapping=mapping)
        metrics.append(replace(fitted, srocc=ranked.srocc, krocc=ranked.krocc))
    return MetricsSummary.of(metrics)
