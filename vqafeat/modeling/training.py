"""The training loop: one head on one split, seeded, the best epoch by validation SROCC kept."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite, nan
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.metrics import evaluate_predictions
from vqafeat.modeling.heads import Head
from vqafeat.modeling.losses import LABEL_SCALES, build_loss
from vqafeat.modeling.recipes import SELECTIONS, Recipe
from vqafeat.modeling.sampling import WHOLE_VIDEOS, FrameInput, RowDraws
from vqafeat.modeling.sequences import Batch, Batcher, Sequences
from vqafeat.modeling.stacked import scores_together
from vqafeat.modeling.starting import new_head
from vqafeat.splits import Split

_FEWEST_FOR_SROCC = 3


@dataclass(frozen=True)
class EpochRecord:
    """One row of the curve.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc: NaN where there is no validation part, or where it is not defined (constant predictions).
        test_srocc: NaN unless the recipe selects by it.
    """

    epoch: int
    loss: float
    validation_srocc: float
    test_srocc: float = nan


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


@dataclass(frozen=True)
class Assignment:
    """What tells one run of a head from the others that are trained beside it.

    Attributes:
        split: rows count within the sequences.
        seed: of this split.
        label_factor: what labels are divided by; without it, what the recipe's label scale finds in the sequences.
    """

    split: Split
    seed: int
    label_factor: float | None = None


def train(
    sequences: Sequences,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    label_factor: float | None = None,
    frame_input: FrameInput = WHOLE_VIDEOS,
) -> Generator[EpochRecord, None, TrainingResult]:
    """Train a head on one split, as `train_together` does several; yields each epoch's record and returns the result."""
    together = train_together(sequences, [Assignment(split, seed, label_factor)], head_name, options, recipe, device, frame_input)
    while True:
        try:
            _, record = next(together)
        except StopIteration as end:
            (result,) = end.value
            return cast(TrainingResult, result)
        yield record


def train_together(
    sequences: Sequences,
    assignments: Sequence[Assignment],
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    device: str = "cpu",
    frame_input: FrameInput = WHOLE_VIDEOS,
) -> Generator[tuple[int, EpochRecord], None, list[TrainingResult]]:
    """Train a head on each of several splits in one computation; yields (assignment, record) as epochs end and returns the results.

    Runs share nothing but the time: each has its own weights, order, optimiser and kept epoch, as if it were alone; sums over larger
    matrices differ by rounding. The same seed, company, machine and number of threads give the same weights. An epoch's order is drawn
    anew from the seed.

    Args:
        sequences: the features and labels.
        head_name: name of the head.
        options: of the head.
        recipe: how it is trained.
        device: as PyTorch names it.
        frame_input: the frames that are taken; random ones are drawn anew each epoch, and once for validation.

    Raises:
        TrainingError: a part is too small, or a loss is not finite.
        StoreError: the features cannot be sampled so.
    """
    runs = [_Run(sequences, assignment, head_name, options, recipe, device, frame_input) for assignment in assignments]
    for epoch in range(1, recipe.epochs + 1):
        losses = _train_epoch(runs, epoch)
        for number, (run, loss) in enumerate(zip(runs, losses, strict=True)):
            record = EpochRecord(epoch, loss, run.validation_srocc(), run.test_srocc())
            run.keeper.see(record, run.head)
            yield number, record
    return [run.keeper.result(run.factor) for run in runs]


