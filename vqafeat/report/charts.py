"""The charts of a run: as positions in an SVG for the page, and as PNGs for print."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite, nan
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from vqafeat.errors import ArgumentError
from vqafeat.metrics import LogisticFit
from vqafeat.plots import BLUE, ORANGE, STYLE, plot_scores
from vqafeat.report.content import ALL_SPLITS, ReportComparison, ReportRun, TrainingCurve

Values = npt.NDArray[np.float64]
LEFT, RIGHT, TOP, BOTTOM = 56, 13, 10, 38  # margins


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: int
    end: int

    @classmethod
    def of(cls, values: Iterable[float], start: int, end: int, padding: float = 0.0) -> "Axis":
        """Return the axis of the finite values; `padding` is a share of their range."""
        finite = [value for value in values if isfinite(value)]
        low, high = min(finite), max(finite)
        more = padding * (high - low) if low < high else 0.5
        return cls(low - more, high + more, start, end)

    def position(self, values: npt.ArrayLike) -> Values:
        """Return where values are drawn."""
        share = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.asarray((self.start + share * (self.end - self.start)).round(1))

    def ticks(self, spacing: int, whole: bool = False) -> list[tuple[float, str]]:
        """Return the positions and texts of round numbers, about `spacing` apart."""
        locator = MaxNLocator(abs(self.end - self.start) // spacing, steps=[1, 2, 5, 10], integer=whole)
        inside = [tick for tick in locator.tick_values(self.low, self.high) if self.low <= tick <= self.high]
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_scientific(False)
        formatter.create_dummy_axis()
        return list(zip(self.position(inside).tolist(), formatter.format_ticks(inside), strict=True))


@dataclass(frozen=True)
class Chart:
    """The axes of a chart; `whole` if x has whole numbers only."""

    x: Axis
    y: Axis
    x_title: str
    y_title: str = ""
    whole: bool = False

    @classmethod
    def small(cls, xs: Iterable[float], ys: Iterable[float], title: str, whole: bool = False) -> "Chart":
        """Return a chart of 520 × 200 that holds all values."""
        return cls(Axis.of(xs, LEFT, 520 - RIGHT), Axis.of(ys, 200 - BOTTOM, TOP, 0.08), title, "", whole)

    def line(self, xs: npt.ArrayLike, ys: npt.ArrayLike) -> str:
        """Return the path through points; it breaks where y is not finite or outside the axis."""
        ys = np.asarray(ys, dtype=np.float64)
        points = np.column_stack([self.x.position(xs), self.y.position(ys)])
        inside = np.ma.masked_outside(np.ma.masked_invalid(ys), self.y.low, self.y.high)
        pieces = np.ma.clump_unmasked(inside)  # type: ignore[no-untyped-call]
        return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in points[piece]) for piece in pieces)


@dataclass(frozen=True)
class Scatter:
    """The chart of the scores and labels of a data set, without the points."""

    key: str  # run and data set, for the attribute `data-of`
    dataset: str
    chart: Chart
    # key, kind, path and note of the line score = label, and of the logistic of each split
    lines: list[tuple[str, str, str, str]]


def scatters(number: int, run: ReportRun) -> Iterator[Scatter]:
    """Yield a chart for each data set; its axes hold all scores, so that filters do not move points."""
    for dataset in run.config.datasets:
        rows = [row for row in run.scores if run.videos[row.video].dataset == dataset.name]
        x = Axis.of((row.score for row in rows), LEFT, 720 - RIGHT, 0.04)
        y = Axis.of((row.mos for row in rows), 540 - BOTTOM, TOP, 0.04)
        chart = Chart(x, y, "calibrated score", f"{dataset.score_name} of {dataset.name}")
        scores = np.linspace(x.low, x.high, 201)
        key, lines = f"{number}/{dataset.name}", []
        lines.append((key, "equal", chart.line(scores, scores), ""))
        for (name, split), fit in run.fitted.items():
            if name == dataset.name:
                lines.append(
                    (f"{key}/{split}", "fit", chart.line(scores, fit.mapped(scores)), _note(split, fit))
                )
        yield Scatter(key, dataset.name, chart, lines)


def decimals(run: ReportRun) -> dict[str, int]:
    """Return the number of decimals with which scores and labels of each data set are shown."""
    sizes = {dataset.name: dataset.mos_range[1] - dataset.mos_range[0] for dataset in run.config.datasets}
    return {name: 1 if size > 50 else 2 if size > 10 else 3 for name, size in sizes.items()}


def _note(split: int, fit: LogisticFit) -> str:
    on = "parts of all splits together" if split == ALL_SPLITS else f"part of split {split}"
    if not fit.converged:
        return f"No logistic is fitted to the test {on}: {fit.note}."
    note = f" Note: {fit.note}." if fit.note else ""
    return f"The logistic is fitted to the scores of the test {on}.{note}"


def training_charts(
    run: ReportRun,
) -> Iterator[tuple[str, Chart, list[tuple[int, str, tuple[Values, Values] | None]]]]:
    """Yield each measure's name and chart, and the split, line and kept point of each curve."""
    for name in dict.fromkeys(chain.from_iterable(curve.series for curve in run.training)):
        curves = [curve for curve in run.training if name in curve.series]
        epochs = chain.from_iterable(curve.epoch for curve in curves)
        values = chain.from_iterable(curve.series[name] for curve in curves)
        chart, lines = Chart.small(epochs, values, "epoch", whole=True), []
        for curve in curves:
            kept = dict(zip(curve.epoch, curve.series[name], strict=True)).get(curve.kept_epoch, nan)
            ring = (chart.x.position(curve.kept_epoch), chart.y.position(kept)) if isfinite(kept) else None
            lines.append((curve.split, chart.line(curve.epoch, curve.series[name]), ring))
        yield _title(name), chart, lines


