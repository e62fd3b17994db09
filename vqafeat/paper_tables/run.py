"""Fill a table: measure what the stores allow, name what is missing, compare with the published values."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, DatasetError, VqafeatError
from vqafeat.metrics import evaluate_predictions
from vqafeat.paper_tables.cells.runs import average
from vqafeat.paper_tables.sources import FitCache
from vqafeat.paper_tables.table import (
    Cell,
    CellResult,
    Measured,
    PaperTable,
    Recorded,
    RequiredFeatures,
    Task,
    number,
    signed,
)
from vqafeat.training.results import MetricsSummary

Peers = tuple[CellResult, ...]


@dataclass(frozen=True)
class TableResult:
    """A filled table."""

    table: PaperTable
    cells: tuple[CellResult, ...]
    words: str = ""  # what a reader has to know about the data
    stands_in: bool = False  # the features are of the demo data set, so that the numbers are not results
    datasets: tuple[Dataset, ...] = ()  # what was measured on

    @property
    def missing(self) -> tuple[RequiredFeatures, ...]:
        """The feature sets that the stores lack, each once."""
        return tuple(dict.fromkeys(need for result in self.cells for need in result.missing))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why cells were not measured, each reason once."""
        return tuple(dict.fromkeys(reason for result in self.cells for reason in result.reasons))

    @property
    def failures(self) -> tuple[str, ...]:
        """The errors of cells, each once, with the first of its cells and the number of others."""
        lines = []
        for failure in dict.fromkeys(result.failure for result in self.cells if result.failure):
            first, *others = [result.cell for result in self.cells if result.failure == failure]
            more = f" and {len(others)} more" if others else ""
            lines.append(f"{self.table.words(first)}{more}: {failure}")
        return tuple(lines)

    @property
    def measured(self) -> tuple[CellResult, ...]:
        """The cells with a number."""
        return tuple(result for result in self.cells if isfinite(result.value))

    def row(self, number: int) -> tuple[CellResult, ...]:
        """Return the cells of a row."""
        return tuple(result for result in self.cells if result.cell.row == number)


def run_table(table: PaperTable, fits: FitCache, on_cell: Callable[[str], None] | None = None) -> TableResult:
    """Fill a table; a cell that lacks data or fails does not stop the others.

    `on_cell` is called with the headings of each cell of `measurable` before it is measured.
    """

    def fill(cell: Cell, peers: Peers) -> CellResult:
        if cell.request is None:
            return CellResult(cell)
        if (result := _without_data(cell, peers, fits)).reasons:
            return result
        if on_cell is not None and not _is_average(cell):
            on_cell(table.words(cell))
        try:
            return CellResult(cell, cell.options.measured(Task(cell.request, cell.measure, fits, peers)))
        except VqafeatError as error:
            return CellResult(cell, failure=str(error))

    cells = _fill(table, fill)
    used = [(item.cell, item.cell.request) for item in cells if item.measured and item.cell.request]
    names = dict.fromkeys(need.dataset for cell, fit in used for need in cell.options.required(fit))
    stores = fits.stores
    datasets = () if stores.stands_in else tuple(source.dataset for source in stores.sources([*names]))
    return TableResult(table, cells, stores.words, stores.stands_in, datasets)


def measurable(table: PaperTable, fits: FitCache) -> list[Cell]:
    """Return the cells, without averages, for which nothing is missing."""
    cells = [cell for cell in table.cells if not (cell.quoted or _is_average(cell))]
    return [cell for cell in cells if not _without_data(cell, (), fits).reasons]


def _without_data(cell: Cell, peers: Peers, fits: FitCache) -> CellResult:
    """Return the cell with what it lacks; an average lacks what its peers lack."""
    needs = cell.options.required(cell.request)
    if _is_average(cell):
        needs = tuple(need for peer in peers for need in peer.missing)
    lacking = {need: reason for need in dict.fromkeys(needs) if (reason := fits.stores.missing(need))}
    reasons = tuple(dict.fromkeys((*lacking.values(), *cell.options.missing(fits))))
    return CellResult(cell, missing=tuple(lacking), reasons=reasons)


