"""`SplitTrainer`: train one head on one split."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from math import ceil, inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.heads.base import Head, build_head
from vqafeat.io import write_bytes
from vqafeat.losses.base import MIXINGS, build_loss, softmax_weighted_sum
from vqafeat.losses.label_scaling import LabelScaling, fit_label_scaling
from vqafeat.metrics import evaluate_predictions
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset, FrameSelector, all_frames, as_tensor, take
from vqafeat.training.batching import Batch, Batcher, bucketed, chunks
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput, FrameSampler
from vqafeat.training.recipes import Recipe

FEWEST_FOR_SROCC = 3
_INSTEAD = {"validation": "--ratio 80/20 for none, which keeps the last epoch", "test": "--select validation"}
SECONDS_BETWEEN = 60.0
VIDEOS_SCORED_AT_ONCE = 16
# a channel with less than this share of the median deviation is nearly constant: dividing by its deviation
# would blow up one odd video
_SMALLEST_DEVIATION = 0.1


def frame_statistics(
    data: FeatureDataset, rows: Sequence[int], frame_indices: FrameSelector = all_frames
) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over the frames of videos; small deviations are raised."""
    counts, means, squares = 0, *torch.zeros(2, data.channels, dtype=torch.float64)
    for row in rows:
        frames = as_tensor(take(data.features[row], frame_indices(row))).float()
        variance, mean = torch.var_mean(frames, dim=0, correction=0)
        gap, total = mean.double() - means, counts + len(frames)
        squares += variance.double() * len(frames) + gap.square() * (counts * len(frames) / total)
        means += gap * (len(frames) / total)
        counts = total
    deviation = (squares / counts).sqrt()
    varying = deviation[deviation > 0]
    if len(varying) == 0:
        return means.float(), torch.ones(data.channels)
    return means.float(), deviation.clamp_min(_SMALLEST_DEVIATION * float(varying.median())).float()


@dataclass(frozen=True)
class SplitTask:
    """A split to train on; without `label_scalings`, one a data set, the recipe's label scale gives them."""

    split: Split
    seed: int
    label_scalings: tuple[LabelScaling, ...] | None = None


