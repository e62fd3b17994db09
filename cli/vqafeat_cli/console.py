"""What `fit`, `evaluate` and `demo` say of progress and metrics."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from vqafeat.extraction.loop import ExtractionSummary
    from vqafeat.extraction.loop import Progress as ExtractionProgress
    from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest
    from vqafeat.pretraining.trainer import PretrainingRecord
    from vqafeat.training.loop import Progress as FitProgress
    from vqafeat.training.results import MetricsSummary, Summary
    from vqafeat.training.trainer import EpochRecord


def bar_columns() -> tuple[ProgressColumn, ...]:
    """Return what a bar shows: words, done of all, the field `state`, the time that is left."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )


@contextmanager
def shown_progress(videos: int) -> Iterator["ExtractionProgress"]:
    """Show progress on standard error while a terminal is there."""
    from vqafeat.extraction.loop import NullProgress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield NullProgress()
        return
    with Bar(*bar_columns(), console=console, transient=True) as shown:
        yield _Line(shown, shown.add_task("videos", total=videos, state=""))


class _Line:
    def __init__(self, shown: Bar, task: TaskID) -> None:
        self._shown, self._task = shown, task
        self._frames, self._failed = 0, 0
        self._start = time.monotonic()

    def video(self, name: str) -> None:
        self._shown.update(self._task, description=name[-40:])

    def frames(self, count: int) -> None:
        self._frames += count
        rate = self._frames / max(time.monotonic() - self._start, 1e-9)
        self._shown.update(self._task, state=f"{rate:.1f} frames/s, {self._failed} failed")

    def done(self, summary: "ExtractionSummary") -> None:
        self._failed = len(summary.failures)
        self._shown.update(self._task, advance=1)


BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return one bar a value between the curve's smallest and largest; longer curves are averaged over
    `width` stretches of like length.

    A value that is not finite is a gap, a curve without any rise or fall lies on the ground.
    """
    if not len(values):
        return ""
    stretches = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [
        float(np.mean(part[np.isfinite(part)])) if np.isfinite(part).any() else float("nan")
        for part in stretches
    ]
    finite = [mean for mean in means if isfinite(mean)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low
    return "".join(_block((mean - low) / span if span else 0.0) if isfinite(mean) else GAP for mean in means)


def _block(height: float) -> str:
    """Return the bar for a height between 0 and 1."""
    return BARS[min(int(height * len(BARS)), len(BARS) - 1)]


def metrics_lines(summary: "MetricsSummary", mapping: str) -> list[str]:
    """Return the metrics of a fit as lines of text: mean, deviation and median over the splits.

    Args:
        summary: of the test parts.
        mapping: that PLCC and RMSE are read after.
    """
    from vqafeat.training.results import MEASURES

    lines = [f"  {'':16}   mean     std  median"]
    for name, words in shown_measures(mapping):
        spread = getattr(summary, name)
        if name in MEASURES or isfinite(spread.mean):
            few = " *" if summary.few_videos and isfinite(spread.mean) else ""
            lines.append(
                f"  {words:16} {_cell(spread.mean)}  {_cell(spread.std)}  {_cell(spread.median)}{few}"
            )
    for name, own in summary.datasets.items():
        shown = ", ".join(
            f"{words} {_cell(getattr(own, measure).mean).strip()}"
            for measure, words in shown_measures(mapping)
        )
        lines.append(f"  {name}: {shown}{' *' if own.few_videos else ''}")
    low, high = min(summary.n), max(summary.n)
    words = _mapping_words(mapping, isfinite(summary.rmse_calibrated.mean))
    lines.append(f"  on {low if low == high else f'{low} to {high}'} test videos a split{words}")
    if summary.few_videos:
        lines.append(f"  * {summary.few_videos}")
    return [*lines, *(f"  note: {note}" for note in summary.notes)]


def shown_measures(mapping: str) -> list[tuple[str, str]]:
    """Return the measures that are shown, and their names in the table."""
    from vqafeat.training.results import MEASURES

    shown = [(name, name.upper()) for name in MEASURES]
    if mapping != "none":
        shown += [("plcc_plain", "PLCC, plain"), ("rmse_plain", "RMSE, plain")]
    return [*shown, ("rmse_calibrated", "RMSE, calibrated")]


def _mapping_words(mapping: str, calibrated: bool) -> str:
    printed = ["calibrated: the scores that `predict` prints"] if calibrated else []
    if mapping == "none":
        return "".join(f"; {words}" for words in printed)
    plain = "; ".join(["plain: the heads' own output", *printed])
    return f"; PLCC and RMSE after the mapping '{mapping}', fitted to each test part\n  {plain}"


def _cell(value: float) -> str:
    return f"{value:6.3f}" if isfinite(value) else "     –"


@contextmanager
def fit_progress(
    splits: int, epochs: int | None = None, console: Console | None = None
) -> Iterator["FitProgress | None"]:
    """Show the epochs that are done and the latest split's curve on standard error while a terminal is there.

    Args:
        splits: of the fit.
        epochs: of each split; None where it is not known.
        console: where to show; standard error without it.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console) as bar:
        shown = _Epochs(splits, epochs)
        task = bar.add_task("fit", total=shown.total, state="")

        def show(split: int, record: "EpochRecord") -> None:
            shown.add(split, record)
            bar.update(task, completed=shown.done, state=shown.words(split))

        yield show


