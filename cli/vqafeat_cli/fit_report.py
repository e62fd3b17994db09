"""What `fit`, `evaluate` and `demo` say of progress and metrics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from vqafeat.training.config import RECIPES
from vqafeat.training.loop import trainer_of
from vqafeat.training.parallel import Progress
from vqafeat.training.results import MEASURES, MetricsSummary
from vqafeat.training.trainer import EpochRecord
from vqafeat_cli.sparkline import sparkline


def metrics_lines(summary: MetricsSummary, mapping: str) -> list[str]:
    """Return the metrics of a fit as lines of text: mean, deviation and median over the splits.

    Args:
        summary: of the test parts.
        mapping: that PLCC and RMSE are read after.
    """
    lines = [f"  {'':16}   mean     std  median"]
    for name, words in shown_measures(mapping):
        spread = getattr(summary, name)
        if name in MEASURES or isfinite(spread.mean):
            few = " *" if summary.few_videos and isfinite(spread.mean) else ""
            lines.append(f"  {words:16} {_cell(spread.mean)}  {_cell(spread.std)}  {_cell(spread.median)}{few}")
    for name, own in summary.datasets.items():
        shown = ", ".join(f"{words} {_cell(getattr(own, measure).mean).strip()}" for measure, words in shown_measures(mapping))
        lines.append(f"  {name}: {shown}{' *' if own.few_videos else ''}")
    low, high = min(summary.n), max(summary.n)
    words = _mapping_words(mapping, isfinite(summary.rmse_calibrated.mean))
    lines.append(f"  on {low if low == high else f'{low} to {high}'} test videos a split{words}")
    if summary.few_videos:
        lines.append(f"  * {summary.few_videos}")
    return [*lines, *(f"  note: {note}" for note in summary.notes)]


def shown_measures(mapping: str) -> list[tuple[str, str]]:
    """Return the measures that are shown, and their names in the table."""
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


def epochs_of(head: str, recipe: str, asked_for: int | None) -> int | None:
    """Return the epochs of each split, or None for a head that is not trained in epochs."""
    if not trainer_of(head).follows_recipe:
        return None
    return RECIPES.get(recipe).epochs if asked_for is None else asked_for


@contextmanager
def fit_progress(splits: int, epochs: int | None = None, console: Console | None = None) -> Iterator[Progress | None]:
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
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}", markup=False), TimeElapsedColumn())
    with Bar(*columns, console=console) as bar:
        shown = _Epochs(splits, epochs)
        task = bar.add_task("fit", total=shown.total, state="")

        def show(split: int, record: EpochRecord) -> None:
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

    def add(self, split: int, record: EpochRecord) -> None:
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
