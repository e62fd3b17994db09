"""The figures of the papers, drawn from filled tables: lines, bars, points, or a scatter of predictions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite, nan
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.cells import CellResult
from vqafeat.paper_tables.format import title
from vqafeat.paper_tables.run import TableResult
from vqafeat.paper_tables.table import Heading
from vqafeat.plots import GREY, STYLE, plot_bars, plot_predictions
from vqafeat.training.run import Run

# Okabe and Ito's palette; lines differ by marker too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442", "#666666")
_MARKERS = "osD^vP*Xd"


def plot_table(result: TableResult, folder: Path) -> list[Path]:
    """Write the plots of a figure and return their paths; a table has none."""
    if not result.table.plot:
        return []
    if not result.measured and not any(item.cell.published for item in result.cells):
        raise ArgumentError(
            f"'{result.table.name}' has neither measured nor published values to draw; run `vqafeat table` "
            f"first."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return FIGURES[result.table.plot](result, folder)


def lines_over_columns(result: TableResult, folder: Path) -> list[Path]:
    """Draw a line a row over the columns."""
    lines = {heading: result.row(number) for number, heading in enumerate(result.table.rows)}
    return [_lines(result, lines, result.table.columns, folder)]


def lines_over_rows(result: TableResult, folder: Path) -> list[Path]:
    """Draw a line a column over the rows."""
    columns = {
        heading: [item for item in result.cells if item.cell.column == number]
        for number, heading in enumerate(result.table.columns)
    }
    return [_lines(result, columns, result.table.rows, folder)]


def scatter(result: TableResult, folder: Path) -> list[Path]:
    """Draw test predictions against labels, one plot a row that was run."""
    written = []
    for number, heading in enumerate(result.table.rows):
        runs = [run for item in result.row(number) if item.measured for run in item.measured.runs]
        if runs:
            run = Run(runs[0])
            tests = [row for row in run.predictions if row.part == "test"]
            path = folder / f"{result.table.name}-{number + 1}.png"
            name = f"{heading.words}{', stand-in data' if result.stands_in else ''}"
            scores, labels = [row.prediction for row in tests], [row.mos for row in tests]
            config = run.config
            written.append(plot_predictions(scores, labels, config.score_name, name, path, config.mapping))
    return written


def bars(result: TableResult, folder: Path) -> list[Path]:
    """Draw a group of bars a column, a bar a row; what was published is next to what was measured."""
    groups = [heading.words for heading in result.table.columns]
    shown: dict[str, dict[str, float]] = {}
    for number, heading in enumerate(result.table.rows):
        cells = result.row(number)
        if any(item.measured for item in cells):
            shown[heading.words] = {name: item.value for name, item in zip(groups, cells, strict=True)}
        if any(item.cell.published for item in cells):
            shown[f"{heading.words}, published"] = dict(zip(groups, _published(cells), strict=True))
    path = folder / f"{result.table.name}.png"
    return [plot_bars(shown, _measures(result), _plot_title(result), path)]


def trade_off(result: TableResult, folder: Path) -> list[Path]:
    """Draw a point a row: its last column across, on a logarithmic scale, and the column before that upwards,
    where both were measured.
    """
    path = folder / f"{result.table.name}.png"
    with _axes(result, (6.4, 4.2), path) as axes:
        for number, heading in enumerate(result.table.rows):
            *_, upwards, across = result.row(number)
            style = {**_style(number), "linestyle": "none", "markersize": 8}
            if isfinite(upwards.value) and isfinite(across.value):
                axes.semilogx(across.value, upwards.value, label=heading.words, **style)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(ScalarFormatter())
        axes.set_xlabel(result.table.columns[-1].words)
        axes.set_ylabel(result.table.columns[-2].words)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", framealpha=0.9)
        else:
            middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "nothing was measured", color=GREY, **middle)
    return [path]


# (filled table, folder) → the files that were written
FIGURES: dict[str, Callable[[TableResult, Path], list[Path]]] = {
    "lines-over-columns": lines_over_columns,
    "lines-over-rows": lines_over_rows,
    "scatter": scatter,
    "bars": bars,
    "trade-off": trade_off,
}


@contextmanager
def _axes(result: TableResult, size: tuple[float, float], path: Path) -> Iterator[Axes]:
    """Give axes with the table's title, and write the plot afterwards."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(_plot_title(result), fontsize=9, parse_math=False)
        yield axes
        figure.savefig(path, dpi=150)


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}


def _published(cells: Sequence[CellResult]) -> list[float]:
    return [item.cell.published.value if item.cell.published else nan for item in cells]


def _measures(result: TableResult) -> str:
    return ", ".join(dict.fromkeys(item.cell.measure.upper() for item in result.cells if item.cell.measure))


def _plot_title(result: TableResult) -> str:
    return title(result) + (" (stand-in data)" if result.stands_in else "")


def _lines(
    result: TableResult,
    lines: Mapping[Heading, Sequence[CellResult]],
    ticks: tuple[Heading, ...],
    folder: Path,
) -> Path:
    path, positions = folder / f"{result.table.name}.png", range(len(ticks))
    with _axes(result, (8, 4.8), path) as axes:
        for number, (heading, cells) in enumerate(lines.items()):
            measured, printed, style = [item.value for item in cells], _published(cells), _style(number)
            if any(map(isfinite, measured)):
                axes.plot(positions, measured, label=heading.words, **style)
            if any(map(isfinite, printed)):
                style |= {"linestyle": ":", "fillstyle": "none"}
                axes.plot(positions, printed, label=f"{heading.words}, published", **style)
        names = [heading.words for heading in ticks]
        axes.set_xticks(positions, names, rotation=20, ha="right", parse_math=False)
        axes.set_ylabel(_measures(result))
        axes.legend(fontsize=7, ncols=2)
    return path