class _Epochs:
    """What a fit has told of its epochs so far."""

    def __init__(self, splits: int, epochs: int | None) -> None:
        self.splits, self.total = splits, None if epochs is None else splits * epochs
        self.done = 0
        self._curves: dict[int, list[float]] = {}
        self._start = time.monotonic()

    def add(self, split: int, record: "EpochRecord") -> None:
        self.done += 1
        self._curves.setdefault(split, []).append(record.validation_srocc)

    def words(self, split: int) -> str:
        """Return the count, the speed, and the curve of a split with its last and best value."""
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        of = "" if self.total is None else f" of {self.total}"
        curve = self._curves[split]
        told = f"{self.done}{of} epochs in {len(self._curves)} of {self.splits} splits, {rate:.1f} epochs/s; split {split}: "
        if not any(map(isfinite, curve)):
            return f"{told}no validation SROCC"
        best = max(value for value in curve if isfinite(value))
        return f"{told}validation SROCC {sparkline(curve)} {_cell(curve[-1]).strip()}, best {best:.3f}"


NOTHING = "–"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]


def number(value: float, form: str = ".3f") -> str:
    """Return a number as a cell; one that is not defined is a dash."""
    return format(value, form) if isfinite(value) else NOTHING


def spread_cell(spread: "Summary") -> str:
    """Return `mean ± std (median)`."""
    return (
        f"{number(spread.mean)} ± {number(spread.std)} ({number(spread.median)})"
        if isfinite(spread.mean)
        else NOTHING
    )


def run_shown(request: "PretrainingRequest") -> "PretrainedNetwork":
    """Run a pre-training; a line an epoch goes to standard error, and a bar while a terminal is there."""
    from vqafeat.pretraining.pretrain import pretrain
    from vqafeat.pretraining.trainer import Step

    for item in request.sets:
        name, images = item.image_set.name, len(item.image_set.images)
        parts = f"{len(item.training)} for training, {len(item.validation)} for validation"
        click.echo(
            f"{name}: {images} images ({parts}), {len(item.rows)} pairs; deviations: "
            f"{item.image_set.std_source}",
            err=True,
        )
    events = pretrain(request)
    with _progress_bar("epoch") as show:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                found: PretrainedNetwork = end.value
                return found
            if isinstance(event, Step):
                state = f"loss {event.loss:.4f}, {event.images_per_second:.0f} images/s"
                show(f"epoch {event.epoch} of {request.recipe.epochs}", event.number, event.steps, state)
            else:
                click.echo(epoch_line(event, request.recipe.epochs), err=True)


def epoch_line(record: "PretrainingRecord", epochs: int) -> str:
    """Return an epoch's losses, its validation SROCC by set, and its speed, as a line."""
    sroccs = ", ".join(f"{name} {value:.3f}" for name, value in record.validation_srocc.items()) or "none"
    rate = 2 * record.pairs / record.seconds
    return (
        f"epoch {record.epoch:2} of {epochs}: fidelity {record.fidelity:.4f}, hinge {record.hinge:.4f}; "
        f"validation SROCC: {sroccs}; {rate:.0f} images/s"
    )


@contextmanager
def check_progress(images: int, words: str = "checking images") -> Iterator[Callable[[int], None]]:
    """Show how many images are done."""
    with _progress_bar(words) as show:
        yield lambda done: show(words, done, images, "")


@contextmanager
def _progress_bar(description: str) -> Iterator[Callable[[str, int, int, str], None]]:
    """Show a bar on standard error while a terminal is there; it is told what is done, how far, of how many,
    and how it goes.
    """
    console = Console(stderr=True)
    with Bar(*bar_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None, state="")
        yield lambda words, done, total, state: bar.update(
            task, description=words, completed=done, total=total, state=state
        )
