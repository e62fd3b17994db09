"""Which rows of a video's stored features a head sees: they are sampled first, then shuffled.

A row is a frame, or a cube of frames in feature sets with one row a cube. Sampling counts rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from math import ceil
from pathlib import PurePath
from typing import Any

import numpy as np

from vqafeat.datasets.dataset import times_problem
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.registry import named
from vqafeat.store.features import FeatureDataset, FrameSelector, Index, Seconds
from vqafeat.store.types import uniform_frames
from vqafeat.training import ORDERS

# times are sums of rounded numbers: smaller gaps are ties, won by the earlier frame, or by the clock's end
_SECONDS_ALIKE = 1e-6
_TRAINING, _VALIDATION, _TESTING = range(3)
_WHOLE_NUMBER = r"([1-9]\d{0,8})"

# form in `SAMPLINGS` → the pattern of its text
_PATTERNS = {
    "all": "all|sample-0|rate-own",
    "sample-K": f"sample-{_WHOLE_NUMBER}",
    "stride-N": f"stride-{_WHOLE_NUMBER}",
    "uniform-N": f"uniform-{_WHOLE_NUMBER}",
    "rate-R": r"rate-(\d{1,9}(?:\.\d{1,9})?)",
}
# Fang et al. (section IV-C) list SO as shuffled in training and OS as shuffled in testing; their discussion
# of the tables swaps the two. The list's reading is the one used, and a run records it.
ORDER_READING = "first letter: training and validation, second letter: testing; O: original, S: shuffled"


@dataclass(frozen=True, eq=False)
class VideoRows:
    """A video with `count` rows; `seconds` returns their presentation times, None if unknown."""

    name: str
    count: int
    seconds: Callable[[], Seconds | None]


@dataclass(frozen=True)
class Sampling:
    """A choice of rows: a form of `SAMPLINGS` and its K, N or R. None stands for all rows in order."""

    form: str
    number: float = 0

    @property
    def random(self) -> bool:
        """Whether two draws may differ."""
        return self.form == "sample-K"

    def rows(self, video: VideoRows) -> Index | None:
        """Return the rows that can be drawn, never decreasing."""
        match self.form:
            case "stride-N":
                return np.arange(0, video.count, int(self.number))
            case "uniform-N":
                return np.array(uniform_frames(video.count, int(self.number)), dtype=np.intp)
            case "rate-R":
                return _nearest_rows(video, self.number)
        return None

    def draw(self, video: VideoRows, generator: np.random.Generator) -> Index | None:
        """Return the rows that are taken, never decreasing.

        `sample-K` takes one row of each cube of K rows (Fang et al., section IV-C). A last cube that would be
        short is the video's last K rows, so that a row may be taken twice; a shorter video is one cube.
        """
        if not self.random:
            return self.rows(video)
        size = int(self.number)
        starts = np.minimum(np.arange(0, video.count, size), max(video.count - size, 0))
        return np.sort(starts + generator.integers(0, min(size, video.count), len(starts)))


def _nearest_rows(video: VideoRows, rate: float) -> Index:
    """Return the row nearest to each tick of a clock (Fontanel et al., section 4.2.1).

    The clock runs from the first row to half a median step behind the last one, so that a video at the
    clock's rate keeps all rows however its times are rounded. A faster clock repeats rows.
    """
    seconds = video.seconds()
    problem = f"sampling is 'rate-{rate:g}', but the times of the frames of '{video.name}'"
    by_count = "sample by count, as with sample-4, stride-2 or uniform-128."
    if seconds is None:
        raise StoreError(
            f"{problem} are not known, as of imported features, or of a file whose time stamps are all equal "
            f"or go back. Extract the features of a file with times with `vqafeat extract`, or {by_count}"
        )
    if useless := times_problem(seconds, unit="row"):
        next_step = "correct the file's time stamps and extract it again"
        raise StoreError(f"{problem} {useless}; {next_step}, or {by_count}")
    end = seconds[-1] - seconds[0] + (np.median(np.diff(seconds)) / 2 if video.count > 1 else 0.0)
    ticks = seconds[0] + np.arange(max(ceil((end - _SECONDS_ALIKE) * rate), 1)) / rate
    nearest: Index = np.searchsorted((seconds[1:] + seconds[:-1]) / 2 + _SECONDS_ALIKE, ticks)
    return nearest


def sampling_named(text: str) -> Sampling:
    """Return the sampling that a text names, for example `sample-16`."""
    for form, pattern in _PATTERNS.items():
        if match := re.fullmatch(pattern, text):
            sampling = Sampling(form, *map(float, match.groups()))
            if form == "all" or sampling.number > 0:
                return sampling
    raise ArgumentError(
        f"sampling is '{text}'; it has to be {', '.join(_PATTERNS)}, with numbers above 0, for example "
        "sample-16 (`vqafeat list samplings` explains them)."
    )


@dataclass(frozen=True)
class FrameInput:
    """The frames that a head sees, for example "SO" and "sample-16" (`ORDERS` and `SAMPLINGS`)."""

    order: str = "OO"
    sampling: str = "all"
    draws: int = 1  # of a test video's frames, whose mean is its score

    def __post_init__(self) -> None:
        named("order", self.order, ORDERS)
        is_random = self.rule.random or self.order[1] == "S"
        if self.draws < 1:
            raise ArgumentError(f"draws is {self.draws}; it has to be at least 1.")
        if self.draws > 1 and not is_random:
            raise ArgumentError(
                f"draws is {self.draws}, but nothing is drawn in testing with order '{self.order}' and "
                f"sampling '{self.sampling}'; set draws to 1, or use order OS or SS, or sampling sample-K."
            )

    @cached_property
    def rule(self) -> Sampling:
        """How rows are sampled."""
        return sampling_named(self.sampling)

    @property
    def words(self) -> str:
        """What the head sees, in words."""
        mean = f", mean of {self.draws} draws" if self.draws > 1 else ""
        return f"order {self.order} ({ORDERS[self.order]}), sampling {self.sampling}{mean}"

    def tested_otherwise(self, changes: Mapping[str, Any]) -> "FrameInput":
        """Return the frames for testing with some values changed; the order of training cannot change."""
        changed = replace(self, **changes)
        if changed.order[0] != self.order[0]:
            able = " or ".join(name for name in ORDERS if name[0] == self.order[0])
            raise ArgumentError(
                f"order is '{changed.order}', but the run was trained in order '{self.order}', and only the "
                f"second letter can change: use {able}, or fit again with --order {changed.order}."
            )
        return changed

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them, with the reading of the order's letters."""
        return {**asdict(self), "order_reading": ORDER_READING}


