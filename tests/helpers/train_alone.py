"""The training loop with one split alone, for tests."""

from collections.abc import Generator, Mapping
from typing import Any

from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training.config import Recipe
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.trainer import EpochRecord, SplitTask, SplitTrainer, TrainingResult

SPLIT = Split(tuple(range(10)), tuple(range(10, 15)), tuple(range(15, 20)))
RECURRENT_OPTIONS = {"reduced": 4, "hidden": 3}
TRANSFORMER_OPTIONS = {"reduced": 4, "layers": 2, "attention_heads": 2, "feed_forward": 5}


def train(
    data: FeatureDataset,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
    label_scalings: tuple[LabelScaling, ...] | None = None,
    frame_input: FrameInput = WHOLE_VIDEOS,
) -> Generator[EpochRecord, None, TrainingResult]:
    task = SplitTask(split, seed, label_scalings)
    records: list[EpochRecord] = []
    result = SplitTrainer(data, task, head_name, options, recipe, "cpu", frame_input).train(records.append)
    yield from records
    return result


def finish(loop: Generator[EpochRecord, None, TrainingResult]) -> TrainingResult:
    while True:
        try:
            next(loop)
        except StopIteration as end:
            result: TrainingResult = end.value
            return result
