"""The training loop: one head on several splits at once, seeded, the best epoch by validation SROCC kept."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite, nan
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.heads import HEADS, Head
from vqafeat.heads.base import Scores
from vqafeat.losses import softmax_weighted_sum
from vqafeat.metrics import evaluate_predictions
from vqafeat.registry import Registry
from vqafeat.training.batching import Batch, Batcher, chunks
from vqafeat.training.config import Recipe
from vqafeat.training.data import FeatureDataset
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.stacked_gru import batched_scores
from vqafeat.training.svr import train_svrs
from vqafeat.training.trainer import (
    Checkpoint,
    EpochRecord,
    SplitTask,
    SplitTrainer,
    TrainingResult,
    dataset_numbers,
)

_SCORED_TOGETHER = 16


def train_splits(
    sequences: FeatureDataset,
    assignments: Sequence[SplitTask],
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    device: str = "cpu",
    frame_input: FrameInput = WHOLE_VIDEOS,
    checkpoint: Checkpoint | None = None,
) -> Generator[tuple[int, EpochRecord], None, list[TrainingResult]]:
    """Train several runs of a head in one computation, of other splits, seeds or recipes; yields (assignment,
    record) as epochs end.

    Runs share nothing but the time: each has its own weights, order, optimiser and kept epoch, as if it were
    alone; sums over larger matrices differ by rounding. The same seed, company, machine and number of threads
    give the same weights. An epoch's order is drawn anew from the seed.

    Args:
        sequences: the features and labels.
        head_name: name of the head.
        options: of the head.
        recipe: how it is trained.
        device: as PyTorch names it.
        frame_input: the frames that are taken; random ones are drawn anew each epoch, and once for
            validation.
        checkpoint: keeps the state between epochs; what it kept of a stopped training is gone on from, to the
            same weights.

    Returns:
        What is kept of each run.

    Raises:
        TrainingError: a part is too small, the runs have different numbers of epochs, or a loss is not
            finite.
        StoreError: the features cannot be sampled so.
    """
    runs = [
        SplitTrainer(sequences, one, head_name, options, one.recipe or recipe, device, frame_input)
        for one in assignments
    ]
    if len({run.recipe.epochs for run in runs}) > 1:
        raise TrainingError(
            f"the runs have {', '.join(str(run.recipe.epochs) for run in runs)} epochs; runs that train "
            f"together need as many."
        )
    if checkpoint is not None and (states := checkpoint.read()):
        for run, state in zip(runs, states, strict=True):
            run.load_state_dict(state)
    for number, run in enumerate(runs):
        yield from ((number, record) for record in run.keeper.curve)
    for epoch in range(len(runs[0].keeper.curve) + 1, recipe.epochs + 1):
        losses = _train_epoch(runs, epoch)
        validated = _sroccs(runs, "validation")
        tested = _sroccs(runs, "test")
        for number, run in enumerate(runs):
            record = EpochRecord(epoch, losses[number], validated[number], tested[number])
            run.keeper.update(record, run.head)
            yield number, record
        if checkpoint is not None:
            checkpoint.save_if_due(lambda: [run.state() for run in runs])
    return [run.keeper.result(run.head, run.lines) for run in runs]


def _train_epoch(runs: Sequence[SplitTrainer], epoch: int) -> list[float]:
    """Take each run through its training part once; returns the mean loss of each."""
    losses: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run.head.train()
    for number, batches in enumerate(zip_longest(*(run.batches(epoch) for run in runs))):
        active = [
            (run, batch, own)
            for run, batch, own in zip(runs, batches, losses, strict=True)
            if batch is not None
        ]
        outputs = _outputs([(run, batch) for run, batch, _ in active], (epoch, number))
        of_runs = []
        for (run, batch, _), output in zip(active, outputs, strict=True):
            labels = run.labels[list(batch.rows)].view(run.losses, -1)
            of_runs.append(
                softmax_weighted_sum(
                    [run.loss(*own) for own in zip(output.parts(run.losses), labels, strict=True)]
                )
            )
        for (run, batch, own), loss in zip(active, of_runs, strict=True):
            own.append(loss.item())
            _refuse_not_finite(own[-1], run, batch, epoch, number)
        torch.stack(of_runs).sum().backward()  # type: ignore[no-untyped-call]
        for run, _, _ in active:
            run.step(epoch, number)
    return [float(np.mean(own)) for own in losses]


def _outputs(
    active: Sequence[tuple[SplitTrainer, Batch]], step: tuple[int, int] | None = None
) -> list[Scores]:
    """Return what each run's head says of its own batch; what a head drops in a training step is drawn from
    the run's seed.
    """
    cores = [run.head.core for run, _ in active]
    if len(active) > 1 and all(core.supports_batched_training for core in cores):
        scores = batched_scores(cores, [batch for _, batch in active])
    else:
        scores = []
        for core, (run, batch) in zip(cores, active, strict=True):
            with _seeded(run, step):
                scores.append(cast(Tensor, core(batch.frames, batch.lengths)))
    return [
        run.head.outputs(score, dataset_numbers(run.batcher.sequences, run.groups, batch))
        for score, (run, batch) in zip(scores, active, strict=True)
    ]


@contextmanager
def _seeded(run: SplitTrainer, step: tuple[int, int] | None) -> Iterator[None]:
    """Leave the global generators as they were."""
    if step is None:
        yield
        return
    own = np.random.SeedSequence((run.seed, *step)).generate_state(1, np.uint64)[0]
    device = run.batcher.device
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(int(own))
        yield


def _refuse_not_finite(loss: float, run: SplitTrainer, batch: Batch, epoch: int, number: int) -> None:
    if isfinite(loss):
        return
    videos = ", ".join(run.batcher.sequences.names[row] for row in batch.rows)
    raise TrainingError(
        f"the loss became {loss} in epoch {epoch}, step {number + 1}, on the videos {videos}; "
        f"look at their features with `vqafeat verify`, or lower --learning-rate "
        f"({run.recipe.learning_rate:g})."
    )


def _sroccs(runs: Sequence[SplitTrainer], part: str) -> list[float]:
    """Return each run's SROCC on a part, the mean over its data sets; NaN without that part or where it is
    not defined.

    The test part is looked at only where it was asked to choose the epoch.
    """
    scores: list[list[Tensor]] = [[] for _ in runs]
    looked_at = [
        () if part == "test" and run.recipe.select != "test" else getattr(run.split, part) for run in runs
    ]
    loops = [
        run.batcher.taking(run.frame_indices(part)).batches(chunks(rows, _SCORED_TOGETHER))
        for run, rows in zip(runs, looked_at, strict=True)
    ]
    for run in runs:
        run.head.eval()
    with torch.no_grad():
        for batches in zip_longest(*loops):
            active = [number for number, batch in enumerate(batches) if batch is not None]
            for number, output in zip(
                active, _outputs([(runs[number], batches[number]) for number in active]), strict=True
            ):
                scores[number].append(output.relative.cpu())
    return [
        _srocc(run, part, torch.cat(own).double().numpy()) if own else nan
        for run, own in zip(runs, scores, strict=True)
    ]


def _srocc(run: SplitTrainer, part: str, scores: npt.NDArray[np.float64]) -> float:
    if not np.isfinite(scores).all():
        return nan
    sequences, rows = run.batcher.sequences, np.array(getattr(run.split, part))
    numbers = sequences.dataset_of[rows]
    own = [
        evaluate_predictions(scores[numbers == one], sequences.mos[rows[numbers == one]], mapping="none")
        for one in np.unique(numbers)
    ]
    return float(np.mean([metrics.srocc for metrics in own]))


def predict(
    head: Head, batcher: Batcher, rows: Sequence[int], groups: Tensor | None = None
) -> npt.NDArray[np.float64]:
    """Return (video,) scores of the videos in `rows`, on the label scale that the head was trained on.

    Args:
        head: on the batcher's device.
        batcher: makes batches of them.
        rows: positions in the batcher's sequences.
        groups: (video,) of all sequences, the data set whose scale each video's score is for; without it, the
            head's own choice.
    """
    head.eval()
    scores = []
    with torch.no_grad():
        for batch in batcher.batches(chunks(rows, _SCORED_TOGETHER)):
            numbers = None if groups is None else dataset_numbers(batcher.sequences, groups, batch)
            scores.append(head.outputs(head.core(batch.frames, batch.lengths), numbers).aligned.cpu())
    return torch.cat(scores).double().numpy() if scores else np.empty(0)


Train = Callable[
    [
        FeatureDataset,
        "Sequence[SplitTask]",
        str,
        Mapping[str, Any],
        Recipe,
        str,
        FrameInput,
        Checkpoint | None,
    ],
    Generator[tuple[int, EpochRecord], None, list[TrainingResult]],
]


@dataclass(frozen=True)
class Trainer:
    """A way to train a head on some splits.

    Attributes:
        train: yields (split, record) an epoch, if it has epochs, and returns what is kept of each split.
        is_gradient_based: whether the recipe's optimiser, epochs and loss mean anything to it.
    """

    train: Train
    is_gradient_based: bool


TRAINERS: Registry[Trainer] = Registry("trainer")
TRAINERS.add("epochs", Trainer(train_splits, is_gradient_based=True))
TRAINERS.add("svr", Trainer(train_svrs, is_gradient_based=False))


def trainer_of(head: str) -> Trainer:
    """Return how the head of that name is trained."""
    return TRAINERS.get(HEADS.get(head).trainer)


def check_overrides(head: str, overrides: Mapping[str, Any]) -> None:
    """Refuse values of a recipe that were asked for and mean nothing to the head.

    Raises:
        ArgumentError: there are such values.
    """
    if overrides and not trainer_of(head).is_gradient_based:
        raise ArgumentError(
            f"head '{head}' is not trained by gradients, so {', '.join(overrides)} mean(s) nothing to it; "
            "leave it out, or train another head."
        )
