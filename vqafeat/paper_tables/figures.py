"""The figures of the papers, drawn from filled tables: lines, bars, points, or a scatter of predictions."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.format import title
from vqafeat.paper_tables.run import CellResult, TableResult
from vqafeat.paper_tables.table import Heading
from vqafeat.plots import GREY, STYLE, plot_bars, plot_predictions
from vqafeat.registry import Registry
from vqafeat.training.predictions import read_predictions
from vqafeat.training.results import CONFIG, read_json
from vqafeat.training.run_config import RunConfig

# (filled table, folder) → the files that were written
FIGURES: Registry[Callable[[TableResult, Path], list[Path]]] = Registry("plot")
# Okabe and Ito's palette; lines differ by marker too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442", "#666666")
_MARKERS = "osD^vP*Xd"


def plot_table(result: TableResult, folder: Path) -> list[Path]:
    """Write the plots of a figure and return their paths; a table has none.

    Raises:
        ArgumentError: nothing is there to be drawn.
    """
    if not result.table.plot:
        return []
    if not result.measured and not any(found.cell.published for found in result.cells):
        raise ArgumentError(
            f"'{result.table.name}' has neither measured nor published values to draw; run `vqafeat table` "
            f"first."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return FIGURES.get(result.table.plot)(result, folder)


@FIGURES.register("lines-over-columns")
def lines_over_columns(result: TableResult, folder: Path) -> list[Path]:
    """Draw a line a row over the columns."""
    lines = {heading: list(result.row(number)) for number, heading in enumerate(result.table.rows)}
    return [_lines(result, lines, result.table.columns, folder)]


@FIGURES.register("lines-over-rows")
def lines_over_rows(result: TableResult, folder: Path) -> list[Path]:
    """Draw a line a column over the rows."""
    columns = {
        heading: [found for found in result.cells if found.cell.column == number]
        for number, heading in enumerate(result.table.columns)
    }
    return [_lines(result, columns, result.table.rows, folder)]


@FIGURES.register("scatter")
def scatter(result: TableResult, folder: Path) -> list[Path]:
    """Draw test predictions against labels, one plot a row that was run."""
    written = []
    for number, heading in enumerate(result.table.rows):
        runs = [run for found in result.row(number) if found.measured for run in found.measured.runs]
        if runs:
            config = RunConfig.from_dict(read_json(runs[0] / CONFIG), str(runs[0]))
            tests = [row for row in read_predictions(runs[0], config) if row.part == "test"]
            path = folder / f"{result.table.name}-{number + 1}.png"
            name = f"{heading.words}{', stand-in data' if result.stands_in else ''}"
            scores, labels = [row.prediction for row in tests], [row.mos for row in tests]
            written.append(plot_predictions(scores, labels, config.score_name, name, path, config.mapping))
    return written


@FIGURES.register("bars")
def bars(result: TableResult, folder: Path) -> list[Path]:
    """Draw a group of bars a column, a bar a row; beside what was measured what was published."""
    groups = [heading.words for heading in result.table.columns]
    shown: dict[str, dict[str, float]] = {}
    for number, heading in enumerate(result.table.rows):
        cells = result.row(number)
        if any(found.measured for found in cells):
            shown[heading.words] = {name: found.value for name, found in zip(groups, cells, strict=True)}
        if any(found.cell.published for found in cells):
            printed = (
                found.cell.published.value if found.cell.published else float("nan") for found in cells
            )
            shown[f"{heading.words}, published"] = dict(zip(groups, printed, strict=True))
    path = folder / f"{result.table.name}.png"
    return [plot_bars(shown, _measures(result.cells), _plot_title(result), path)]


@FIGURES.register("trade-off")
def trade_off(result: TableResult, folder: Path) -> list[Path]:
    """Draw a point a row: its last column across, on a logarithmic scale, and the column before that upwards,
    where both were measured.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, heading in enumerate(result.table.rows):
            *_, upwards, across = result.row(number)
            look: dict[str, Any] = {
                "color": _COLOURS[number % len(_COLOURS)],
                "marker": _MARKERS[number % len(_MARKERS)],
            }
            if isfinite(upwards.value) and isfinite(across.value):
                axes.semilogx(
                    across.value, upwards.value, linestyle="none", markersize=8, label=heading.words, **look
                )
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(ScalarFormatter())
        axes.set_xlabel(result.table.columns[-1].words)
        axes.set_ylabel(result.table.columns[-2].words)
        axes.set_title(_plot_title(result), fontsize=9, parse_math=False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", framealpha=0.9)
        else:
            axes.text(
                0.5,
                0.5,
                "nothing was measured",
                ha="center",
                va="center",
                transform=axes.transAxes,
                color=GREY,
            )
        path = folder / f"{result.table.name}.png"
        figure.savefig(path, dpi=150)
    return [path]


def _measures(cells: tuple[CellResult, ...]) -> str:
    return ", ".join(dict.fromkeys(found.cell.measure.upper() for found in cells if found.cell.measure))


def _plot_title(result: TableResult) -> str:
    return title(result) + (" (stand-in data)" if result.stands_in else "")


def _lines(
    result: TableResult, lines: dict[Heading, list[CellResult]], ticks: tuple[Heading, ...], folder: Path
) -> Path:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.subplots()
        for number, (heading, cells) in enumerate(lines.items()):
            look: dict[str, Any] = {
                "color": _COLOURS[number % len(_COLOURS)],
                "marker": _MARKERS[number % len(_MARKERS)],
            }
            measured = [found.value for found in cells]
            printed = [
                found.cell.published.value if found.cell.published else float("nan") for found in cells
            ]
            if any(map(isfinite, measured)):
                axes.plot(range(len(ticks)), measured, label=heading.words, **look)
            if any(map(isfinite, printed)):
                axes.plot(
                    range(len(ticks)),
                    printed,
                    label=f"{heading.words}, published",
                    linestyle=":",
                    fillstyle="none",
                    **look,
                )
        axes.set_xticks(
            range(len(ticks)), [heading.words for heading in ticks], rotation=20, ha="right", parse_math=False
        )
        axes.set_ylabel(_measures(result.cells))
        axes.set_title(_plot_title(result), fontsize=9, parse_math=False)
        axes.legend(fontsize=7, ncols=2)
        path = folder / f"{result.table.name}.png"
        figure.savefig(path, dpi=150)
    return path
