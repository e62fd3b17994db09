"""Progress bars on stderr, and results as JSON or lines of text."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from vqafeat.io import json_text

if TYPE_CHECKING:
    from vqafeat.extraction.results import ExtractionSummary
    from vqafeat.extraction.results import Progress as ExtractionProgress
    from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest
    from vqafeat.training.checkpoint import EpochRecord
    from vqafeat.training.progress import Progress as FitProgress
    from vqafeat.training.results import MetricsSummary

NO_VALUE = "–"

UpdateBar = Callable[..., None]
SECONDS_BETWEEN_LINES = 30.0
_LEAST_SECONDS = 0.25  # between two measurements of the speed
_WIDE = 120  # columns of a terminal
_LONGEST_NAME = 16  # of a video, in the bar
_DESCRIPTION, _COUNT, _STATE, _TIME_LEFT = (
    TextColumn(f"{{task.{name}}}", markup=False)
    for name in ("description", "fields[count]", "fields[state]", "fields[time_left]")
)


class TimeLeft:
    """The time until work is done, by the speed of the last `seconds`."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._window, self._seen = seconds, deque[tuple[float, float]]()

    def text(self, done: float, total: float | None) -> str:
        """Return for example `ETA 0:02:10`, or an empty text while the speed or the total is not known."""
        now, seen = time.monotonic(), self._seen
        if not seen or done < seen[-1][1] or (len(seen) == 1 and now - seen[0][0] < _LEAST_SECONDS):
            # the work begins, perhaps with what an earlier run has done, or other work begins
            seen.clear()
        if not seen or now - seen[-1][0] >= _LEAST_SECONDS:
            seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= self._window:
            seen.popleft()
        start, before = seen[0]
        if total is None or done <= before:
            return ""
        minutes, seconds = divmod(round((total - done) * (now - start) / (done - before)), 60)
        return f"ETA {minutes // 60}:{minutes % 60:02}:{seconds:02}"


@contextmanager
def progress_bar(
    description: str, total: int | None = None, console: Console | None = None, transient: bool = True
) -> Iterator[UpdateBar]:
    """Show a bar on stderr, or without a terminal a line every half minute.

    The yielded function takes the arguments of rich's `update`, `state`, a text, and `count`, which is shown
    in place of the number of steps.
    """
    console = console or Console(stderr=True)
    width = max(10, min(40, console.width - 72))
    columns = (_DESCRIPTION, BarColumn(width), _COUNT, _STATE, _TIME_LEFT)
    with Bar(*columns, console=console, transient=transient, disable=not console.is_terminal) as bar:
        number = bar.add_task(description, total=total, count="", state="", time_left="")
        task, time_left, last = bar.tasks[0], TimeLeft(), time.monotonic()

        def update(**changes: Any) -> None:
            nonlocal last
            bar.update(number, **changes)
            count = f"{task.completed:.0f}/{task.total:.0f}" if task.total else f"{task.completed:.0f}"
            left = time_left.text(task.completed, task.total)
            bar.update(number, count=changes.get("count", count), time_left=left)
            if not console.is_terminal and time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                words = ", ".join(filter(None, (task.fields["count"], task.fields["state"], left)))
                console.print(f"{task.description}: {words}", markup=False, highlight=False, soft_wrap=True)

        yield update


@contextmanager
def shown_progress(videos: int, frames_each: float = 0.0) -> Iterator["ExtractionProgress"]:
    """Show the progress of an extraction on stderr; videos have `frames_each` frames, 0 if not known."""
    with progress_bar("videos") as update:
        yield _ExtractionBar(update, videos, frames_each)


class _ExtractionBar:
    """Counts decoded frames, and estimates those of the videos that have not ended."""

    def __init__(self, update: UpdateBar, videos: int, frames_each: float) -> None:
        from vqafeat.extraction.results import ExtractionSummary

        self._update, self._videos, self._frames_each = update, videos, frames_each
        self._frames, self._summary, self._ended = 0, ExtractionSummary(), 0
        self._start, self._name = time.monotonic(), "videos"

    def video(self, name: str) -> None:
        self._name = name[-_LONGEST_NAME:]
        self._show()

    def frames(self, count: int) -> None:
        self._frames += count
        self._show()

    def done(self, summary: "ExtractionSummary") -> None:
        self._summary = summary
        self._ended += 1
        self._show()

    def _show(self) -> None:
        summary = self._summary
        each = self._frames_each or summary.frames / max(summary.extracted, 1)
        expected = summary.frames + each * (self._videos - self._ended)
        rate = self._frames / max(time.monotonic() - self._start, 1e-9)
        self._update(
            description=self._name,
            completed=self._frames,
            total=max(expected, self._frames) if each else None,
            count=f"{self._ended}/{self._videos} videos",
            state=f"{rate:.1f} frames/s, {len(summary.failures)} failed",
        )


def run_shown(request: "PretrainingRequest", overwrite: bool) -> "PretrainedNetwork":
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

        return pretrain(request, show, overwrite)


@contextmanager
def fit_progress(
    splits: int, epochs: int | None = None, console: Console | None = None, final: bool = False
) -> Iterator["FitProgress"]:
    """Show finished epochs and the latest split's SROCC on stderr; where there is room, also its curve."""
    console = console or Console(stderr=True)
    is_wide = not console.is_terminal or console.width >= _WIDE
    curves: dict[int, list[float]] = {}
    with progress_bar("epochs", epochs and (splits + final) * epochs, console, transient=False) as update:

        def show(split: int, record: "EpochRecord") -> None:
            name = f"split {split}" if split < splits else "final head"
            if record.epoch == 1:  # again if the memory of a GPU was too small for its group
                curves[split] = []
            sroccs = curves[split]
            sroccs.append(record.validation_srocc)
            curve = "no validation SROCC"
            if finite := [srocc for srocc in sroccs if isfinite(srocc)]:
                line = f"validation SROCC {sparkline(sroccs)}" if is_wide else "SROCC"
                curve = f"{line} {number(sroccs[-1])}, best {max(finite):.3f}"
            count = f"in {min(len(curves), splits)} of {splits} splits, " if is_wide else ""
            update(completed=sum(map(len, curves.values())), state=f"{count}{name}: {curve}")

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

    def bar(mean: float) -> str:
        return BARS[min(int((mean - low) / span * len(BARS)), len(BARS) - 1)] if isfinite(mean) else " "

    return "".join(map(bar, means))


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
