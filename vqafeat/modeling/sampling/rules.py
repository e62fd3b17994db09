"""Sampling: which rows of a video's cached features are taken, before any shuffle.

A row is a frame, or a cube of frames where the feature set has a row a cube; the rules count rows, and tell time by their frames.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np

from vqafeat.errors import ArgumentError, StoreError
from vqafeat.modeling.rows import Index, Seconds
from vqafeat.registry import Registry
from vqafeat.store.types import uniform_frames

# times are sums of rounded numbers: of two frames that are as near but for this, the earlier one is the nearest
_SECONDS_ALIKE = 1e-6
_WHOLE_NUMBER = r"([1-9]\d{0,8})"


@dataclass(frozen=True, eq=False)
class VideoRows:
    """The rows of one video's features, to be picked from.

    Attributes:
        name: of the video.
        count: number of rows, at least 1.
        seconds: returns the (row,) presentation time of each row's frame, or None where it is not known; asked only where time matters.
    """

    name: str
    count: int
    seconds: Callable[[], Seconds | None]


class Sampling(ABC):
    """A choice of rows; None stands for all of them, once and in order."""

    random: ClassVar[bool] = False
    """Whether two draws may differ."""

    @abstractmethod
    def rows(self, video: VideoRows) -> Index | None:
        """Return the rows that can be picked, never decreasing.

        Raises:
            StoreError: the video lacks what the choice is made by.
        """

    def draw(self, video: VideoRows, generator: np.random.Generator) -> Index | None:
        """Return the rows that are picked, never decreasing."""
        return self.rows(video)


@dataclass(frozen=True)
class Rule:
    """A kind of sampling.

    Attributes:
        pattern: of the text that asks for it; its groups are the arguments of `make`.
        make: returns the sampling.
        described: in words.
    """

    pattern: str
    make: Callable[..., Sampling]
    described: str


SAMPLINGS: Registry[Rule] = Registry("sampling")


def sampling_named(text: str) -> Sampling:
    """Return the sampling that a text asks for, for example `sample-16`.

    Raises:
        ArgumentError: no rule of `SAMPLINGS` reads it.
    """
    for form in SAMPLINGS:
        rule = SAMPLINGS.get(form)
        if found := re.fullmatch(rule.pattern, text):
            return rule.make(*found.groups())
    raise ArgumentError(
        f"sampling is '{text}'; it has to be {', '.join(SAMPLINGS)}, with numbers above 0, for example sample-16 "
        "(`vqafeat list samplings` explains them)."
    )


@dataclass(frozen=True)
class EveryRow(Sampling):
    """All rows: Fang et al.'s sample-0."""

    def rows(self, video: VideoRows) -> None:
        """Return None: all rows."""
        return


@dataclass(frozen=True)
class OneOfEachCube(Sampling):
    """One random row of each cube of `size` rows (Fang et al., section IV-C).

    A last cube that would be short is the video's last `size` rows; a shorter video is one cube. Cubes are drawn from one by one, so that
    the last two, where they overlap, may give the same row.
    """

    size: int
    random: ClassVar[bool] = True

    def rows(self, video: VideoRows) -> None:
        """Return None: each row is in a cube."""
        return

    def draw(self, video: VideoRows, generator: np.random.Generator) -> Index:
        """Return one row of each cube, in the order of the video."""
        starts = np.minimum(np.arange(0, video.count, self.size), max(video.count - self.size, 0))
        return np.sort(starts + generator.integers(0, min(self.size, video.count), len(starts)))


@dataclass(frozen=True)
class EveryNth(Sampling):
    """Rows 0, `step`, 2·`step` …"""

    step: int

    def rows(self, video: VideoRows) -> Index:
        """Return every `step`-th row."""
        return np.arange(0, video.count, self.step)


@dataclass(frozen=True)
class EqualIntervals(Sampling):
    """`number` rows at equal intervals, as extraction picks frames; all rows, once, of a video with fewer."""

    number: int

    def rows(self, video: VideoRows) -> Index:
        """Return the rows at equal intervals."""
        return np.array(uniform_frames(video.count, self.number), dtype=np.intp)


@dataclass(frozen=True)
class Clock(Sampling):
    """The row nearest to each tick of a clock that starts with the first row (Fontanel et al., section 4.2.1).

    It ticks up to half a usual step (the median one) behind the last row, so that a video at the clock's own rate keeps all rows however
    its times are rounded. A clock faster than the video repeats rows; of two rows as near the earlier one is taken.

    Attributes:
        rate: ticks a second.
    """

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ArgumentError(f"the rate of a sampling is {self.rate:g}; it has to be above 0 frames a second, as in rate-25.")

    def rows(self, video: VideoRows) -> Index:
        """Return the nearest row of each tick."""
        seconds = self._seconds(video)
        end = seconds[-1] - seconds[0] + (np.median(np.diff(seconds)) / 2 if video.count > 1 else 0.0)
        ticks = seconds[0] + np.arange(max(ceil(end * self.rate), 1)) / self.rate
        nearest: Index = np.searchsorted((seconds[1:] + seconds[:-1]) / 2 + _SECONDS_ALIKE, ticks)
        return nearest

    def _seconds(self, video: VideoRows) -> Seconds:
        seconds = video.seconds()
        if seconds is None:
            raise StoreError(
                f"sampling is 'rate-{self.rate:g}', but the times of the frames of '{video.name}' are not known: imported features come "
                "without them, and no rate is assumed. Extract the features from the videos with `vqafeat extract`, or sample by count, "
                "as with sample-4, stride-2 or uniform-128."
            )
        back = np.flatnonzero(~(np.diff(seconds) >= 0))
        if len(back):
            raise StoreError(
                f"sampling is 'rate-{self.rate:g}', but the times of the frames of '{video.name}' go back behind row {back[0]}; "
                "mend that video's clock and extract it again, or sample by count, as with sample-4, stride-2 or uniform-128."
            )
        return seconds


SAMPLINGS.add("all", Rule("all|sample-0|rate-own", EveryRow, "every frame as stored (also: sample-0, rate-own)"))
SAMPLINGS.add(
    "sample-K",
    Rule(
        f"sample-{_WHOLE_NUMBER}",
        lambda size: OneOfEachCube(int(size)),
        "one random frame of each K; drawn anew each epoch (Fang et al.: K = 4, 8, 16)",
    ),
)
SAMPLINGS.add("stride-N", Rule(f"stride-{_WHOLE_NUMBER}", lambda step: EveryNth(int(step)), "every N-th frame"))
SAMPLINGS.add("uniform-N", Rule(f"uniform-{_WHOLE_NUMBER}", lambda number: EqualIntervals(int(number)), "N frames at equal intervals"))
SAMPLINGS.add(
    "rate-R",
    Rule(
        r"rate-(\d{1,9}(?:\.\d{1,9})?)",
        lambda rate: Clock(float(rate)),
        "R frames a second: the frame nearest to each tick, by the stored times (Fontanel et al.: R = 25, 20, 10, 5)",
    ),
)