WHOLE_VIDEOS = FrameInput()


@dataclass(frozen=True, eq=False)
class FrameSampler:
    """The rows that the videos of a `FeatureDataset` give at each stage of a fit."""

    frame_input: FrameInput
    data: FeatureDataset

    def check(self) -> None:
        """Refuse features that cannot be sampled like this."""
        for row in range(len(self.data)):
            self.candidate_indices(row)

    def candidate_indices(self, row: int) -> Index | None:
        """Return the rows of a video that can be drawn at all, in their order; None for all."""
        return self.frame_input.rule.rows(self._video(row))

    def training(self, seed: int, epoch: int) -> FrameSelector:
        """Return the rows of a training epoch; each epoch draws anew."""
        return self._selector(seed, _TRAINING, epoch)

    def validation(self, seed: int) -> FrameSelector:
        """Return the rows of validation, in the order of training: the same after each epoch."""
        return self._selector(seed, _VALIDATION, 0)

    def testing(self, seed: int) -> tuple[FrameSelector, ...]:
        """Return the rows of each draw of testing; see `indices_in_testing`."""
        return tuple(self._selector(seed, _TESTING, draw) for draw in range(self.frame_input.draws))

    def _selector(self, *seed: int) -> FrameSelector:
        return lambda row: _draw(self.frame_input, self._video(row), seed)

    def _video(self, row: int) -> VideoRows:
        return VideoRows(self.data.names[row], self.data.lengths[row], partial(self.data.seconds, row))


def indices_in_testing(frame_input: FrameInput, video: VideoRows, seed: int) -> list[Index | None]:
    """Return the rows that each draw of testing takes, as a head sees them; None for all in order.

    All heads of a run see the same rows, since `seed` is the run's and not a split's. A video is identified
    by its file's name without folders, so that a file gives the rows that the stored video of that name gave.
    """
    return [_draw(frame_input, video, (seed, _TESTING, draw)) for draw in range(frame_input.draws)]


def _draw(frame_input: FrameInput, video: VideoRows, seed: Sequence[int]) -> Index | None:
    """Return the rows of a video; `seed` is a seed, the stage, and the number of the epoch or draw."""
    rule, is_test = frame_input.rule, seed[1] == _TESTING
    shuffled = frame_input.order[is_test] == "S"
    if not shuffled and not rule.random:
        return rule.rows(video)
    name = PurePath(video.name).name if is_test else video.name
    key = int.from_bytes(sha256(name.encode()).digest()[:8], "little")
    generator = np.random.default_rng([*seed, key])
    rows = rule.draw(video, generator)
    return generator.permutation(video.count if rows is None else rows) if shuffled else rows