@dataclass(frozen=True)
class EpochRecord:
    """One row of the training curve.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc: mean over the data sets; NaN without a validation part, or if it is not defined.
        test_srocc: NaN unless the recipe selects by it.
    """

    epoch: int
    loss: float
    validation_srocc: float
    test_srocc: float = nan


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The result of training on one split.

    Attributes:
        weights: state dict of the kept epoch.
        label_scalings: how scores follow from the head's output, one for each data set.
        kept_epoch: 0 where the head is not trained in epochs.
    """

    weights: dict[str, Tensor]
    label_scalings: tuple[LabelScaling, ...]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


class BestCheckpoint:
    """Keeps the weights of the first epoch with the highest SROCC of the selecting part, else of the last."""

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self._first, self._part = recipe.first_checkpoint_epoch(), recipe.select
        self._has_part = bool(getattr(split, self._part))
        self._best = -inf
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self.curve: list[EpochRecord] = []

    def update(self, record: EpochRecord, head: Head) -> None:
        """Add an epoch's record, and keep its weights if they are the best so far."""
        self.curve.append(record)
        srocc = getattr(record, f"{self._part}_srocc")
        if self._has_part and record.epoch >= self._first and srocc > self._best:
            self._best, self._kept = srocc, (record.epoch, _copied(head))

    def result(self, head: Head, label_scalings: tuple[LabelScaling, ...]) -> TrainingResult:
        """Return the kept weights after the last epoch of a head."""
        if self._kept is not None:
            epoch, weights = self._kept
            because = f"highest {self._part} SROCC ({self._best:.4f})"
        else:
            epoch, weights = len(self.curve), _copied(head)
            missing = f"{self._part} SROCC was never defined"
            because = f"last epoch: {missing if self._has_part else f'there is no {self._part} part'}"
        return TrainingResult(weights, label_scalings, epoch, because, tuple(self.curve))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` resumes from."""
        return {"best": self._best, "kept": self._kept, "curve": [astuple(record) for record in self.curve]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume a stopped training."""
        self._best, self._kept = state["best"], state["kept"]
        self.curve = [EpochRecord(*values) for values in state["curve"]]


def _copied(head: Head) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}


class Checkpoint:
    """A file with the states of trainers, to resume a stopped fit from; it is written once a minute."""

    def __init__(self, path: Path) -> None:
        self.path, self._last = path, time.monotonic()

    def read(self) -> list[dict[str, Any]]:
        """Return the states that were written last, or none."""
        if not self.path.is_file():
            return []
        states: list[dict[str, Any]] = torch.load(self.path, weights_only=True)
        return states

    def save_if_due(self, states: Callable[[], list[dict[str, Any]]]) -> None:
        """Write the states if the last ones are old enough."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        content = io.BytesIO()
        torch.save(states(), content)
        write_bytes(self.path, content.getvalue())
        self._last = time.monotonic()


class SplitTrainer:
    """Trains one head on one split; `train` is the loop.

    The seed decides weights, the order of videos, the drawn frames and dropout: the same seed, machine and
    number of threads give the same weights.

    Attributes:
        labels: (video,) float32, as the loss sees them.
        groups: (video,) int64, the data set whose loss and label scale a video belongs to.
        best: the best epoch so far, and the curve.
    """

    def __init__(
        self,
        data: FeatureDataset,
        task: SplitTask,
        head_name: str,
        options: Mapping[str, Any],
        recipe: Recipe,
        device: str = "cpu",
        frame_input: FrameInput = WHOLE_VIDEOS,
    ) -> None:
        self.data, self.split, self.seed, self.recipe = data, task.split, task.seed, recipe
        check_parts(self.split, data, recipe)
        names, numbers, train = data.dataset_names, data.dataset_of, np.array(self.split.train)
        self.label_scalings = task.label_scalings or tuple(
            fit_label_scaling(recipe.label_scaling, names, numbers, data.mos, self.split.train)
        )
        scaled = np.empty_like(data.mos)
        for number, scaling in enumerate(self.label_scalings):
            scaled[numbers == number] = scaling.transform(data.mos[numbers == number])
        groups = MIXINGS[recipe.multi_dataset](numbers)
        self.labels = torch.from_numpy(scaled).float().to(device)
        self.groups = torch.from_numpy(groups).to(device)
        self._sampler, self._batcher = FrameSampler(frame_input, data), Batcher(data, device)
        self._loss = build_loss(recipe.loss, recipe.loss_options())
        self._rows = [train[groups[train] == group] for group in np.unique(groups[train])]
        self._longest = max(len(rows) for rows in self._rows)
        self._videos_per_epoch = recipe.videos_an_epoch(self._longest)
        self._lengths = [
            max(data.lengths[row] for row in self._videos_at(turn)) for turn in range(self._longest)
        ]
        self.head = self._new_head(head_name, options).to(device)
        self._generator = torch.Generator().manual_seed(self.seed)
        self._optimiser = torch.optim.AdamW(
            self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._scheduler = recipe.scheduler(self._optimiser, ceil(self._videos_per_epoch / recipe.batch_size))
        self.best = BestCheckpoint(recipe, self.split)

    def _new_head(self, name: str, options: Mapping[str, Any]) -> Head:
        """Return an untrained head that has seen what the recipe lets it see of the training part."""
        train = list(self.split.train)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = build_head(name, self.data.channels, options)
        head.init_from_labels(self.labels[train], self.groups[train])
        if self.recipe.standardise:
            head.standardise_by(*frame_statistics(self.data, train, self._sampler.candidate_indices))
        if self.recipe.start_at_mean:
            head.init_output_bias(float(self.labels[train].mean()))
        return head

    def train(
        self,
        progress: Callable[[EpochRecord], None] = lambda record: None,
        checkpoint: Checkpoint | None = None,
    ) -> TrainingResult:
        """Train for the recipe's epochs, calling `progress` after each; return the best epoch's weights.

        A stopped training resumes from the checkpoint, to the same weights.
        """
        for state in checkpoint.read() if checkpoint is not None else ():
            self.load_state_dict(state)
        for record in self.best.curve:
            progress(record)
        for epoch in range(len(self.best.curve) + 1, self.recipe.epochs + 1):
            self.head.train()
            losses = []
            for step, batch in enumerate(self.batches(epoch)):
                with self._seeded_dropout(epoch, step):
                    scores = self.head.core(batch.frames, batch.lengths)
                loss = self.loss(batch, scores, epoch, step)
                loss.backward()  # type: ignore[no-untyped-call]
                self.step()
                losses.append(loss.item())
            validation_srocc, test_srocc = self._validate("validation"), self._validate("test")
            progress(self.end_epoch(epoch, losses, validation_srocc, test_srocc))
            if checkpoint is not None:
                checkpoint.save_if_due(lambda: [self.state_dict()])
        return self.result()

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the training part in a new order; a batch has equally many videos of each data set.

        An epoch is as long as the largest data set; the smaller ones begin again, as `VQADataset.__getitem__`
        in the released VQAdataset.py of MDTVSFA.
        """
        turns = torch.randperm(self._longest, generator=self._generator).tolist()[: self._videos_per_epoch]
        size, windows = self.recipe.batch_size, self.recipe.length_bucket_size
        groups = bucketed(turns, self._lengths, size, windows, self._generator)
        rows = (
            [row for of_dataset in zip(*map(self._videos_at, group), strict=True) for row in of_dataset]
            for group in groups
        )
        return self._batcher.taking(self._sampler.training(self.seed, epoch)).batches(rows)

    def _videos_at(self, turn: int) -> list[int]:
        """Return the video of each data set at a turn of an epoch."""
        return [int(rows[turn % len(rows)]) for rows in self._rows]

    @contextmanager
    def _seeded_dropout(self, epoch: int, number: int) -> Iterator[None]:
        """Draw what a head drops in a step from the split's seed."""
        seed = np.random.SeedSequence((self.seed, epoch, number)).generate_state(1, np.uint64)[0]
        device = self._batcher.device
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(int(seed))
            yield

    def loss(self, batch: Batch, scores: Tensor, epoch: int, number: int) -> Tensor:
        """Return the loss of a batch by its (video,) core scores, combined over the data sets."""
        count = len(self._rows)
        outputs = self.head.outputs(scores, dataset_numbers(self.data, self.groups, batch)).parts(count)
        labels = self.labels[list(batch.rows)].view(count, -1)
        loss = softmax_weighted_sum([self._loss(*own) for own in zip(outputs, labels, strict=True)])
        if not isfinite(loss.item()):
            videos = ", ".join(self.data.names[row] for row in batch.rows)
            raise TrainingError(
                f"the loss became {loss.item()} in epoch {epoch}, step {number + 1}, on the videos {videos}; "
                "look at their features with `vqafeat verify`, or lower --learning-rate "
                f"({self.recipe.learning_rate:g})."
            )
        return loss

    def step(self) -> None:
        """Take a step of the optimiser and of the learning rate's schedule."""
        self._optimiser.step()
        self._scheduler.step()
        self._optimiser.zero_grad()

    def part_batches(self, part: str) -> Iterator[Batch]:
        """Yield a part in its order; nothing of the test part unless the recipe selects by it."""
        rows = () if part == "test" and self.recipe.select != "test" else getattr(self.split, part)
        sampler = self._sampler
        frames = sampler.validation(self.seed) if part == "validation" else sampler.testing(self.seed)[0]
        return self._batcher.taking(frames).batches(chunks(rows, VIDEOS_SCORED_AT_ONCE))

    @torch.no_grad()
    def _validate(self, part: str) -> float:
        self.head.eval()
        batches = self.part_batches(part)
        outputs = [self.relative(one, self.head.core(one.frames, one.lengths)) for one in batches]
        return self.srocc(part, outputs)

    def relative(self, batch: Batch, scores: Tensor) -> Tensor:
        """Return the (video,) outputs that SROCC is computed on, by the core's scores of a batch."""
        return self.head.outputs(scores, dataset_numbers(self.data, self.groups, batch)).relative.cpu()

    def srocc(self, part: str, outputs: Sequence[Tensor]) -> float:
        """Return the SROCC of a part, the mean over its data sets; NaN if it is not defined."""
        scores = torch.cat(list(outputs)).double().numpy() if outputs else np.array([nan])
        if not np.isfinite(scores).all():
            return nan
        rows = np.array(getattr(self.split, part))
        numbers, mos = self.data.dataset_of[rows], self.data.mos[rows]
        sroccs = [
            evaluate_predictions(scores[numbers == one], mos[numbers == one], mapping="none").srocc
            for one in np.unique(numbers)
        ]
        return float(np.mean(sroccs))

    def end_epoch(self, epoch: int, losses: Sequence[float], validated: float, tested: float) -> EpochRecord:
        """Record an epoch, and keep its weights where they are the best so far."""
        record = EpochRecord(epoch, float(np.mean(losses)), validated, tested)
        self.best.update(record, self.head)
        return record

    def result(self) -> TrainingResult:
        """Return the best epoch's weights and the curve."""
        return self.best.result(self.head, self.label_scalings)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` resumes from, to the bit."""
        return {
            "head": self.head.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "generator": self._generator.get_state(),
            "best": self.best.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume a stopped training."""
        self.head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._generator.set_state(state["generator"])
        self.best.load_state_dict(state["best"])


