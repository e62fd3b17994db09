"""Plots as PNG, readable in print and by colour-blind people (Okabe and Ito's palette)."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vqafeat.evaluation.predict import ScoredVideo
from vqafeat.metrics import MAPPINGS, fit_logistic

Numbers = Sequence[float]  # one for each video
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
BARS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
HATCHES = ("", "//", "..", "xx", "--", "\\\\")  # in addition to the colours, for print
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


def plot_predictions(
    predictions: Numbers, labels: Numbers, label_name: str, title: str, path: Path, mapping: str
) -> Path:
    """Write a scatter of heads' outputs against labels, with the mapping applied before PLCC and RMSE."""
    x, y = np.asarray(predictions, dtype=float), np.asarray(labels, dtype=float)
    with mpl.rc_context(STYLE):
        figure, axes = _scatter(x, y, f"{len(x)} test predictions")
        fit = fit_logistic(x, y, mapping) if MAPPINGS.get(mapping) is not None else None
        if fit is not None and fit.converged:
            grid = np.linspace(x.min(), x.max(), 200)
            axes.plot(grid, fit.mapped(grid), color=ORANGE, linewidth=2, label="fitted logistic")
        return _save(figure, path, "predicted score", label_name, title)


def plot_scores(scores: Numbers, labels: Numbers, label_name: str, title: str, path: Path) -> Path:
    """Write a scatter of calibrated scores against labels, with the line on which they are equal."""
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    with mpl.rc_context(STYLE):
        figure, axes = _scatter(x, y, f"{len(x)} scores of test videos")
        ends = [float(np.min([x, y])), float(np.max([x, y]))]
        axes.plot(ends, ends, color=ORANGE, linewidth=2, linestyle="--", label="score = label")
        axes.set_aspect("equal")
        return _save(figure, path, f"calibrated score ({label_name})", label_name, title)


def _scatter(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(x, y, s=16, color=BLUE, alpha=0.55, linewidths=0, label=label)
    return figure, axes


def _save(
    figure: Figure, path: Path, x_label: str, y_label: str, title: str, title_size: float | str = 10
) -> Path:
    """Label the first axes of a figure and write it."""
    axes = figure.axes[0]
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.set_title(title, parse_math=False, fontsize=title_size)
    # below the axes, where it covers no point
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    return path


def plot_frame_curve(video: ScoredVideo, path: Path, thumbnails: Mapping[int, npt.NDArray[np.uint8]]) -> Path:
    """Write the curve of a video's per-frame scores over time, with its worst and its best frame.

    `thumbnails` has the (height, width, 3) RGB samples of these two frames.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.9), layout="constrained")
        panels = figure.subplot_mosaic("cw;cb", width_ratios=[2.6, 1])
        axes = panels["c"]
        axes.plot(video.seconds, video.frame_scores, color=BLUE, linewidth=1.5, label="frame")
        if (warmup := video.warmup).any():
            early = video.seconds[warmup], video.frame_scores[warmup]
            axes.plot(*early, ".", color=GREY, label="warm-up of the head")
        axes.axhline(video.score, color=GREY, linewidth=1.5, linestyle="--", label=f"video {video.score:.2f}")
        looks = zip(worst_and_best(video).items(), "v^", (ORANGE, "#009E73"), strict=True)
        for (name, index), marker, colour in looks:
            score, second = video.frame_scores[index], video.seconds[index]
            words = f"{name} {score:.2f}, at {second:.1f} s"
            style: dict[str, Any] = {"color": colour, "markersize": 9, "linestyle": "none", "label": words}
            axes.plot(second, score, marker, **style)
            panel = panels[name[0]]
            panel.imshow(thumbnails[int(video.frames[index])])
            panel.set_title(words, fontsize=9, color=colour)
            panel.set_axis_off()
        scale, title = fill(video.scale, 36), video.path.name.encode(errors="backslashreplace").decode()
        return _save(figure, path, "time (seconds)", scale, title, title_size="large")


def worst_and_best(video: ScoredVideo) -> dict[str, int]:
    """Return the indices of the lowest and the highest of a video's frame scores after the head's warm-up."""
    settled = np.flatnonzero(~video.warmup) if not video.warmup.all() else np.arange(len(video.warmup))
    scores = video.frame_scores[settled]
    return {"worst": int(settled[scores.argmin()]), "best": int(settled[scores.argmax()])}


def plot_bars(values: Mapping[str, Mapping[str, float]], label: str, title: str, path: Path) -> Path:
    """Write groups of bars, side by side; every series has the same groups, NaN where it has no bar."""
    groups = list(next(iter(values.values())))
    width = 0.8 / len(values)
    with mpl.rc_context({**STYLE, "axes.grid.axis": "y", "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(max(4.2, 1.2 + 0.95 * len(groups) * len(values)), 3.6), layout="constrained")
        axes = figure.subplots()
        for number, (series, by_group) in enumerate(values.items()):
            positions = np.arange(len(groups)) + (number - (len(values) - 1) / 2) * width
            color, hatch = BARS[number % len(BARS)], HATCHES[number % len(HATCHES)]
            style: dict[str, Any] = {"color": color, "hatch": hatch, "edgecolor": "white"}
            heights = [by_group[group] for group in groups]
            bars = axes.bar(positions, heights, width * 0.92, label=series, **style)
            labels = [f"{height:.2e}" if isfinite(height) else "" for height in heights]
            axes.bar_label(bars, labels, padding=2, fontsize=8)
        axes.set_xticks(range(len(groups)), groups, parse_math=False)
        axes.margins(y=0.16)
        return _save(figure, path, "", label, title, title_size=9)
