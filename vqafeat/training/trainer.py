"""`SplitTrainer`: train one head on one split."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from math import ceil, inf, isfinite, nan, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.heads.base import Head, build_head
from vqafeat.losses.base import MIXINGS, build_loss, softmax_weighted_sum
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.metrics import evaluate_predictions
from vqafeat.splits import PARTS, Split
from vqafeat.store.features import FeatureDataset
from vqafeat.system import full_float32
from vqafeat.training.batching import Batch, Batcher, bucketed, chunks, sent
from vqafeat.training.checkpoint import EpochRecord, TrainingResult
from vqafeat.training.config import FitConfig
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.predictions import FEWEST_TO_MEASURE
from vqafeat.training.recipes import Recipe
from vqafeat.training.training_features import combined_statistics, shared_moments

FEWEST_FOR_SROCC = 3
_INSTEAD = {
    "validation": "--ratio 80/20 for none, which keeps the last epoch; --validation-share is that of an "
    "official split",
    "test": "--select validation",
}
VIDEOS_SCORED_AT_ONCE = 16
PartMetrics = tuple[float, float, float]  # SROCC, PLCC, RMSE


@dataclass(frozen=True)
class SplitTask:
    """A split to train on, with its number, its seed and the label scaling of each data set.

    Attributes:
        epochs: where training stops; None for the recipe's last epoch. The schedule is the recipe's.
    """

    number: int
    split: Split
    seed: int
    label_scalings: tuple[LabelScaling, ...]
    epochs: int | None = None


class SplitTrainer:
    """Trains one head on one split, epoch by epoch; `vqafeat.training.loop` has the loop.

    The seed decides weights, the order of videos, the drawn frames and dropout: the same seed, machine and
    number of threads give the same weights.

    Attributes:
        labels: (video,) float32 on the CPU, as the loss sees them.
        groups: (video,) int64 on the CPU, the data set whose loss and label scale a video belongs to.
    """

    def __init__(self, data: FeatureDataset, task: SplitTask, config: FitConfig, device: str = "cpu") -> None:
        self.data, self.task, self.recipe = data, task, config.resolved_recipe
        self.epochs = task.epochs or self.recipe.epochs
        recipe, numbers, train = self.recipe, data.dataset_of, np.array(task.split.train)
        scaled = np.empty_like(data.mos)
        for number, scaling in enumerate(task.label_scalings):
            scaled[numbers == number] = scaling.transform(data.mos[numbers == number])
        groups = MIXINGS[recipe.multi_dataset](numbers)
        self.labels, self.groups = torch.from_numpy(scaled).float(), torch.from_numpy(groups)
        self._sampler, self._batcher = FrameSampler(config.frame_input, data), Batcher(data, device)
        self._loss = build_loss(recipe.loss, recipe.loss_options())
        self._rows = [train[groups[train] == group] for group in np.unique(groups[train])]
        self._longest = max(len(rows) for rows in self._rows)
        self._videos_per_epoch = recipe.videos_an_epoch(self._longest)
        self._lengths = [
            max(data.lengths[row] for row in self._videos_at(turn)) for turn in range(self._longest)
        ]
        self.head = self._new_head(config).to(device)
        self._generator = torch.Generator().manual_seed(task.seed)
        self._optimiser = torch.optim.AdamW(
            self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._scheduler = recipe.scheduler(self._optimiser, ceil(self._videos_per_epoch / recipe.batch_size))
        self._learning_rate, self._best = recipe.learning_rate, -inf
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self.curve: list[EpochRecord] = []

    def _new_head(self, config: FitConfig) -> Head:
        """Return an untrained head that has seen what the recipe lets it see of the training part."""
        train = list(self.task.split.train)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.task.seed)
            head = build_head(config.head, self.data.channels, config.options)
        head.init_from_labels(self.labels[train], self.groups[train])
        if self.recipe.standardise:
            moments = shared_moments(self._batcher, self._sampler)
            head.standardise_by(*combined_statistics(moments(row) for row in train))
        if self.recipe.start_at_mean:
            head.init_output_bias(float(self.labels[train].mean()))
        return head

    @property
    def device(self) -> torch.device:
        """Where the head is trained."""
        return self._batcher.device

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
        return self._batcher.taking(self._sampler.training(self.task.seed, epoch)).batches(rows)

    def _videos_at(self, turn: int) -> list[int]:
        """Return the video of each data set at a turn of an epoch."""
        return [int(rows[turn % len(rows)]) for rows in self._rows]

    def scores(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """Return the (video,) scores of the head's core; what it drops in a step follows from the seed."""
        with seeded(self.device, self.task.seed, epoch, step):
            scores: Tensor = self.head.core(batch.frames, batch.lengths)
        return scores

    def loss(self, batch: Batch, scores: Tensor) -> Tensor:
        """Return the loss of a batch by its (video,) core scores, combined over the data sets."""
        count = len(self._rows)
        outputs = self.head.outputs(scores, dataset_numbers(self.data, self.groups, batch)).parts(count)
        labels = sent(self.labels[list(batch.rows)], scores.device).view(count, -1)
        return softmax_weighted_sum([self._loss(*own) for own in zip(outputs, labels, strict=True)])

    def finite_losses(self, epoch: int, steps: Sequence[tuple[tuple[int, ...], Tensor]]) -> list[float]:
        """Return the losses of an epoch's steps, each given with its videos; all have to be finite.

        They are looked at once an epoch, since a look at each would keep a GPU waiting.
        """
        losses: list[float] = torch.stack([loss for _, loss in steps]).tolist()
        for step, (loss, (rows, _)) in enumerate(zip(losses, steps, strict=True), 1):
            if not isfinite(loss):
                videos = ", ".join(self.data.names[row] for row in rows)
                raise TrainingError(
                    f"the loss became {loss} in epoch {epoch}, step {step}, on the videos {videos}; look at "
                    "their features with `vqafeat verify`, or lower --learning-rate "
                    f"({self.recipe.learning_rate:g})."
                )
        return losses

    def step(self) -> None:
        """Take a step of the optimiser and of the learning rate's schedule."""
        self._learning_rate = float(self._scheduler.get_last_lr()[0])
        self._optimiser.step()
        self._scheduler.step()
        self._optimiser.zero_grad()

    def part_batches(self, part: str) -> Iterator[Batch]:
        """Yield a part in its order; nothing of the test part unless the recipe selects by it."""
        rows = () if part == "test" and self.recipe.select != "test" else getattr(self.task.split, part)
        sampler = self._sampler
        frames = (
            sampler.validation(self.task.seed) if part == "validation" else sampler.testing(self.task.seed)[0]
        )
        return self._batcher.taking(frames).batches(chunks(rows, VIDEOS_SCORED_AT_ONCE))

    def relative(self, batch: Batch, scores: Tensor) -> Tensor:
        """Return the (video,) outputs that SROCC is computed on, by the core's scores of a batch."""
        return self.head.outputs(scores, dataset_numbers(self.data, self.groups, batch)).relative

    def metrics(self, part: str, outputs: Sequence[Tensor]) -> PartMetrics:
        """Return the metrics of a part by the outputs of its batches, NaN where they are not defined.

        SROCC and PLCC are the mean over the data sets. RMSE is that of the least squares line of the output,
        in the labels' unit, and NaN for several data sets.
        """
        scores = torch.cat(list(outputs)).cpu().double().numpy() if outputs else np.array([nan])
        if not np.isfinite(scores).all():
            return nan, nan, nan
        rows = np.array(getattr(self.task.split, part))
        numbers, mos = self.data.dataset_of[rows], self.data.mos[rows]
        members = [numbers == one for one in np.unique(numbers)]
        each = [evaluate_predictions(scores[own], mos[own], mapping="none") for own in members]
        srocc, plcc = (float(np.mean([getattr(one, name) for one in each])) for name in ("srocc", "plcc"))
        rmse = float(np.std(mos)) * sqrt(1 - plcc**2) if len(members) == 1 else nan
        return srocc, plcc, rmse

    def end_epoch(
        self, epoch: int, losses: Sequence[float], validated: PartMetrics, tested: PartMetrics
    ) -> EpochRecord:
        """Record an epoch; its weights are kept if the selecting part's SROCC is the highest so far."""
        (srocc, plcc, rmse), (test_srocc, *_) = validated, tested
        loss, rate = float(np.mean(losses)), self._learning_rate
        record = EpochRecord(epoch, loss, srocc, test_srocc, plcc, rmse, rate)
        self.curve.append(record)
        srocc = getattr(record, f"{self.recipe.select}_srocc")
        if epoch >= self.recipe.first_checkpoint_epoch() and srocc > self._best:
            self._best, self._kept = srocc, (epoch, self._weights())
        return record

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.head.state_dict().items()}

    def result(self) -> TrainingResult:
        """Return the best epoch's weights, or else the last one's, and the curve."""
        select = self.recipe.select
        because = f"highest {select} SROCC ({self._best:.4f})"
        if self._kept is None:
            has_part = bool(getattr(self.task.split, select))
            missing = f"{select} SROCC was never defined" if has_part else f"there is no {select} part"
            because = f"last epoch: {missing}"
        epoch, weights = self._kept or (len(self.curve), self._weights())
        return TrainingResult(weights, epoch, because, tuple(self.curve))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` resumes from, to the bit."""
        return {
            "head": self.head.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "generator": self._generator.get_state(),
            "best": self._best,
            "kept": self._kept,
            "curve": [astuple(record) for record in self.curve],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume a stopped training."""
        self.head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._generator.set_state(state["generator"])
        self._best, self._kept = state["best"], state["kept"]
        self.curve = [EpochRecord(*values) for values in state["curve"]]


@torch.no_grad()
@full_float32()
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
        scores.append(head.outputs(head.core(batch.frames, batch.lengths), numbers).aligned)
    return torch.cat(scores).cpu().double().numpy() if scores else np.empty(0)


@contextmanager
def seeded(device: torch.device, *numbers: int) -> Iterator[None]:
    """Let what is drawn on a device follow from some numbers alone."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(int(seed))
        yield


def dataset_numbers(data: FeatureDataset, groups: Tensor, batch: Batch) -> Tensor | None:
    """Return (batch,) the data set of each video; None where there is only one."""
    if len(data.dataset_names) == 1:
        return None
    return sent(groups[list(batch.rows)], batch.source.device)


def check_parts(split: Split, data: FeatureDataset, recipe: Recipe) -> None:
    """Refuse equal training labels, and too few videos to select an epoch or to measure, in a data set."""
    selecting = ["test"] if recipe.select == "test" and split.test else []
    selecting += ["validation"] if split.validation else []
    for number, name in enumerate(data.dataset_names):
        of = f" of '{name}'" if len(data.dataset_names) > 1 else ""
        own = {
            part: [row for row in getattr(split, part) if data.dataset_of[row] == number] for part in PARTS
        }
        labels = data.mos[own["train"]]
        if len(labels) > 1 and np.ptp(labels) == 0:
            raise TrainingError(
                f"all {len(labels)} labels of the training part{of} are {labels[0]:g}, so there is nothing "
                "to learn; look at the label list."
            )
        if split.test and (videos := len(own["test"])) < FEWEST_TO_MEASURE:
            problem = f"the test part{of} has {videos} video(s); metrics take at least {FEWEST_TO_MEASURE}"
            raise TrainingError(f"{problem}. Use more videos, or a larger test share, as --ratio 40/30/30.")
        for part in selecting:
            if (videos := len(own[part])) < FEWEST_FOR_SROCC:
                raise TrainingError(
                    f"the {part} part{of} has {videos} video(s); choosing an epoch by SROCC takes at least "
                    f"{FEWEST_FOR_SROCC}. Use more videos, a larger {part} share, as --ratio 40/30/30, or "
                    f"{_INSTEAD[part]}."
                )
