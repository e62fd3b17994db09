"""Plots as PNG, readable in print and for colour-blind eyes (Okabe and Ito's palette)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from vqafeat.metrics import fit_logistic
from vqafeat.modeling.scoring import ScoredVideo

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
BARS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
HATCHES = ("", "//", "..", "xx", "--", "\\\\")  # beside the colours, for print
STYLE: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd"}


def plot_predictions(predictions: Sequence[float], labels: Sequence[float], label_name: str, title: str, path: Path) -> Path:
    """Write a scatter of predictions against labels with the four-parameter logistic that PLCC and RMSE are read after."""
    x, y = np.asarray(predictions, dtype=float), np.asarray(labels, dtype=float)
    fit = fit_logistic(x, y, "logistic")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.scatter(x, y, s=16, color=BLUE, alpha=0.55, linewidths=0, label=f"{len(x)} test predictions")
        if fit.converged:
            grid = np.linspace(x.min(), x.max(), 200)
            axes.plot(grid, fit.mapped(grid), color=ORANGE, linewidth=2, label="fitted logistic")
        axes.set_xlabel("predicted score")
        axes.set_ylabel(label_name)
        axes.set_title(title)
        axes.legend(loc="lower right", framealpha=0.9)
        figure.savefig(path, dpi=150)
    return path


def plot_frame_curve(video: ScoredVideo, path: Path) -> Path:
    """Write the curve of a video's per-frame scores over its presentation time, with the video's score as a line."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(_curve_times(video), video.frame_scores, color=BLUE, linewidth=1.5, label="frame")
        axes.axhline(video.score, color=ORANGE, linewidth=1.5, linestyle="--", label=f"video {video.score:.2f}")
        axes.set_xlabel("time (seconds)")
        axes.set_ylabel(video.scale)
        axes.set_title(video.path.name, parse_math=False)
        axes.legend(loc="best", framealpha=0.9)
        figure.savefig(path, dpi=150)
    return path


def plot_distances(distances: Mapping[str, Mapping[str, float]], target: str, path: Path) -> Path:
    """Write bars of the CORAL distances of domains to a target domain, side by side for each feature set (Li et al., fig. 3).

    Args:
        distances: by feature set, then by domain; every feature set has the same domains.
        target: the domain that all are compared with.
        path: of the PNG.
    """
    domains = list(next(iter(distances.values())))
    width = 0.8 / len(distances)
    with mpl.rc_context({**STYLE, "axes.grid.axis": "y", "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(max(4.2, 1.2 + 0.95 * len(domains) * len(distances)), 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        for number, (feature_set, found) in enumerate(distances.items()):
            places = np.arange(len(domains)) + (number - (len(distances) - 1) / 2) * width
            style: dict[str, Any] = {"color": BARS[number % len(BARS)], "hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white"}
            bars = axes.bar(places, [found[domain] for domain in domains], width * 0.92, label=feature_set, **style)
            axes.bar_label(bars, fmt="%.2e", padding=2, fontsize=8)
        axes.set_xticks(range(len(domains)), [f"{domain} to {target}" for domain in domains], parse_math=False)
        axes.set_ylabel("CORAL distance (lower is closer)")
        axes.margins(y=0.16)
        axes.legend(loc="best", framealpha=0.9, title="features")
        figure.savefig(path, dpi=150)
    return path


def _curve_times(video: ScoredVideo) -> npt.NDArray[np.float64]:
    return video.seconds[: len(video.frame_scores)]