def _title(measure: str) -> str:
    return measure.replace("_", " ").replace("srocc", "SROCC")


# index of a run → single values, their mean, the ends of its interval
Intervals = dict[int, tuple[Sequence[float], float, Sequence[float]]]


def interval_charts(
    comparison: ReportComparison, runs: Sequence[ReportRun]
) -> Iterator[tuple[Chart, Intervals]]:
    """Yield the chart of the runs' SROCC, and that of their differences from the best run."""
    sroccs, differences = Intervals(), Intervals()
    for index, pair in comparison.pairs.items():
        one, own = runs[index].summary.srocc, pair and pair.interval
        sroccs[index] = one.values, one.mean, (one.mean - one.std, one.mean + one.std)
        differences[index] = ((), own.difference, (own.low, own.high)) if own else ((), 0.0, ())
    for title, rows in (
        ("SROCC: mean, standard deviation, and each split", sroccs),
        ("Difference of SROCC from the best run, with its 95 % interval", differences),
    ):
        numbers = chain.from_iterable((*values, mean, *ends) for values, mean, ends in rows.values())
        x = Axis.of(numbers, RIGHT, 520 - RIGHT, 0.04)
        yield Chart(x, Axis(0, 1, 34 * len(rows) + TOP, TOP), title), rows


@dataclass(frozen=True)
class FrameChart:
    """The chart of a frame curve, with the lines of its mean and of the label."""

    key: str
    video: str
    chart: Chart
    path: str
    mean: str
    label: str
    help: str


def frame_charts(number: int, run: ReportRun) -> Iterator[FrameChart]:
    """Yield the chart of each frame curve."""
    indices = {name: index for index, name in enumerate(run.videos)}
    for name, curve in run.frames.items():
        video, mean = run.videos[name], float(np.mean(curve.scores))
        digits = decimals(run)[video.dataset]
        times = curve.seconds or tuple(range(len(curve.scores)))
        ys = (*curve.scores, mean, video.mos)
        chart = Chart.small(times, ys, "seconds" if curve.seconds else "row", whole=not curve.seconds)
        splits = f"{len(curve.splits)} splits" if len(curve.splits) > 1 else "split"
        yield FrameChart(
            key=f"{number}:{indices[name]}",
            video=name,
            chart=chart,
            path=chart.line(times, curve.scores),
            mean=chart.line([times[0], times[-1]], [mean, mean]),
            label=chart.line([times[0], times[-1]], [video.mos, video.mos]),
            help=(
                f"Solid: calibrated scores of the frames, the mean over the {splits} that tested it. Dashed: "
                f"their mean, {mean:.{digits}f}. Dotted: label, {video.mos:.{digits}f}."
            ),
        )


def plot_run(run: ReportRun, folder: Path) -> list[Path]:
    """Write PNGs of the calibrated test scores against labels of each data set, and of the training."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, written = run.name.replace("/", "_"), []
    title = f"{run.config.head} on {run.config.feature_sets}"
    for dataset in run.config.datasets:
        tested = [row for row in run.scores if row.part == "test"]
        if rows := [row for row in tested if run.videos[row.video].dataset == dataset.name]:
            scores, labels = [row.score for row in rows], [row.mos for row in rows]
            name = f"{stem}-{dataset.name}" if len(run.config.datasets) > 1 else stem
            path = folder / f"{name}-scores.png"
            parts = f"{title}, test parts of {run.config.splits} splits"
            written.append(plot_scores(scores, labels, dataset.score_name, parts, path))
    if run.training:
        written.append(plot_training(run.training, title, folder / f"{stem}-training.png"))
    return written


def plot_training(curves: Sequence[TrainingCurve], title: str, path: Path) -> Path:
    """Write a panel for each measure of a training, with one line per split; rings mark the kept epochs."""
    if not curves:
        raise ArgumentError(
            f"'{title}' was not trained in epochs, so there are no training curves; leave its plot out."
        )
    names = list(dict.fromkeys(name for curve in curves for name in curve.series))
    ring: dict[str, Any] = {"color": ORANGE, "fillstyle": "none"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.8 + 2.1 * len(names)), layout="constrained")
        panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, names, strict=True):
            for curve in (curve for curve in curves if name in curve.series):
                (line,) = axes.plot(curve.epoch, curve.series[name], color=BLUE, linewidth=1, alpha=0.5)
                if curve.kept_epoch in curve.epoch:
                    kept = curve.series[name][curve.epoch.index(curve.kept_epoch)]
                    axes.plot(curve.kept_epoch, kept, "o", markersize=6, **ring)
            axes.set_ylabel(_title(name))
        line.set_label("one split")
        panels[-1].plot([], [], "o", label="kept epoch", **ring)
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(title, fontsize=10, parse_math=False)
        figure.savefig(path, dpi=150)
    return path
