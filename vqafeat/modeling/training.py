"""The training loop: one head on one split, seeded, the best epoch by validation SROCC kept."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.metrics import evaluate_predictions
from vqafeat.modeling.heads import Head, NeuralHead, build_head
from vqafeat.modeling.losses import LABEL_SCALES, LOSSES
from vqafeat.modeling.recipes import SCHEDULES, Recipe
from vqafeat.modeling.sequences import Batcher, Sequences, as_tensor
from vqafeat.splits import Split

# below this share of the median channel's deviation a channel counts as nearly constant: one odd video must not blow it up
_SMALLEST_DEVIATION = 0.1
_FEWEST_FOR_SROCC = 3


@dataclass(frozen=True)
class EpochRecord:
    """One row of the curve.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc: NaN where there is no validation part, or where it is not defined (constant predictions).
    """

    epoch: int
    loss: float
    validation_srocc: float


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a finished fit of one split leaves.

    Attributes:
        weights: state dict of the kept epoch.
        label_factor: head's output × this = score on the data set's scale.
        kept_epoch: counted from 1; 0 where the head is not trained in epochs.
        kept_because: in words.
        curve: one record an epoch.
    """

    weights: dict[str, Tensor]
    label_factor: float
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


def train(
    sequences: Sequences,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    label_factor: float | None = None,
) -> Generator[EpochRecord, None, TrainingResult]:
    """Train a head on one split; yields each epoch's record as it ends and returns the result.

    The same seed on the same machine with the same number of threads gives the same weights. An epoch's order is drawn anew from the seed.

    Args:
        sequences: the features and labels.
        split: rows count within `sequences`.
        head_name: name of the head.
        options: of the head.
        recipe: how it is trained.
        seed: of this split.
        device: as PyTorch names it.
        label_factor: what labels are divided by; without it, what the recipe's label scale finds in `sequences`.

    Raises:
        TrainingError: a part is too small, or the loss is not finite.
    """
    check_parts(split, len(sequences))
    factor = LABEL_SCALES.get(recipe.label_scale)(sequences.mos, split.train) if label_factor is None else label_factor
    labels = torch.from_numpy(sequences.mos / factor).float().to(device)
    generator = torch.Generator().manual_seed(seed)
    head = _new_head(sequences, split, head_name, options, recipe, labels, seed).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    batcher = Batcher(sequences, device)
    keeper = _Keeper(recipe, bool(split.validation))
    train_rows = np.array(split.train)
    for epoch in range(1, recipe.epochs + 1):
        order = train_rows[torch.randperm(len(train_rows), generator=generator).numpy()].tolist()
        with _seeded(seed, epoch, device):
            loss = _train_epoch(head, batcher, order, labels, optimiser, recipe, epoch)
        record = EpochRecord(epoch, loss, _validation_srocc(head, batcher, split.validation))
        keeper.see(record, head)
        yield record
    return keeper.result(factor)


@contextmanager
def _seeded(seed: int, epoch: int, device: str) -> Iterator[None]:
    """Draw what a head drops from the training's own seed, and leave the global generators as they were."""
    own = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng(devices=[] if device == "cpu" else [torch.device(device)]):
        torch.manual_seed(int(own))
        yield