class _Run:
    """One head on one split: its weights, its optimiser, and its order of videos."""

    def __init__(
        self,
        sequences: Sequences,
        assignment: Assignment,
        head_name: str,
        options: Mapping[str, Any],
        recipe: Recipe,
        device: str,
        frame_input: FrameInput,
    ) -> None:
        split = self.split = assignment.split
        check_parts(split, len(sequences), recipe)
        given = assignment.label_factor
        self.factor = LABEL_SCALES.get(recipe.label_scale)(sequences.mos, split.train) if given is None else given
        self.labels = torch.from_numpy(sequences.mos / self.factor).float().to(device)
        self.recipe, self.seed = recipe, assignment.seed
        self._draws = RowDraws(frame_input, sequences)
        self.head = new_head(sequences, split, head_name, options, recipe, self.labels, assignment.seed, self._draws.reachable).to(device)
        self.batcher = Batcher(sequences, device)
        self.keeper = _Keeper(recipe, split)
        self._optimiser = torch.optim.AdamW(self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self._generator = torch.Generator().manual_seed(assignment.seed)
        self._rows = np.array(split.train)
        self._videos = recipe.videos_an_epoch(len(self._rows))
        self._steps = -(-self._videos // recipe.batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the training part in an order of its own."""
        order = self._rows[torch.randperm(len(self._rows), generator=self._generator).numpy()].tolist()[: self._videos]
        return self.batcher.taking(self._draws.training(self.seed, epoch)).batches(order, self.recipe.batch_size)

    def step(self, epoch: int, number: int) -> None:
        """Let the optimiser take the step `number`, counted from 0, of an epoch."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(epoch, number, self._steps)
        self._optimiser.step()
        self._optimiser.zero_grad()

    def validation_srocc(self) -> float:
        """Return the SROCC on the validation part now."""
        return _srocc(self.head, self.batcher.taking(self._draws.validation(self.seed)), self.split.validation)

    def test_srocc(self) -> float:
        """Return the SROCC on the test part now, which is looked at only where it was asked to choose the epoch."""
        rows = self.split.test if self.recipe.select == "test" else ()
        return _srocc(self.head, self.batcher.taking(self._draws.testing(self.seed)[0]), rows)


def _train_epoch(runs: Sequence[_Run], epoch: int) -> list[float]:
    """Take each run through its training part once; returns the mean loss of each."""
    recipe = runs[0].recipe
    loss_function = build_loss(recipe.loss, recipe.loss_options())
    losses: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run.head.train()
    for number, batches in enumerate(zip_longest(*(run.batches(epoch) for run in runs))):
        active = [(run, batch, own) for run, batch, own in zip(runs, batches, losses, strict=True) if batch is not None]
        scores = _scores([(run, batch) for run, batch, _ in active], epoch, number)
        of_runs = [loss_function(score, run.labels[list(batch.rows)]) for (run, batch, _), score in zip(active, scores, strict=True)]
        for (run, batch, own), loss in zip(active, of_runs, strict=True):
            own.append(loss.item())
            _refuse_not_finite(own[-1], run, batch, epoch, number)
        torch.stack(of_runs).sum().backward()  # type: ignore[no-untyped-call]
        for run, _, _ in active:
            run.step(epoch, number)
    return [float(np.mean(own)) for own in losses]


def _scores(active: Sequence[tuple[_Run, Batch]], epoch: int, number: int) -> list[Tensor]:
    if len(active) > 1 and all(run.head.shares_time for run, _ in active):
        return scores_together([run.head for run, _ in active], [batch for _, batch in active])
    scores = []
    for run, batch in active:
        with _seeded((run.seed, epoch, number), run.batcher.device):
            scores.append(cast(Tensor, run.head(batch.frames, batch.lengths)))
    return scores


@contextmanager
def _seeded(seed: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Draw what a head drops from the training's own seed, and leave the global generators as they were."""
    own = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(int(own))
        yield


def numbered(number: int, loop: Generator[EpochRecord, None, TrainingResult]) -> Generator[tuple[int, EpochRecord], None, TrainingResult]:
    """Yield the records of one run with its number, and return its result."""
    while True:
        try:
            record = next(loop)
        except StopIteration as end:
            return cast(TrainingResult, end.value)
        yield number, record


def _refuse_not_finite(loss: float, run: _Run, batch: Batch, epoch: int, number: int) -> None:
    if isfinite(loss):
        return
    videos = ", ".join(run.batcher.sequences.names[row] for row in batch.rows)
    raise TrainingError(
        f"the loss became {loss} in epoch {epoch}, step {number + 1}, on the videos {videos}; "
        f"look at their features with `vqafeat verify`, or lower --learning-rate ({run.recipe.learning_rate:g})."
    )


def predict(head: Head, batcher: Batcher, rows: Sequence[int], batch_size: int = 16) -> npt.NDArray[np.float64]:
    """Return (video,) scores of the videos in `rows`, on the label scale that the head was trained on."""
    head.eval()
    with torch.no_grad():
        scores = [head(batch.frames, batch.lengths).cpu() for batch in batcher.batches(rows, batch_size)]
    return torch.cat(scores).double().numpy() if scores else np.empty(0)


def check_parts(split: Split, videos: int, recipe: Recipe) -> None:
    """Refuse a split that cannot be trained on, of rows that count within this many videos.

    Raises:
        TrainingError: the part that is to choose an epoch is too small, or a row is not among the videos.
    """
    if recipe.select == "test" and len(split.test) < _FEWEST_FOR_SROCC:
        raise TrainingError(
            f"the test part has {len(split.test)} video(s); choosing an epoch by its SROCC takes at least {_FEWEST_FOR_SROCC}. "
            "Use more videos, or select by validation."
        )
    if 0 < len(split.validation) < _FEWEST_FOR_SROCC:
        raise TrainingError(
            f"the validation part has {len(split.validation)} video(s); choosing an epoch by SROCC takes at least {_FEWEST_FOR_SROCC}. "
            "Use more videos, or splits without a validation part (80/20), which keep the last epoch."
        )
    beyond = [row for part in (split.train, split.validation, split.test) for row in part if row >= videos]
    if beyond:
        raise TrainingError(f"a split names video {beyond[0]}, but there are {videos} (0 to {videos - 1}); use splits of this data set.")


def _srocc(head: Head, batcher: Batcher, rows: Sequence[int]) -> float:
    if not rows:
        return nan
    scores = predict(head, batcher, rows)
    if not np.isfinite(scores).all():
        return nan
    return evaluate_predictions(scores, batcher.sequences.mos[list(rows)], mapping="none").srocc


class _Keeper:
    """Keeps the weights of the first epoch with the highest SROCC of the selecting part, or of the last one where there is no such part."""

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self._first = recipe.first_kept_epoch()
        self._part = SELECTIONS.get(recipe.select).part
        self._has_part = bool(getattr(split, self._part))
        self._best = -float("inf")
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self._curve: list[EpochRecord] = []
        self._last: Head | None = None

    def see(self, record: EpochRecord, head: Head) -> None:
        self._curve.append(record)
        self._last = head
        srocc = getattr(record, f"{self._part}_srocc")
        if self._has_part and record.epoch >= self._first and srocc > self._best:
            self._best = srocc
            self._kept = record.epoch, _copied(head)

    def result(self, factor: float) -> TrainingResult:
        assert self._last is not None
        if self._kept is not None:
            epoch, weights = self._kept
            return TrainingResult(weights, factor, epoch, f"highest {self._part} SROCC ({self._best:.4f})", tuple(self._curve))
        missing = f"{self._part} SROCC was never defined" if self._has_part else f"there is no {self._part} part"
        return TrainingResult(_copied(self._last), factor, len(self._curve), f"last epoch: {missing}", tuple(self._curve))


def _copied(head: Head) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
