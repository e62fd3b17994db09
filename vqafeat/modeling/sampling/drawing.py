"""The rows that each video gives at each stage: drawn from a seed, the stage, the epoch or draw, and the video's name, nothing else.

So a draw depends neither on the order of videos, nor on the other ones, nor on the processes that share the splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from hashlib import sha256
from pathlib import PurePath

import numpy as np

from vqafeat.modeling.rows import Index, RowPicks
from vqafeat.modeling.sampling.frame_input import ORDERS, FrameInput
from vqafeat.modeling.sampling.rules import VideoRows
from vqafeat.modeling.sequences import Sequences

_KEY_BYTES = 8


class _Stage(IntEnum):
    TRAINING = 0
    VALIDATION = 1
    TESTING = 2


@dataclass(frozen=True, eq=False)
class RowDraws:
    """The rows that the videos of `sequences` give at each stage of a fit.

    Attributes:
        frame_input: sampling and order.
        sequences: the features.
    """

    frame_input: FrameInput
    sequences: Sequences

    def check(self) -> None:
        """Refuse features that cannot be sampled so.

        Raises:
            StoreError: a video lacks what the sampling is made by.
        """
        for row in range(len(self.sequences)):
            self.reachable(row)

    def reachable(self, row: int) -> Index | None:
        """Return the rows of a video that can be drawn at all, in their order; None for all."""
        return self.frame_input.rule.rows(self._video(row))

    def training(self, seed: int, epoch: int) -> RowPicks:
        """Return the picks of a training epoch; each epoch draws anew."""
        return partial(self._taken, ORDERS.get(self.frame_input.order).shuffles_training, (seed, _Stage.TRAINING, epoch))

    def validation(self, seed: int) -> RowPicks:
        """Return the picks of validation, in the order of training: the same after each epoch."""
        return partial(self._taken, ORDERS.get(self.frame_input.order).shuffles_training, (seed, _Stage.VALIDATION, 0))

    def testing(self, seed: int) -> tuple[RowPicks, ...]:
        """Return the picks of each draw of testing; see `rows_in_testing`."""
        return tuple(partial(self._tested, seed, draw) for draw in range(self.frame_input.draws))

    def _taken(self, shuffled: bool, seed: tuple[int, ...], row: int) -> Index | None:
        return _taken_rows(self.frame_input, self._video(row), shuffled, seed)

    def _tested(self, seed: int, draw: int, row: int) -> Index | None:
        return _tested_rows(self.frame_input, self._video(row), seed, draw)

    def _video(self, row: int) -> VideoRows:
        return VideoRows(self.sequences.names[row], self.sequences.lengths[row], partial(self.sequences.seconds, row))


def rows_in_testing(frame_input: FrameInput, video: VideoRows, seed: int) -> list[Index | None]:
    """Return the rows of a video that each draw of testing takes, in the order in which a head sees them; None for all in order.

    All heads of a run see the same rows, since `seed` is the run's and not a split's. The video is known by its file's name without
    folders, so that a file scored by itself gives the rows that the stored video of that name gave.

    Raises:
        StoreError: the video lacks what the sampling is made by.
    """
    return [_tested_rows(frame_input, video, seed, draw) for draw in range(frame_input.draws)]


def _tested_rows(frame_input: FrameInput, video: VideoRows, seed: int, draw: int) -> Index | None:
    named = replace(video, name=PurePath(video.name).name)
    return _taken_rows(frame_input, named, ORDERS.get(frame_input.order).shuffles_testing, (seed, _Stage.TESTING, draw))


def _taken_rows(frame_input: FrameInput, video: VideoRows, shuffled: bool, seed: Sequence[int]) -> Index | None:
    rule = frame_input.rule
    if not shuffled and not rule.random:
        return rule.rows(video)
    key = int.from_bytes(sha256(video.name.encode()).digest()[:_KEY_BYTES], "little")
    generator = np.random.default_rng([*seed, key])
    rows = rule.draw(video, generator)
    if not shuffled:
        return rows
    return generator.permutation(video.count if rows is None else rows)
