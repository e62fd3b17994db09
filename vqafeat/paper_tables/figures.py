"""The papers' figures, drawn from filled tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby, product
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, ScalarFormatter

from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.format import title
from vqafeat.paper_tables.run import TableResult
from vqafeat.paper_tables.table import CellResult, Heading
from vqafeat.plots import GREY, STYLE, plot_bars, plot_predictions
from vqafeat.training.run import Run

# Okabe and Ito's palette, with markers for print
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442", "#666666")
_MARKERS = "osD^vP*Xd"
_COSTS = {"gflops": "GFLOPs", "seconds": "seconds"}  # on logarithmic axes
_MEASURES = {**_COSTS, "distance": "CORAL distance", "entropy": "entropy (bits)", "score": "score"}


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
    """Draw a line for each row over the columns, or for each column over the rows; a panel for each group."""
    rows, columns = result.table.rows, result.table.columns
    cells = [result.row(number) for number in range(len(rows))]
    if over_rows:
        rows, columns, cells = columns, rows, list(zip(*cells, strict=True))
    panels = list(product(_groups(rows), _groups(columns)))
    with _axes(result, (8 if len(panels) == 1 else 6, 4.8), path, len(panels)) as all_axes:
        for axes, (names, ticks) in zip(all_axes, panels, strict=True):
            for number, (row, heading) in enumerate(names):
                line, style = [cells[row][column] for column, _ in ticks], _style(number)
                measured, published = [item.value for item in line], [item.published for item in line]
                if any(map(isfinite, measured)):
                    axes.plot(measured, label=heading.name, **style)
                if any(map(isfinite, published)):
                    style |= {"linestyle": ":", "fillstyle": "none"}
                    axes.plot(published, label=f"{heading.name}, published", **style)
            words = [heading.name for _, heading in ticks]
            axes.set_xticks(range(len(words)), words, rotation=20, ha="right", parse_math=False)
            groups = ", ".join(filter(None, (names[0][1].group, ticks[0][1].group)))
            _label(axes, groups, [cells[row][column] for row, _ in names for column, _ in ticks])
    return [path]


def _groups(headings: Sequence[Heading]) -> list[list[tuple[int, Heading]]]:
    """Return the headings of each group, with their positions."""
    return [list(group) for _, group in groupby(enumerate(headings), key=lambda item: item[1].group)]


def curves(result: TableResult, path: Path) -> list[Path]:
    """Draw a panel for each row, with the values of each column's cell as a curve over the frames."""
    columns = result.table.columns
    with _axes(result, (5.4, 3.6), path, len(result.table.rows)) as all_axes:
        for number, axes in enumerate(all_axes):
            for position, (column, item) in enumerate(zip(columns, result.row(number), strict=True)):
                style = {**_style(position), "marker": ""}
                style["linestyle"] = "-" if column.group == columns[0].group else "--"
                if item.measured:
                    axes.plot(item.measured.spread.values, label=column.words, **style)
            axes.set_xlabel("frame")
            _label(axes, result.table.rows[number].words, result.row(number))
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
    return [plot_bars(shown, _measures(result.cells), _plot_title(result), path)]


def trade_off(result: TableResult, path: Path) -> list[Path]:
    """Draw a point for each row: its last column on a logarithmic x axis, the one before it on the y axis."""
    with _axes(result, (6.4, 4.2), path) as (axes,):
        for number, heading in enumerate(result.table.rows):
            *_, upwards, across = result.row(number)
            style = {**_style(number), "linestyle": "none", "markersize": 8}
            if isfinite(upwards.value) and isfinite(across.value):
                axes.semilogx(across.value, upwards.value, label=heading.words, **style)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(ScalarFormatter())
        axes.set_xlabel(result.table.columns[-1].words)
        axes.set_ylabel(result.table.columns[-2].words)
    return [path]


# (filled table, path of its plot) → the files that were written
FIGURES: dict[str, Callable[[TableResult, Path], list[Path]]] = {
    "lines-over-columns": partial(lines, over_rows=False),
    "lines-over-rows": partial(lines, over_rows=True),
    "scatter": scatter,
    "bars": bars,
    "trade-off": trade_off,
    "curves": curves,
}


@contextmanager
def _axes(
    result: TableResult, size: tuple[float, float], path: Path, panels: int = 1
) -> Iterator[list[Axes]]:
    """Yield panels of a size in a row, under the table's title; write the plot with a legend at the end."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(panels * size[0], size[1]), layout="constrained")
        figure.suptitle(_plot_title(result), fontsize=9, parse_math=False)
        one_measure = len({item.cell.measure for item in result.cells}) == 1
        all_axes = list(figure.subplots(1, panels, squeeze=False, sharey=one_measure)[0])
        yield all_axes
        labelled = [axes.get_legend_handles_labels() for axes in all_axes]
        handles = {label: handle for pair in labelled for handle, label in zip(*pair, strict=True)}
        if handles:
            columns = max(3, 2 * panels)
            figure.legend(handles.values(), handles, loc="outside lower center", fontsize=8, ncols=columns)
        else:
            figure.supxlabel("nothing was measured", color=GREY)
        figure.savefig(path, dpi=150)


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}


def _measures(cells: Iterable[CellResult]) -> str:
    names = [_MEASURES.get(item.cell.measure, item.cell.measure.upper()) for item in cells]
    return ", ".join(dict.fromkeys(filter(None, names)))


def _label(axes: Axes, title: str, cells: Sequence[CellResult]) -> None:
    """Set the title and the y axis of a panel."""
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_ylabel(_measures(cells))
    if any(item.cell.measure in _COSTS for item in cells):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(LogFormatter())


def _plot_title(result: TableResult) -> str:
    return title(result) + (" (demo data)" if result.stands_in else "")
