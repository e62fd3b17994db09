"""The training loop with one split alone, for tests."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from torch import Tensor

from vqafeat.losses.label_scaling import fit_label_scaling
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset, FrameSelector, all_frames
from vqafeat.training.batching import Batcher
from vqafeat.training.checkpoint import EpochRecord, TrainingResult
from vqafeat.training.config import FitConfig, Recipe
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.loop import train_splits
from vqafeat.training.trainer import SplitTask, check_parts
from vqafeat.training.training_features import combined_statistics, frame_moments

SPLIT = Split(tuple(range(10)), tuple(range(10, 15)), tuple(range(15, 20)))
RECURRENT_OPTIONS = {"reduced": 4, "hidden": 3}
TRANSFORMER_OPTIONS = {"reduced": 4, "layers": 2, "attention_heads": 2, "feed_forward": 5}


def config_of(
    head: str, options: Mapping[str, Any], recipe: Recipe, frame_input: FrameInput = WHOLE_VIDEOS
) -> FitConfig:
    """Return a fit with a recipe that has no name in `RECIPES`."""
    frames = {"order": frame_input.order, "sampling": frame_input.sampling, "draws": frame_input.draws}
    config = FitConfig(head=head, options=options, **frames)
    vars(config)["resolved_recipe"] = recipe
    return config


def task_of(data: FeatureDataset, split: Split, seed: int, recipe: Recipe) -> SplitTask:
    """Return the task of training on a split, with the label scalings by the labels of the data."""
    check_parts(split, data, recipe)
    rule, columns = recipe.label_scaling, (data.dataset_names, data.dataset_of, data.mos)
    return SplitTask(0, split, seed, tuple(fit_label_scaling(rule, *columns, split.train)))


def train(
    data: FeatureDataset,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
    frame_input: FrameInput = WHOLE_VIDEOS,
) -> Generator[EpochRecord, None, TrainingResult]:
    task, config = task_of(data, split, seed, recipe), config_of(head_name, options, recipe, frame_input)
    records: list[EpochRecord] = []
    (result,) = train_splits(data, [task], config, progress=lambda _, record: records.append(record))
    yield from records
    return result


def finish(loop: Generator[EpochRecord, None, TrainingResult]) -> TrainingResult:
    while True:
        try:
            next(loop)
        except StopIteration as end:
            result: TrainingResult = end.value
            return result


def frame_statistics(
    data: FeatureDataset, rows: Sequence[int], frame_indices: FrameSelector = all_frames
) -> tuple[Tensor, Tensor]:
    """Return the statistics of a training part by themselves."""
    batcher = Batcher(data).taking(frame_indices)
    return combined_statistics(frame_moments(batcher, row) for row in rows)
