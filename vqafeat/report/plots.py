"""The plots of a run, for print."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from vqafeat.errors import ArgumentError
from vqafeat.plots import BLUE, ORANGE, STYLE, plot_scores
from vqafeat.report.content import ReportRun, TrainingCurve


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
            axes.set_ylabel(name.replace("_", " ").replace("srocc", "SROCC"))
        line.set_label("one split")
        panels[-1].plot([], [], "o", label="kept epoch", **ring)
        panels[-1].set_xlabel("epoch")
        panels[-1].legend(loc="best", framealpha=0.9)
        figure.suptitle(title, fontsize=10, parse_math=False)
        figure.savefig(path, dpi=150)
    return path
