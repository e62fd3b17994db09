"""The papers' figures, drawn from filled tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.format import title
from vqafeat.paper_tables.run import TableResult
from vqafeat.plots import GREY, STYLE, plot_bars, plot_predictions
from vqafeat.training.run import Run

# Okabe and Ito's palette, with markers for print
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442", "#666666")
_MARKERS = "osD^vP*Xd"


def plot_table(result: TableResult, folder: Path) -> list[Path]:
    """Write the plots of a figure and return their paths; a table has none."""
    if not result.table.plot:
        return []
    if not result.measured and not any(item.cell.published for item in result.cells):
        problem = f"'{result.table.name}' has no measured or published values to plot"
        raise ArgumentError(f"{problem}; extract its features first, or leave out --plots.")
    folder.mkdir(parents=True, exist_ok=True)
    return FIGURES[result.table.plot](result, folder / f"{result.table.name}.png")


def lines(result: TableResult, path: Path, *, over_rows: bool) -> list[Path]:
    """Draw a line for each row over the columns, or for each column over the rows."""
    names, ticks = result.table.rows, result.table.columns
    cells = [result.row(number) for number in range(len(names))]
    if over_rows:
        names, ticks, cells = ticks, names, list(zip(*cells, strict=True))
    positions = range(len(ticks))
    with _axes(result, (8, 4.8), path) as axes:
        for number, (heading, line) in enumerate(zip(names, cells, strict=True)):
            measured, published = [item.value for item in line], [item.published for item in line]
            style = _style(number)
            if any(map(isfinite, measured)):
                axes.plot(positions, measured, label=heading.words, **style)
            if any(map(isfinite, published)):
                style |= {"linestyle": ":", "fillstyle": "none"}
                axes.plot(positions, published, label=f"{heading.words}, published", **style)
        words = [heading.words for heading in ticks]
        axes.set_xticks(positions, words, rotation=20, ha="right", parse_math=False)
        axes.set_ylabel(_measures(result))
        axes.legend(fontsize=7, ncols=2)
    return [path]


def scatter(result: TableResult, path: Path) -> list[Path]:
    """Draw test predictions against labels, one plot for each measured row."""
    written = []
    for number, heading in enumerate(result.table.rows):
        runs = [run for item in result.row(number) if item.measured for run in item.measured.runs]
        if runs:
            run = Run(runs[0])
            tests = [row for row in run.predictions if row.part == "test"]
            scores, labels = [row.prediction for row in tests], [row.mos for row in tests]
            name = heading.words + (", demo data" if result.stands_in else "")
            own_path, score_name = path.with_stem(f"{path.stem}-{number + 1}"), run.config.score_name
            written.append(plot_predictions(scores, labels, score_name, name, own_path, run.config.mapping))
    return written


def bars(result: TableResult, path: Path) -> list[Path]:
    """Draw a group of bars for each column, with a measured and a published bar for each row."""
    groups = [heading.words for heading in result.table.columns]
    shown: dict[str, dict[str, float]] = {}
    for number, heading in enumerate(result.table.rows):
        cells = list(zip(groups, result.row(number), strict=True))
        if any(item.measured for _, item in cells):
            shown[heading.words] = {group: item.value for group, item in cells}
        if any(item.cell.published for _, item in cells):
            shown[f"{heading.words}, published"] = {group: item.published for group, item in cells}
    return [plot_bars(shown, _measures(result), _plot_title(result), path)]


def trade_off(result: TableResult, path: Path) -> list[Path]:
    """Draw a point for each row: its last column on a logarithmic x axis, the one before it on the y axis."""
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
            axes.annotate(
                "nothing was measured", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY
            )
    return [path]


# (filled table, path of its plot) → the files that were written
FIGURES: dict[str, Callable[[TableResult, Path], list[Path]]] = {
    "lines-over-columns": partial(lines, over_rows=False),
    "lines-over-rows": partial(lines, over_rows=True),
    "scatter": scatter,
    "bars": bars,
    "trade-off": trade_off,
}


@contextmanager
def _axes(result: TableResult, size: tuple[float, float], path: Path) -> Iterator[Axes]:
    """Yield axes with the table's title, and write the plot at the end."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(_plot_title(result), fontsize=9, parse_math=False)
        yield axes
        figure.savefig(path, dpi=150)


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}


def _measures(result: TableResult) -> str:
    return ", ".join(dict.fromkeys(item.cell.measure.upper() for item in result.cells if item.cell.measure))


def _plot_title(result: TableResult) -> str:
    return title(result) + (" (demo data)" if result.stands_in else "")
