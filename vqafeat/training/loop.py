"""Train a head on several splits: one after another, or in one batched computation."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.store.features import FeatureDataset
from vqafeat.training.batching import Batch
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.recipes import Recipe
from vqafeat.training.stacked_gru import batched_scores
from vqafeat.training.svr import train_svrs
from vqafeat.training.trainer import Checkpoint, EpochRecord, SplitTask, SplitTrainer, TrainingResult

# called with a split's number and each epoch's record
Progress = Callable[[int, EpochRecord], None]


def no_progress(number: int, record: EpochRecord) -> None:
    """Report nothing."""


def train_splits(
    data: FeatureDataset,
    tasks: Sequence[SplitTask],
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    device: str = "cpu",
    frame_input: FrameInput = WHOLE_VIDEOS,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> list[TrainingResult]:
    """Train a head on one or several splits, seeds or recipes.

    Several are independent and only computed in one batch: each has its own weights, order, optimiser and
    best epoch, and differs by rounding from what it would be alone. A head without batched training trains on
    one after another, and only a single one resumes from the checkpoint.
    """
    trainers = [SplitTrainer(data, task, head_name, options, recipe, device, frame_input) for task in tasks]
    if len(trainers) > 1 and all(trainer.head.core.supports_batched_training for trainer in trainers):
        return _train_together(trainers, checkpoint, progress)
    own_checkpoint = checkpoint if len(trainers) == 1 else None
    return [
        trainer.train(partial(progress, number), own_checkpoint) for number, trainer in enumerate(trainers)
    ]


def _train_together(
    trainers: Sequence[SplitTrainer], checkpoint: Checkpoint | None, progress: Progress
) -> list[TrainingResult]:
    """The loop of `SplitTrainer.train` for several trainers, whose steps are computed together."""
    epochs = [trainer.recipe.epochs for trainer in trainers]
    if len(set(epochs)) > 1:
        counts = ", ".join(map(str, epochs))
        raise TrainingError(
            f"the splits have {counts} epochs; splits that train together need the same number."
        )
    for trainer, state in zip(trainers, checkpoint.read() if checkpoint else (), strict=False):
        trainer.load_state_dict(state)
    for number, trainer in enumerate(trainers):
        for record in trainer.best.curve:
            progress(number, record)
    for epoch in range(len(trainers[0].best.curve) + 1, epochs[0] + 1):
        losses = _train_epoch(trainers, epoch)
        validated, tested = _validate(trainers, "validation"), _validate(trainers, "test")
        for number, trainer in enumerate(trainers):
            progress(number, trainer.end_epoch(epoch, losses[number], validated[number], tested[number]))
        if checkpoint is not None:
            checkpoint.save_if_due(lambda: [trainer.state_dict() for trainer in trainers])
    return [trainer.result() for trainer in trainers]


def _train_epoch(trainers: Sequence[SplitTrainer], epoch: int) -> list[list[float]]:
    """Return the losses of each trainer's steps."""
    losses: list[list[float]] = [[] for _ in trainers]
    for trainer in trainers:
        trainer.head.train()
    for step, batches in enumerate(zip_longest(*(trainer.batches(epoch) for trainer in trainers))):
        active = [(number, batch) for number, batch in enumerate(batches) if batch is not None]
        scores = _scores([(trainers[number], batch) for number, batch in active])
        of_batches = [
            trainers[number].loss(batch, own, epoch, step)
            for (number, batch), own in zip(active, scores, strict=True)
        ]
        torch.stack(of_batches).sum().backward()  # type: ignore[no-untyped-call]
        for (number, _), loss in zip(active, of_batches, strict=True):
            trainers[number].step(epoch, step)
            losses[number].append(loss.item())
    return losses


def _scores(active: Sequence[tuple[SplitTrainer, Batch]]) -> list[Tensor]:
    """Return the (video,) scores of each trainer's core on its own batch."""
    return batched_scores([trainer.head.core for trainer, _ in active], [batch for _, batch in active])


@torch.no_grad()
def _validate(trainers: Sequence[SplitTrainer], part: str) -> list[float]:
    outputs: list[list[Tensor]] = [[] for _ in trainers]
    for trainer in trainers:
        trainer.head.eval()
    for batches in zip_longest(*(trainer.part_batches(part) for trainer in trainers)):
        active = [(number, batch) for number, batch in enumerate(batches) if batch is not None]
        scores = _scores([(trainers[number], batch) for number, batch in active])
        for (number, batch), own in zip(active, scores, strict=True):
            outputs[number].append(trainers[number].relative(batch, own))
    return [trainer.srocc(part, own) for trainer, own in zip(trainers, outputs, strict=True)]


# `Head.trainer` → what trains it, with the parameters of `train_splits`
TRAINERS: dict[str, Callable[..., list[TrainingResult]]] = {"epochs": train_splits, "svr": train_svrs}
