"""Progress bars on stderr, and metrics as lines of text."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, nan
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from vqafeat.extraction.results import ExtractionSummary
    from vqafeat.extraction.results import Progress as ExtractionProgress
    from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest
    from vqafeat.pretraining.trainer import PretrainingRecord
    from vqafeat.training.loop import Progress as FitProgress
    from vqafeat.training.results import MetricsSummary, Summary
    from vqafeat.training.trainer import EpochRecord

NO_VALUE = "–"

UpdateBar = Callable[..., None]


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[UpdateBar]:
    """Show a bar on stderr if it is a terminal; yield a function with the arguments of rich's `update`."""
    console = Console(stderr=True)
    texts = TextColumn("{task.description}"), TextColumn("{task.fields[state]}")
    columns = (texts[0], BarColumn(), MofNCompleteColumn(), texts[1], TimeRemainingColumn())
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
        pairs = f"{len(item.rows)} pairs; deviations: {std_source}"
        click.echo(f"{item.image_set.name}: {images} images ({parts}), {pairs}", err=True)
    epochs = request.recipe.epochs
    with progress_bar("epoch") as update:

        def show(event: Step | PretrainingRecord) -> None:
            if isinstance(event, Step):
                state = f"loss {event.loss:.4f}, {event.images_per_second:.0f} images/s"
                done = {"completed": event.number, "total": event.steps}
                update(description=f"epoch {event.epoch} of {epochs}", state=state, **done)
            else:
                click.echo(epoch_line(event, epochs), err=True)

        return pretrain(request, show)


def epoch_line(record: "PretrainingRecord", epochs: int) -> str:
    """Return an epoch's losses, its validation SROCC of each image set, and its speed."""
    sroccs = ", ".join(f"{name} {value:.3f}" for name, value in record.validation_srocc.items()) or "none"
    losses = f"fidelity {record.fidelity:.4f}, hinge {record.hinge:.4f}"
    rate = 2 * record.pairs / record.seconds
    return f"epoch {record.epoch:2} of {epochs}: {losses}; validation SROCC: {sroccs}; {rate:.0f} images/s"


@contextmanager
def fit_progress(
    splits: int, epochs: int | None = None, console: Console | None = None
) -> Iterator["FitProgress | None"]:
    """Show finished epochs and the latest split's curve on stderr if it is a terminal, else yield None."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    texts = TextColumn("{task.description}"), TextColumn("{task.fields[state]}", markup=False)
    columns = (texts[0], BarColumn(), texts[1], TimeElapsedColumn())
    counter = _EpochCounter(splits, epochs)
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("fit", total=counter.total, state="")

        def show(split: int, record: "EpochRecord") -> None:
            state = counter.add(split, record.validation_srocc)
            bar.update(task, completed=counter.done, state=state)

        yield show


class _EpochCounter:
    def __init__(self, splits: int, epochs: int | None) -> None:
        self.splits, self.total = splits, None if epochs is None else splits * epochs
        self.done = 0
        self._curves: dict[int, list[float]] = {}
        self._start = time.monotonic()

    def add(self, split: int, srocc: float) -> str:
        """Count an epoch; return the count, the speed, and the split's curve with its last and best value."""
        self.done += 1
        curve = self._curves.setdefault(split, [])
        curve.append(srocc)
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        of = "" if self.total is None else f" of {self.total}"
        done = f"{self.done}{of} epochs in {len(self._curves)} of {self.splits} splits, {rate:.1f} epochs/s"
        if not any(map(isfinite, curve)):
            return f"{done}; split {split}: no validation SROCC"
        best = max(filter(isfinite, curve))
        values = f"{sparkline(curve)} {number(curve[-1])}, best {best:.3f}"
        return f"{done}; split {split}: validation SROCC {values}"


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return one bar per value, scaled from the smallest to the largest; NaN is a gap, a constant curve has
    the lowest bars, and curves longer than `width` are averaged over `width` stretches of equal length.
    """
    import numpy as np

    if not len(values):
        return ""
    stretches = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else nan for part in stretches]
    low = min(filter(isfinite, means), default=0.0)
    span = max(filter(isfinite, means), default=0.0) - low or 1.0
    levels = (
        min(int((mean - low) / span * len(BARS)), len(BARS) - 1) if isfinite(mean) else None for mean in means
    )
    return "".join(" " if level is None else BARS[level] for level in levels)


# metrics ---------------------------------------------------------------------------------------------------


def metrics_lines(summary: "MetricsSummary", mapping: str) -> list[str]:
    """Return the metrics of the test parts as lines of text: mean, deviation and median over the splits."""
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
    legend = _mapping_legend(mapping, isfinite(summary.rmse_calibrated.mean))
    lines.append(f"  on {smallest_to_largest(summary.n)} test videos a split{legend}")
    lines += [f"  * {summary.few_videos}"] if summary.few_videos else []
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


def _mapping_legend(mapping: str, calibrated: bool) -> str:
    scores = "; calibrated: the scores that `predict` prints" if calibrated else ""
    fitted = f"; PLCC and RMSE after the mapping '{mapping}', fitted to each test part\n  "
    return scores if mapping == "none" else f"{fitted}plain: the heads' own output{scores}"


def number(value: float, form: str = ".3f") -> str:
    """Return a number as text, or a dash for NaN."""
    return format(value, form) if isfinite(value) else NO_VALUE


def summary_cell(values: "Summary") -> str:
    """Return `mean ± std (median)`, or a dash for NaN."""
    if not isfinite(values.mean):
        return NO_VALUE
    return f"{number(values.mean)} ± {number(values.std)} ({number(values.median)})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column aligned left and the others right."""
    columns = []
    for index, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        columns.append([f"{cell:>{width}}" if index else f"  {cell:{width}}" for cell in column])
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