def _fill(table: PaperTable, fill: Callable[[Cell, Peers], CellResult]) -> tuple[CellResult, ...]:
    """Fill the cells, averages last; a cell's peers are those of its row and measure, without averages."""
    results: dict[tuple[int, int], CellResult] = {}
    for cell in sorted(table.cells, key=_is_average):
        peers = tuple(
            peer
            for peer in results.values()
            if (peer.cell.row, peer.cell.measure) == (cell.row, cell.measure)
            and not (peer.cell.quoted or _is_average(peer.cell))
        )
        results[cell.row, cell.column] = fill(cell, peers)
    return tuple(results[cell.row, cell.column] for cell in table.cells)


def _is_average(cell: Cell) -> bool:
    return cell.kind == "weighted"


def check(result: TableResult) -> tuple[int, list[str]]:
    """Return the number of cells with a difference and a tolerance, and a line for each one beyond it."""
    compared, beyond, digits = 0, [], result.table.digits
    for item in result.cells:
        tolerance, published = result.table.tolerance.get(item.cell.measure), item.cell.published
        if tolerance is None or published is None or not isfinite(item.difference):
            continue
        compared += 1
        difference = item.rounded_difference(digits)
        if abs(difference) > tolerance:
            beyond.append(
                f"{result.table.words(item.cell)}: {number(item.value, digits)}, published {published.text}, "
                f"difference {signed(difference, digits)} beyond {tolerance:g}"
            )
    return compared, beyond


def recorded_result(table: PaperTable, path: Path) -> TableResult:
    """Fill the row of a table whose predictions a file holds, as Li et al. released theirs.

    The file is an .npz with the keys K/00/sq (labels), K/00/rq and K/00/mq (relative and mapped scores),
    where K is a data set's letter and 00 a split. As in the released code, SROCC and KROCC are computed from
    relative scores and PLCC from mapped ones; RMSE is of these too, after the table's mapping.
    """
    recorded = table.recorded
    if recorded is None:
        problem = f"table '{table.name}' has no [recorded] part, so '{path}' cannot fill it"
        raise ArgumentError(f"{problem}; leave out --published-predictions.")
    summaries = _recorded_summaries(table, recorded, path)
    row = [heading.name for heading in table.rows].index(recorded.row)

    def fill(cell: Cell, peers: Peers) -> CellResult:
        if cell.row != row:
            return CellResult(cell)
        if _is_average(cell) and all(peer.measured for peer in peers):
            return CellResult(cell, average(peers), comparable=all(peer.comparable for peer in peers))
        dataset = cell.request.datasets[0] if cell.request and cell.kind == "fit" else ""
        if dataset not in summaries:
            return CellResult(cell)
        measured = Measured.of(summaries[dataset], cell.measure)
        return CellResult(cell, measured, comparable=dataset not in recorded.unlike)

    source = f"{path.name}, {recorded.splits} splits"
    words = f"'{recorded.row}' is computed from recorded predictions ({source}); nothing was trained."
    for dataset, unlike in recorded.unlike.items():
        words += f" {dataset}: {unlike}, so its difference is not stated, nor that of an average with it."
    return TableResult(table, _fill(table, fill), words)


def _recorded_summaries(table: PaperTable, recorded: Recorded, path: Path) -> dict[str, MetricsSummary]:
    """Return data set → the metrics of its recorded predictions."""
    mapping = next(cell.request.mapping for cell in table.cells if cell.request)
    try:
        with np.load(path, allow_pickle=False) as values:
            return {
                dataset: _summary(values, key, recorded.splits, mapping)
                for dataset, key in recorded.databases.items()
            }
    except KeyError as error:
        needed = f"it needs sq, rq and mq of {recorded.splits} splits"
        raise DatasetError(f"'{path}' lacks {error.args[0]}; {needed}.") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        problem = f"'{path}' is not a file of recorded predictions ({error})"
        raise DatasetError(f"{problem}; give the .npz that the authors released.") from error


def _summary(values: np.lib.npyio.NpzFile, key: str, splits: int, mapping: str) -> MetricsSummary:
    metrics = []
    for split in range(splits):
        mos, relative, mapped = (values[f"{key}/{split:02d}/{name}"] for name in ("sq", "rq", "mq"))
        ranked = evaluate_predictions(relative, mos, mapping="none")
        fitted = evaluate_predictions(mapped, mos, mapping=mapping)
        metrics.append(replace(fitted, srocc=ranked.srocc, krocc=ranked.krocc))
    return MetricsSummary.of(metrics)