@torch.no_grad()
def predict(
    head: Head, batcher: Batcher, rows: Sequence[int], groups: Tensor | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (video,) float64 scores of the videos in `rows`, on the label scale of the training.

    `groups` is (video,) the data set whose scale each score is on; without it, the head's usual one.
    """
    head.eval()
    scores = []
    for batch in batcher.batches(chunks(rows, VIDEOS_SCORED_AT_ONCE)):
        numbers = None if groups is None else dataset_numbers(batcher.data, groups, batch)
        scores.append(head.outputs(head.core(batch.frames, batch.lengths), numbers).aligned.cpu())
    return torch.cat(scores).double().numpy() if scores else np.empty(0)


def dataset_numbers(data: FeatureDataset, groups: Tensor, batch: Batch) -> Tensor | None:
    """Return (batch,) the data set of each video; None where there is only one."""
    return groups[list(batch.rows)] if len(data.dataset_names) > 1 else None


def check_parts(split: Split, data: FeatureDataset, recipe: Recipe) -> None:
    """Refuse a split with equal training labels, or with too few videos to select an epoch, in a data set."""
    selecting = ["test"] if recipe.select == "test" else []
    selecting += ["validation"] if split.validation else []
    for number, name in enumerate(data.dataset_names):
        of = f" of '{name}'" if len(data.dataset_names) > 1 else ""
        labels = data.mos[[row for row in split.train if data.dataset_of[row] == number]]
        if len(labels) > 1 and np.ptp(labels) == 0:
            raise TrainingError(
                f"all {len(labels)} labels of the training part{of} are {labels[0]:g}, so there is nothing "
                "to learn; look at the label list."
            )
        for part in selecting:
            videos = sum(data.dataset_of[row] == number for row in getattr(split, part))
            if videos < FEWEST_FOR_SROCC:
                raise TrainingError(
                    f"the {part} part{of} has {videos} video(s); choosing an epoch by SROCC takes at least "
                    f"{FEWEST_FOR_SROCC}. Use a larger {part} share, as --ratio 40/30/30, or "
                    f"{_INSTEAD[part]}."
                )
