"""Sampling: which rows of a video's cached features are taken, before any shuffle.

A row is a frame, or a cube of frames where the feature set has a row a cube; the rules count rows, and tell
time by their frames.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from functools import cached_property, partial
from hashlib import sha256
from math import ceil
from pathlib import PurePath
from typing import Any, ClassVar

import numpy as np

from vqafeat.errors import ArgumentError, StoreError, WeightsError
from vqafeat.registry import Registry
from vqafeat.store.types import uniform_frames
from vqafeat.training.data import FeatureDataset, FrameSelector, Index, Seconds

# times are sums of rounded numbers: of two frames that are as near but for this, the earlier one is the
# nearest
_SECONDS_ALIKE = 1e-6
_WHOLE_NUMBER = r"([1-9]\d{0,8})"


@dataclass(frozen=True, eq=False)
class VideoRows:
    """The rows of one video's features, to be picked from.

    Attributes:
        name: of the video.
        count: number of rows, at least 1.
        seconds: returns the (row,) presentation time of each row's frame, or None where it is not known;
            asked only where time matters.
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
        f"sampling is '{text}'; it has to be {', '.join(SAMPLINGS)}, with numbers above 0, for example "
        f"sample-16 "
        "(`vqafeat list samplings` explains them)."
    )


@dataclass(frozen=True)
class EveryRow(Sampling):
    """All rows: Fang et al.'s sample-0."""

    def rows(self, video: VideoRows) -> None:
        """Return None: all rows."""
        return