def _train_epoch(
    head: Head, batcher: Batcher, order: Sequence[int], labels: Tensor, optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int
) -> float:
    loss_function, schedule = LOSSES.get(recipe.loss), SCHEDULES.get(recipe.schedule)
    steps = -(-len(order) // recipe.batch_size)
    losses = []
    head.train()
    for step, batch in enumerate(batcher.batches(order, recipe.batch_size)):
        rate = recipe.learning_rate * schedule(((epoch - 1) * steps + step) / (recipe.epochs * steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_function(head(batch.frames, batch.lengths), labels[list(batch.rows)])
        losses.append(loss.item())
        if not isfinite(losses[-1]):
            videos = ", ".join(batcher.sequences.names[row] for row in batch.rows)
            raise TrainingError(
                f"the loss became {losses[-1]} in epoch {epoch}, step {step + 1}, on the videos {videos}; "
                f"look at their features with `vqafeat verify`, or lower --learning-rate ({recipe.learning_rate:g})."
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return float(np.mean(losses))


def predict(head: Head, batcher: Batcher, rows: Sequence[int], batch_size: int = 16) -> npt.NDArray[np.float64]:
    """Return (video,) scores of the videos in `rows`, on the label scale that the head was trained on."""
    head.eval()
    with torch.no_grad():
        scores = [head(batch.frames, batch.lengths).cpu() for batch in batcher.batches(rows, batch_size)]
    return torch.cat(scores).double().numpy() if scores else np.empty(0)


def frame_statistics(sequences: Sequences, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over all frames of the videos in `rows`, each frame counted once.

    Deviations below a tenth of the median channel's are raised to it.
    """
    counts, means, squares = 0, torch.zeros(sequences.channels, dtype=torch.float64), torch.zeros(sequences.channels, dtype=torch.float64)
    for frames in _frames_of(sequences, rows):
        variance, mean = torch.var_mean(frames, dim=0, correction=0)
        gap, total = mean.double() - means, counts + len(frames)
        squares += variance.double() * len(frames) + gap.square() * (counts * len(frames) / total)
        means += gap * (len(frames) / total)
        counts = total
    deviation = (squares / counts).sqrt()
    varying = deviation[deviation > 0]
    if len(varying) == 0:
        return means.float(), torch.ones(sequences.channels)
    return means.float(), deviation.clamp_min(_SMALLEST_DEVIATION * float(varying.median())).float()


def _frames_of(sequences: Sequences, rows: Sequence[int]) -> Iterator[Tensor]:
    return (as_tensor(sequences.features[row]).float() for row in rows)


def _new_head(
    sequences: Sequences, split: Split, head_name: str, options: Mapping[str, Any], recipe: Recipe, labels: Tensor, seed: int
) -> NeuralHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(head_name, sequences.channels, options)
    assert isinstance(head, NeuralHead)
    head.see_labels(labels[list(split.train)])
    if recipe.standardise:
        head.standardise_by(*frame_statistics(sequences, split.train))
    if recipe.start_at_mean:
        head.start_at(float(labels[list(split.train)].mean()))
    return head


def check_parts(split: Split, videos: int) -> None:
    """Refuse a split that cannot be trained on, of rows that count within this many videos.

    Raises:
        TrainingError: the validation part is too small to choose an epoch, or a row is not among the videos.
    """
    if 0 < len(split.validation) < _FEWEST_FOR_SROCC:
        raise TrainingError(
            f"the validation part has {len(split.validation)} video(s); choosing an epoch by SROCC takes at least {_FEWEST_FOR_SROCC}. "
            "Use more videos, or splits without a validation part (80/20), which keep the last epoch."
        )
    beyond = [row for part in (split.train, split.validation, split.test) for row in part if row >= videos]
    if beyond:
        raise TrainingError(f"a split names video {beyond[0]}, but there are {videos} (0 to {videos - 1}); use splits of this data set.")


def _validation_srocc(head: Head, batcher: Batcher, rows: Sequence[int]) -> float:
    if not rows:
        return nan
    scores = predict(head, batcher, rows)
    if not np.isfinite(scores).all():
        return nan
    return evaluate_predictions(scores, batcher.sequences.mos[list(rows)], mapping="none").srocc


class _Keeper:
    """Keeps the weights of the first epoch with the highest validation SROCC, or of the last one where there is no validation part."""

    def __init__(self, recipe: Recipe, has_validation: bool) -> None:
        self._first = recipe.first_kept_epoch()
        self._has_validation = has_validation
        self._best = -float("inf")
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self._curve: list[EpochRecord] = []
        self._last: Head | None = None

    def see(self, record: EpochRecord, head: Head) -> None:
        self._curve.append(record)
        self._last = head
        if self._has_validation and record.epoch >= self._first and record.validation_srocc > self._best:
            self._best = record.validation_srocc
            self._kept = record.epoch, _copied(head)

    def result(self, factor: float) -> TrainingResult:
        assert self._last is not None
        if self._kept is not None:
            epoch, weights = self._kept
            return TrainingResult(weights, factor, epoch, f"highest validation SROCC ({self._best:.4f})", tuple(self._curve))
        reason = "last epoch: validation SROCC was never defined" if self._has_validation else "last epoch: there is no validation part"
        return TrainingResult(_copied(self._last), factor, len(self._curve), reason, tuple(self._curve))


def _copied(head: Head) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
