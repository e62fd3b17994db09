"""Progress bars on stderr, and results as JSON or lines of text."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from vqafeat.io import json_text

if TYPE_CHECKING:
    from vqafeat.extraction.results import ExtractionSummary
    from vqafeat.extraction.results import Progress as ExtractionProgress
    from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest
    from vqafeat.training.checkpoint import EpochRecord
    from vqafeat.training.loop import Progress as FitProgress
    from vqafeat.training.results import MetricsSummary

NO_VALUE = "–"

UpdateBar = Callable[..., None]
_DESCRIPTION = TextColumn("{task.description}", markup=False)
_STATE = TextColumn("{task.fields[state]}", markup=False)


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[UpdateBar]:
    """Show a bar on stderr if it is a terminal; yield a function with the arguments of rich's `update`."""
    console = Console(stderr=True)
    columns = (_DESCRIPTION, BarColumn(), MofNCompleteColumn(), _STATE, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, state="")
        yield lambda **changes: bar.update(task, **changes)


@contextmanager
def shown_progress(videos: int) -> Iterator["ExtractionProgress"]:
    """Show the progress of an extraction on stderr if it is a terminal."""
    with progress_bar("videos", videos) as update:
        yield _ExtractionBar(update)


class _ExtractionBar:
    def __init__(self, update: UpdateBar) -> None:
        self._update, self._frames, self._failed = update, 0, 0
        self._start = time.monotonic()

    def video(self, name: str) -> None:
        self._update(description=name[-40:])

    def frames(self, count: int) -> None:
        self._frames += count
        rate = self._frames / max(time.monotonic() - self._start, 1e-9)
        self._update(state=f"{rate:.1f} frames/s, {self._failed} failed")

    def done(self, summary: "ExtractionSummary") -> None:
        self._failed = len(summary.failures)
        self._update(advance=1)


def run_shown(request: "PretrainingRequest") -> "PretrainedNetwork":
    """Run a pre-training; stderr gets one line per epoch, and a bar if it is a terminal."""
    from vqafeat.pretraining.pretrain import pretrain
    from vqafeat.pretraining.trainer import PretrainingRecord, Step

    for item in request.sets:
        images, std_source = len(item.image_set.images), item.image_set.std_source
        parts = f"{len(item.training)} for training, {len(item.validation)} for validation"
        pairs = f"{len(item.rows)} pairs; standard deviations: {std_source}"
        click.echo(f"{item.image_set.name}: {images} images ({parts}), {pairs}", err=True)
    epochs = request.recipe.epochs
    with progress_bar("epoch") as update:

        def show(event: Step | PretrainingRecord) -> None:
            if isinstance(event, Step):
                state = f"loss {event.loss:.4f}, {event.images_per_second:.0f} images/s"
                done = {"completed": event.number, "total": event.steps}
                update(description=f"epoch {event.epoch} of {epochs}", state=state, **done)
                return
            losses = f"fidelity {event.fidelity:.4f}, hinge {event.hinge:.4f}"
            sroccs = ", ".join(f"{name} {value:.3f}" for name, value in event.validation_srocc.items())
            values = f"{losses}; validation SROCC: {sroccs or 'none'}"
            rate = 2 * event.pairs / event.seconds
            click.echo(f"epoch {event.epoch:2} of {epochs}: {values}; {rate:.0f} images/s", err=True)

        return pretrain(request, show)


@contextmanager
def fit_progress(
    splits: int, epochs: int | None = None, console: Console | None = None
) -> Iterator["FitProgress | None"]:
    """Show finished epochs and the latest split's curve on stderr if it is a terminal, else yield None."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    total = None if epochs is None else splits * epochs
    curves: dict[int, list[float]] = {}
    start = time.monotonic()
    with Bar(_DESCRIPTION, BarColumn(), _STATE, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("fit", total=total, state="")

        def show(split: int, record: "EpochRecord") -> None:
            sroccs = curves.setdefault(split, [])
            sroccs.append(record.validation_srocc)
            done = sum(map(len, curves.values()))
            rate = done / max(time.monotonic() - start, 1e-9)
            count = f"{done} epochs" if total is None else f"{done} of {total} epochs"
            count += f" in {len(curves)} of {splits} splits, {rate:.1f} epochs/s"
            curve = "no validation SROCC"
            if finite := [srocc for srocc in sroccs if isfinite(srocc)]:
                last = f"{sparkline(sroccs)} {number(sroccs[-1])}"
                curve = f"validation SROCC {last}, best {max(finite):.3f}"
            bar.update(task, completed=done, state=f"{count}; split {split}: {curve}")

        yield show


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return one bar per value, scaled from the smallest to the largest value; NaN is a gap.

    Curves longer than `width` are averaged over stretches of equal length.
    """
    import numpy as np

    if not values:
        return ""
    stretches = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else nan for part in stretches]
    finite = [mean for mean in means if isfinite(mean)] or [0.0]
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    top = len(BARS) - 1
    return "".join(
        BARS[min(int((mean - low) / span * len(BARS)), top)] if isfinite(mean) else " " for mean in means
    )


# results ---------------------------------------------------------------------------------------------------


def print_result(json: bool, values: Any, lines: Iterable[str]) -> None:
    """Print a result as JSON or as lines of text."""
    click.echo(json_text(values) if json else "\n".join(lines))


def metrics_lines(summary: "MetricsSummary", mapping: str) -> list[str]:
    """Return the mean, standard deviation and median over the splits of each metric, as lines of text."""
    from vqafeat.training.results import MEASURES

    measures = shown_measures(mapping)
    lines = [f"  {'':16}   mean     std  median"]
    for name, title in measures:
        values = getattr(summary, name)
        if name in MEASURES or isfinite(values.mean):
            cells = "  ".join(f"{number(value):>6}" for value in (values.mean, values.std, values.median))
            few = " *" if summary.few_videos and isfinite(values.mean) else ""
            lines.append(f"  {title:16} {cells}{few}")
    for name, part in summary.datasets.items():
        means = ", ".join(f"{title} {number(getattr(part, measure).mean)}" for measure, title in measures)
        lines.append(f"  {name}: {means}{' *' if part.few_videos else ''}")
    legend = f"  on {smallest_to_largest(summary.n)} test videos per split"
    if mapping != "none":
        legend += f"; PLCC and RMSE after the mapping '{mapping}', fitted to each test part\n"
        legend += "  plain: the heads' own output"
    if isfinite(summary.rmse_calibrated.mean):
        legend += "; calibrated: the scores that `predict` prints"
    lines.append(legend)
    if summary.few_videos:
        lines.append(f"  * {summary.few_videos}")
    return [*lines, *(f"  note: {note}" for note in summary.notes)]


def smallest_to_largest(counts: Sequence[int]) -> str:
    """Return `3 to 5`, or one number if all are equal."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def shown_measures(mapping: str) -> list[tuple[str, str]]:
    """Return the names of the printed measures and their titles."""
    from vqafeat.training.results import MEASURES

    shown = [(name, name.upper()) for name in MEASURES]
    if mapping != "none":
        shown += [("plcc_plain", "PLCC, plain"), ("rmse_plain", "RMSE, plain")]
    return [*shown, ("rmse_calibrated", "RMSE, calibrated")]


def number(value: float, form: str = ".3f") -> str:
    """Return a number as text, or a dash for NaN."""
    return format(value, form) if isfinite(value) else NO_VALUE


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"  {first:{widths[0]}}", *cells]).rstrip())
    return lines