@dataclass(frozen=True)
class RandomPerWindow(Sampling):
    """One random row of each cube of `size` rows (Fang et al., section IV-C).

    A last cube that would be short is the video's last `size` rows; a shorter video is one cube. Cubes are
    drawn from one by one, so that the last two, where they overlap, may give the same row.
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
class Stride(Sampling):
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
class ResampleRate(Sampling):
    """The row nearest to each tick of a clock that starts with the first row (Fontanel et al., section
    4.2.1).

    It ticks up to half a usual step (the median one) behind the last row, so that a video at the clock's own
    rate keeps all rows however its times are rounded. A clock faster than the video repeats rows; of two rows
    as near the earlier one is taken.

    Attributes:
        rate: ticks a second.
    """

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ArgumentError(
                f"the rate of a sampling is {self.rate:g}; it has to be above 0 frames a second, as in "
                f"rate-25."
            )

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
                f"sampling is 'rate-{self.rate:g}', but the times of the frames of '{video.name}' are not "
                f"known: imported features come "
                "without them, and no rate is assumed. Extract the features from the videos with `vqafeat "
                "extract`, or sample by count, "
                "as with sample-4, stride-2 or uniform-128."
            )
        back = np.flatnonzero(~(np.diff(seconds) >= 0))
        if len(back):
            raise StoreError(
                f"sampling is 'rate-{self.rate:g}', but the times of the frames of '{video.name}' go back "
                f"behind row {back[0]}; "
                "mend that video's clock and extract it again, or sample by count, as with sample-4, "
                "stride-2 or uniform-128."
            )
        return seconds


SAMPLINGS.add(
    "all", Rule("all|sample-0|rate-own", EveryRow, "every frame as stored (also: sample-0, rate-own)")
)
SAMPLINGS.add(
    "sample-K",
    Rule(
        f"sample-{_WHOLE_NUMBER}",
        lambda size: RandomPerWindow(int(size)),
        "one random frame of each K; drawn anew each epoch (Fang et al.: K = 4, 8, 16)",
    ),
)
SAMPLINGS.add("stride-N", Rule(f"stride-{_WHOLE_NUMBER}", lambda step: Stride(int(step)), "every N-th frame"))
SAMPLINGS.add(
    "uniform-N",
    Rule(
        f"uniform-{_WHOLE_NUMBER}", lambda number: EqualIntervals(int(number)), "N frames at equal intervals"
    ),
)
SAMPLINGS.add(
    "rate-R",
    Rule(
        r"rate-(\d{1,9}(?:\.\d{1,9})?)",
        lambda rate: ResampleRate(float(rate)),
        "R frames a second: the frame nearest to each tick, by the stored times (Fontanel et al.: R = 25, "
        "20, 10, 5)",
    ),
)

# Fang et al. (section IV-C) list SO as shuffled in training and OS as shuffled in testing; their discussion
# of the tables calls OS the second and SO the third mode of that list, which are swapped there. The list's
# reading is the one used, and a run records it.
ORDER_READING = "first letter: training and validation, second letter: testing; O: original, S: shuffled"


@dataclass(frozen=True)
class Order:
    """An input mode of Fang et al. (section IV-C).

    Attributes:
        shuffles_training: the frames of training and validation videos are shuffled.
        shuffles_testing: those of test videos are.
        described: in words.
    """

    shuffles_training: bool
    shuffles_testing: bool
    described: str


ORDERS: Registry[Order] = Registry("order")
ORDERS.add("OO", Order(False, False, "trained and tested on frames in their original order"))
ORDERS.add("OS", Order(False, True, "trained on frames in their original order, tested on shuffled ones"))
ORDERS.add("SO", Order(True, False, "trained on shuffled frames, tested on frames in their original order"))
ORDERS.add("SS", Order(True, True, "trained and tested on shuffled frames"))


@dataclass(frozen=True)
class FrameInput:
    """The frames that a head takes in: first they are sampled, then shuffled.

    Attributes:
        order: name in `ORDERS`, for example "SO".
        sampling: as `sampling_named` reads it, for example "sample-16".
        draws: a test score is the mean over this many draws of the test video's frames.

    Raises:
        UnknownNameError: there is no such order.
        ArgumentError: there is no such sampling, or `draws` asks for several draws where each would be the
            same.
    """

    order: str = "OO"
    sampling: str = "all"
    draws: int = 1

    def __post_init__(self) -> None:
        drawn = ORDERS.get(self.order).shuffles_testing or self.rule.random
        if self.draws < 1:
            raise ArgumentError(f"draws is {self.draws}; it has to be at least 1.")
        if self.draws > 1 and not drawn:
            raise ArgumentError(
                f"draws is {self.draws}, but nothing is drawn in testing with order '{self.order}' and "
                f"sampling '{self.sampling}'; "
                "set draws to 1, or use order OS or SS, or sampling sample-K."
            )

    @cached_property
    def rule(self) -> Sampling:
        """The sampling."""
        return sampling_named(self.sampling)

    @property
    def words(self) -> str:
        """What is taken in, in words."""
        mean = f", mean of {self.draws} draws" if self.draws > 1 else ""
        return f"order {self.order} ({ORDERS.get(self.order).described}), sampling {self.sampling}{mean}"

    def tested_otherwise(self, changes: Mapping[str, Any]) -> "FrameInput":
        """Return the frames that heads that were trained on these are to be tested on, with some choices
        changed.

        Raises:
            ArgumentError: the order would be another one in training.
        """
        changed = replace(self, **changes)
        trained = ORDERS.get(self.order).shuffles_training
        if ORDERS.get(changed.order).shuffles_training != trained:
            able = " or ".join(name for name in ORDERS if ORDERS.get(name).shuffles_training == trained)
            raise ArgumentError(
                f"order is '{changed.order}', but the run was trained in order '{self.order}', of which "
                f"only the second letter, testing, "
                f"can be changed: use {able}, or fit again with --order {changed.order}."
            )
        return changed

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them, with the reading of the order's letters."""
        return {**asdict(self), "order_reading": ORDER_READING}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FrameInput":
        """Return the frames that `as_dict` described.

        Raises:
            WeightsError: the values are others, or the letters were read in another way.
        """
        rest = dict(values)
        reading = rest.pop("order_reading", None)
        if reading != ORDER_READING or set(rest) != set(asdict(WHOLE_VIDEOS)):
            raise WeightsError(
                f"the frame input of the run is {dict(values)}; it needs order, sampling, draws and the "
                f"order_reading '{ORDER_READING}'. "
                "Fit again."
            )
        return cls(**rest)


