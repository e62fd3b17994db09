"""The training loop: a head on one split, or on several in one batched computation."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from vqafeat.store.features import FeatureDataset
from vqafeat.system import full_float32
from vqafeat.training.batching import Batch
from vqafeat.training.checkpoint import Checkpoint, TrainingResult
from vqafeat.training.config import FitConfig
from vqafeat.training.progress import Progress, no_progress
from vqafeat.training.stacked_heads import batched_scores, can_be_stacked
from vqafeat.training.svr import train_svrs
from vqafeat.training.trainer import PartMetrics, SplitTask, SplitTrainer, seeded


@full_float32()
def train_splits(
    data: FeatureDataset,
    tasks: Sequence[SplitTask],
    config: FitConfig,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> list[TrainingResult]:
    """Train a head on one or several splits; a stopped training resumes from the checkpoint.

    Several splits are trained independently; if the head supports it, they are only computed in one batch.
    Results then differ from those of single trainings by rounding, and by the random numbers of dropout.
    """
    trainers = [SplitTrainer(data, task, config, device) for task in tasks]
    states = checkpoint.read() if checkpoint else {}
    for trainer in trainers:
        if (state := states.get(trainer.task.number)) is not None:
            trainer.load_state_dict(state)
        for record in trainer.curve:
            progress(trainer.task.number, record)
    for epoch in range(1, trainers[0].epochs + 1):
        # splits that were in other groups when the fit was stopped may be ahead
        active = [trainer for trainer in trainers if len(trainer.curve) < epoch]
        if not active:
            continue
        losses = _train_epoch(active, epoch)
        validated, tested = _validate(active, "validation"), _validate(active, "test")
        for trainer, own, *metrics in zip(active, losses, validated, tested, strict=True):
            progress(trainer.task.number, trainer.end_epoch(epoch, own, *metrics))
        if checkpoint is not None:
            checkpoint.save_if_due(lambda: {own.task.number: own.state_dict() for own in trainers})
    return [trainer.result() for trainer in trainers]


def _train_epoch(trainers: Sequence[SplitTrainer], epoch: int) -> list[list[float]]:
    """Return the losses of each trainer's steps."""
    steps: list[list[tuple[tuple[int, ...], Tensor]]] = [[] for _ in trainers]
    for trainer in trainers:
        trainer.head.train()
    iterators = [trainer.batches(epoch) for trainer in trainers]
    for scored in _scored_batches(trainers, iterators, epoch):
        losses = [trainers[number].loss(batch, own) for number, batch, own in scored]
        torch.autograd.backward(losses)
        for (number, batch, _), loss in zip(scored, losses, strict=True):
            trainers[number].step()
            steps[number].append((batch.rows, loss.detach()))
    return [trainer.finite_losses(epoch, own) for trainer, own in zip(trainers, steps, strict=True)]


@torch.no_grad()
def _validate(trainers: Sequence[SplitTrainer], part: str) -> list[PartMetrics]:
    outputs: list[list[Tensor]] = [[] for _ in trainers]
    for trainer in trainers:
        trainer.head.eval()
    for scored in _scored_batches(trainers, [trainer.part_batches(part) for trainer in trainers]):
        for number, batch, own in scored:
            outputs[number].append(trainers[number].relative(batch, own))
    return [trainer.metrics(part, own) for trainer, own in zip(trainers, outputs, strict=True)]


def _scored_batches(
    trainers: Sequence[SplitTrainer], iterators: Sequence[Iterator[Batch]], epoch: int = 0
) -> Iterator[list[tuple[int, Batch, Tensor]]]:
    """Yield at each step the numbers of the trainers that have a batch, the batch and its (video,) scores."""
    pays = len(trainers) > 1 or trainers[0].device.type == "cuda"
    together = pays and can_be_stacked(trainers[0].head)
    for step, batches in enumerate(zip_longest(*iterators)):
        active = [(number, batch) for number, batch in enumerate(batches) if batch is not None]
        if together:
            seeds = [trainers[number].task.seed for number, _ in active]
            with seeded(trainers[0].device, *seeds, epoch, step):
                scores = batched_scores([(trainers[number].head.core, batch) for number, batch in active])
        else:
            scores = [trainers[number].scores(batch, epoch, step) for number, batch in active]
        yield [(number, batch, own) for (number, batch), own in zip(active, scores, strict=True)]


# `Head.trainer` → what trains it, with the parameters of `train_splits`
TRAINERS: dict[str, Callable[..., list[TrainingResult]]] = {"epochs": train_splits, "svr": train_svrs}
