"""Train a head on several splits: one after another, or in one batched computation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

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
    """Train a head on one or several splits.

    Several trainings are independent and only computed in one batch, so that each differs by rounding from
    what it would be alone. Heads without batched training train on one split after another, and only a single
    one resumes from the checkpoint.
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
    for trainer, state in zip(trainers, checkpoint.read() if checkpoint else (), strict=False):
        trainer.load_state_dict(state)
    for number, trainer in enumerate(trainers):
        for record in trainer.best.curve:
            progress(number, record)
    for epoch in range(len(trainers[0].best.curve) + 1, trainers[0].recipe.epochs + 1):
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
    for step, scored in enumerate(_steps(trainers, [trainer.batches(epoch) for trainer in trainers])):
        step_losses = [trainers[number].loss(batch, own, epoch, step) for number, batch, own in scored]
        torch.stack(step_losses).sum().backward()  # type: ignore[no-untyped-call]
        for (number, _, _), loss in zip(scored, step_losses, strict=True):
            trainers[number].step()
            losses[number].append(loss.item())
    return losses


@torch.no_grad()
def _validate(trainers: Sequence[SplitTrainer], part: str) -> list[float]:
    outputs: list[list[Tensor]] = [[] for _ in trainers]
    for trainer in trainers:
        trainer.head.eval()
    for scored in _steps(trainers, [trainer.part_batches(part) for trainer in trainers]):
        for number, batch, own in scored:
            outputs[number].append(trainers[number].relative(batch, own))
    return [trainer.srocc(part, own) for trainer, own in zip(trainers, outputs, strict=True)]


def _steps(
    trainers: Sequence[SplitTrainer], iterators: Sequence[Iterator[Batch]]
) -> Iterator[list[tuple[int, Batch, Tensor]]]:
    """Yield the numbers of the trainers that have a batch, with the batch and its (video,) scores."""
    for batches in zip_longest(*iterators):
        active = [(number, batch) for number, batch in enumerate(batches) if batch is not None]
        cores = [trainers[number].head.core for number, _ in active]
        scores = batched_scores(cores, [batch for _, batch in active])
        yield [(number, batch, own) for (number, batch), own in zip(active, scores, strict=True)]


# `Head.trainer` → what trains it, with the parameters of `train_splits`
TRAINERS: dict[str, Callable[..., list[TrainingResult]]] = {"epochs": train_splits, "svr": train_svrs}