WHOLE_VIDEOS = FrameInput()

_KEY_BYTES = 8


class _Stage(IntEnum):
    TRAINING = 0
    VALIDATION = 1
    TESTING = 2


@dataclass(frozen=True, eq=False)
class FrameSampler:
    """The rows that the videos of `data` give at each stage of a fit.

    Attributes:
        frame_input: sampling and order.
        data: the features.
    """

    frame_input: FrameInput
    data: FeatureDataset

    def check(self) -> None:
        """Refuse features that cannot be sampled so.

        Raises:
            StoreError: a video lacks what the sampling is made by.
        """
        for row in range(len(self.data)):
            self.candidate_indices(row)

    def candidate_indices(self, row: int) -> Index | None:
        """Return the rows of a video that can be drawn at all, in their order; None for all."""
        return self.frame_input.rule.rows(self._video(row))

    def training(self, seed: int, epoch: int) -> FrameSelector:
        """Return the picks of a training epoch; each epoch draws anew."""
        return partial(
            self._taken, ORDERS.get(self.frame_input.order).shuffles_training, (seed, _Stage.TRAINING, epoch)
        )

    def validation(self, seed: int) -> FrameSelector:
        """Return the picks of validation, in the order of training: the same after each epoch."""
        return partial(
            self._taken, ORDERS.get(self.frame_input.order).shuffles_training, (seed, _Stage.VALIDATION, 0)
        )

    def testing(self, seed: int) -> tuple[FrameSelector, ...]:
        """Return the picks of each draw of testing; see `indices_in_testing`."""
        return tuple(partial(self._tested, seed, draw) for draw in range(self.frame_input.draws))

    def _taken(self, shuffled: bool, seed: tuple[int, ...], row: int) -> Index | None:
        return _taken_rows(self.frame_input, self._video(row), shuffled, seed)

    def _tested(self, seed: int, draw: int, row: int) -> Index | None:
        return _tested_rows(self.frame_input, self._video(row), seed, draw)

    def _video(self, row: int) -> VideoRows:
        return VideoRows(self.data.names[row], self.data.lengths[row], partial(self.data.seconds, row))


def indices_in_testing(frame_input: FrameInput, video: VideoRows, seed: int) -> list[Index | None]:
    """Return the rows of a video that each draw of testing takes, in the order in which a head sees them;
    None for all in order.

    All heads of a run see the same rows, since `seed` is the run's and not a split's. The video is known by
    its file's name without folders, so that a file scored by itself gives the rows that the stored video of
    that name gave.

    Raises:
        StoreError: the video lacks what the sampling is made by.
    """
    return [_tested_rows(frame_input, video, seed, draw) for draw in range(frame_input.draws)]


def _tested_rows(frame_input: FrameInput, video: VideoRows, seed: int, draw: int) -> Index | None:
    named = replace(video, name=PurePath(video.name).name)
    return _taken_rows(
        frame_input, named, ORDERS.get(frame_input.order).shuffles_testing, (seed, _Stage.TESTING, draw)
    )


def _taken_rows(
    frame_input: FrameInput, video: VideoRows, shuffled: bool, seed: Sequence[int]
) -> Index | None:
    rule = frame_input.rule
    if not shuffled and not rule.random:
        return rule.rows(video)
    key = int.from_bytes(sha256(video.name.encode()).digest()[:_KEY_BYTES], "little")
    generator = np.random.default_rng([*seed, key])
    rows = rule.draw(video, generator)
    if not shuffled:
        return rows
    return generator.permutation(video.count if rows is None else rows)
