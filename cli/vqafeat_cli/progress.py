"""The progress line of an extraction: videos, frames per second, time left, failures; nothing without a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

from vqafeat.extraction.loop import ExtractionSummary, Silent
from vqafeat.extraction.loop import Progress as Watcher


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
def shown_progress(videos: int) -> Iterator[Watcher]:
    """Show progress on standard error while a terminal is there."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent()
        return
    with Progress(*bar_columns(), console=console, transient=True) as shown:
        yield _Line(shown, shown.add_task("videos", total=videos, state=""))


class _Line:
    def __init__(self, shown: Progress, task: TaskID) -> None:
        self._shown, self._task = shown, task
        self._frames, self._failed = 0, 0
        self._start = time.monotonic()

    def video(self, name: str) -> None:
        self._shown.update(self._task, description=name[-40:])

    def frames(self, count: int) -> None:
        self._frames += count
        rate = self._frames / max(time.monotonic() - self._start, 1e-9)
        self._shown.update(self._task, state=f"{rate:.1f} frames/s, {self._failed} failed")

    def done(self, summary: ExtractionSummary) -> None:
        self._failed = len(summary.failures)
        self._shown.update(self._task, advance=1)
