"""What an extraction did: its counts, its progress, and the log of the videos that failed."""

import json
import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vqafeat.errors import VideoError
from vqafeat.remote import StorePath
from vqafeat.store import translate_write_errors

if TYPE_CHECKING:
    from vqafeat.extraction.pipeline import VideoTask


@dataclass(frozen=True)
class Failure:
    """A video that could not be extracted; one line of the failure log."""

    video: str
    path: str
    kind: str
    message: str
    # those whose networks refuse the video, while others are stored; empty if no frame is readable
    feature_sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExtractionSummary:
    """How many videos were extracted and skipped, which ones failed, and how many frames were decoded."""

    extracted: int = 0
    skipped: int = 0
    failures: tuple[Failure, ...] = ()
    frames: int = 0
    bad_times: tuple[str, ...] = ()  # extracted videos whose frames have no usable times, and why

    @property
    def times_note(self) -> str:
        """How many videos have times that cannot be used, or an empty text."""
        if not self.bad_times:
            return ""
        first = f"the times of the frames of {len(self.bad_times)} video(s) cannot be used (first: "
        return f"{first}{self.bad_times[0]}); --sampling rate-R and --per-frame refuse these videos."

    @classmethod
    def failed(
        cls, video: str, path: object, error: VideoError, feature_sets: tuple[str, ...] = ()
    ) -> "ExtractionSummary":
        """Return the summary of one video that failed, for some feature sets or as a whole."""
        return cls(failures=(Failure(video, str(path), error.kind, str(error), feature_sets),))

    def __add__(self, other: "ExtractionSummary") -> "ExtractionSummary":
        return ExtractionSummary(*map(operator.add, vars(self).values(), vars(other).values()))


class Progress(Protocol):
    """What an extraction reports while it runs."""

    def video(self, name: str) -> None:
        """Report that a video begins."""
        return

    def frames(self, count: int) -> None:
        """Report that `count` more frames were decoded."""
        return

    def done(self, summary: ExtractionSummary) -> None:
        """Report that one more video was extracted, skipped or failed, with the totals so far."""
        return


class NullProgress(Progress):
    """Shows nothing."""


class Tally:
    """Adds up what becomes of the videos and reports progress; without a log, the parent logs failures."""

    def __init__(self, log: "FailureLog | None" = None, progress: Progress | None = None) -> None:
        self._log, self._progress = log, progress or NullProgress()
        self.summary = ExtractionSummary()

    def video(self, name: str) -> None:
        """Report that a video begins."""
        self._progress.video(name)

    def frames(self, count: int) -> None:
        """Report decoded frames; they are counted when their video is stored."""
        self._progress.frames(count)

    def add(self, result: ExtractionSummary) -> None:
        """Count what became of one video, or of several."""
        if self._log is not None:
            for failure in result.failures:
                self._log.add(failure)
        self.summary += result
        for _ in range(result.extracted + result.skipped + len(result.failures)):
            self._progress.done(self.summary)

    def fail(self, task: "VideoTask", error: VideoError) -> None:
        """Count a video that failed."""
        self.add(ExtractionSummary.failed(task.name, task.path, error))


class FailureLog:
    """A file next to the store with one line for each video that failed, in this run or an earlier one.

    What earlier runs logged about the videos and feature sets that are `attempted` now is removed.
    """

    def __init__(self, path: StorePath, attempted: Sequence[str], feature_sets: Sequence[str] = ()) -> None:
        self.path = path
        videos, earlier = set(attempted), read_failure_log(path)
        self._lines: list[str] = []
        with translate_write_errors(path):
            path.unlink(missing_ok=True)
        for failure in earlier:
            others = tuple(name for name in failure.feature_sets if name not in feature_sets)
            if failure.video not in videos:
                self.add(failure)
            elif others:
                self.add(replace(failure, feature_sets=others))

    def add(self, failure: Failure) -> None:
        """Append a failure."""
        fields = {key: value for key, value in asdict(failure).items() if value != ()}
        self._lines.append(json.dumps(fields) + "\n")
        with translate_write_errors(self.path):
            if isinstance(self.path, Path):
                with self.path.open("a") as file:
                    file.write(self._lines[-1])
            else:
                self.path.write_text("".join(self._lines))  # nothing can be appended to an object


def read_failure_log(path: StorePath) -> list[Failure]:
    """Return the logged failures, oldest first; a line that a killed run left half written is ignored."""
    if not path.is_file():
        return []
    failures = []
    for line in path.read_text(errors="replace").splitlines():
        with suppress(ValueError, TypeError):
            fields = json.loads(line)
            failures.append(Failure(**{**fields, "feature_sets": tuple(fields.get("feature_sets", ()))}))
    return failures
