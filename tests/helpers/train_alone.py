"""The training loop with one split alone, for tests."""

from collections.abc import Generator, Mapping
from typing import Any

from vqafeat.losses import LabelLine
from vqafeat.splits import Split
from vqafeat.training.config import Recipe
from vqafeat.training.data import Sequences
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.loop import train_together
from vqafeat.training.trainer import Assignment, EpochRecord, TrainingResult


def train(
    sequences: Sequences,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
    lines: tuple[LabelLine, ...] | None = None,
    frame_input: FrameInput = WHOLE_VIDEOS,
) -> Generator[EpochRecord, None, TrainingResult]:
    together = train_together(sequences, [Assignment(split, seed, lines)], head_name, options, recipe, frame_input=frame_input)
    while True:
        try:
            yield next(together)[1]
        except StopIteration as end:
            (result,) = end.value
            assert isinstance(result, TrainingResult)
            return result
