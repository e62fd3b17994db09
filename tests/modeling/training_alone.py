"""The training loop with one split alone, for tests."""

from collections.abc import Generator, Mapping
from typing import Any

from vqafeat.losses import LabelLine
from vqafeat.modeling.recipes import Recipe
from vqafeat.modeling.records import Assignment, EpochRecord, TrainingResult
from vqafeat.modeling.sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.modeling.sequences import Sequences
from vqafeat.modeling.training import train_together
from vqafeat.splits import Split


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
