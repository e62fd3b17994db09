"""One head on one split: its weights, its optimiser, its order of videos."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.heads import Head, NeuralHead, build_head
from vqafeat.io import write_bytes
from vqafeat.losses import MIXINGS, LabelScaling, build_loss, fit_label_scaling
from vqafeat.splits import Split
from vqafeat.training.batching import Batch, Batcher, as_tensor, bucketed
from vqafeat.training.config import SELECTIONS, Recipe
from vqafeat.training.data import FeatureDataset, FrameSelector, all_frames, take
from vqafeat.training.frame_sampling import FrameInput, FrameSampler

# below this share of the median channel's deviation a channel counts as nearly constant: one odd video must
# not blow it up
_SMALLEST_DEVIATION = 0.1


def frame_statistics(
    sequences: FeatureDataset, rows: Sequence[int], frame_indices: FrameSelector = all_frames
) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over the picked frames of the videos in `rows`, without
    `frame_indices` over all of them.

    Deviations below a tenth of the median channel's are raised to it.
    """
    counts, means, squares = (
        0,
        torch.zeros(sequences.channels, dtype=torch.float64),
        torch.zeros(sequences.channels, dtype=torch.float64),
    )
    for frames in _frames_of(sequences, rows, frame_indices):
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


def _frames_of(
    sequences: FeatureDataset, rows: Sequence[int], frame_indices: FrameSelector
) -> Iterator[Tensor]:
    return (as_tensor(take(sequences.features[row], frame_indices(row))).float() for row in rows)


def init_head(
    sequences: FeatureDataset,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    labels: Tensor,
    groups: Tensor,
    seed: int,
    candidate_indices: FrameSelector,
) -> NeuralHead:
    """Return an untrained head, seeded, that has seen what its recipe lets it see of the training part.

    Args:
        labels: (video,) scaled labels of all videos.
        groups: (video,) number of the data set that a video's label scale belongs to.
        reachable: the rows that training can pick.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(head_name, sequences.channels, options)
    assert isinstance(head, NeuralHead)
    head.init_from_labels(labels[list(split.train)], groups[list(split.train)])
    if recipe.standardise:
        head.standardise_by(*frame_statistics(sequences, split.train, candidate_indices))
    if recipe.start_at_mean:
        head.init_output_bias(float(labels[list(split.train)].mean()))
    return head


@dataclass(frozen=True)
class EpochRecord:
    """One row of the curve.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc: mean over the data sets; NaN where there is no validation part, or where it is not
            defined (constant predictions).
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
        lines: data set by data set, how the head's output becomes a score.
        kept_epoch: counted from 1; 0 where the head is not trained in epochs.
        kept_because: in words.
        curve: one record an epoch.
    """

    weights: dict[str, Tensor]
    lines: tuple[LabelScaling, ...]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class SplitTask:
    """What tells one run of a head from the others that are trained beside it.

    Attributes:
        split: rows count within the sequences.
        seed: of this split.
        lines: one a data set; without them, what the recipe's label scale finds in the sequences.
        recipe: of this run alone, of as many epochs as the others'; without it, the one that all share.
    """

    split: Split
    seed: int
    lines: tuple[LabelScaling, ...] | None = None
    recipe: Recipe | None = None


class BestCheckpoint:
    """Keeps the weights of the first epoch with the highest SROCC of the selecting part, or of the last one
    where there is no such part.
    """

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self._first = recipe.first_checkpoint_epoch()
        self._part = SELECTIONS.get(recipe.select).part
        self._has_part = bool(getattr(split, self._part))
        self._best = -inf
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self.curve: list[EpochRecord] = []

    def update(self, record: EpochRecord, head: Head) -> None:
        """Take an epoch's record, and its weights where they are the best so far."""
        self.curve.append(record)
        srocc = getattr(record, f"{self._part}_srocc")
        if self._has_part and record.epoch >= self._first and srocc > self._best:
            self._best = srocc
            self._kept = record.epoch, copied(head)

    def result(self, head: Head, lines: tuple[LabelScaling, ...]) -> TrainingResult:
        """Return what is kept, of a head after its last epoch."""
        if self._kept is not None:
            epoch, weights = self._kept
            return TrainingResult(
                weights, lines, epoch, f"highest {self._part} SROCC ({self._best:.4f})", tuple(self.curve)
            )
        missing = (
            f"{self._part} SROCC was never defined" if self._has_part else f"there is no {self._part} part"
        )
        return TrainingResult(
            copied(head), lines, len(self.curve), f"last epoch: {missing}", tuple(self.curve)
        )

    def state(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from."""
        return {"best": self._best, "kept": self._kept, "curve": [astuple(record) for record in self.curve]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the `state` of a stopped training was."""
        self._best, self._kept = state["best"], state["kept"]
        self.curve = [EpochRecord(*values) for values in state["curve"]]


def copied(head: Head) -> dict[str, Tensor]:
    """Return a head's weights as they are now."""
    return {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}


FEWEST_FOR_SROCC = 3


class SplitTrainer:
    """One head on one split, as a training loop needs it.

    Attributes:
        split: rows count within the sequences.
        seed: of this split.
        recipe: how it is trained.
        head: on the training's device.
        labels: (video,) float32, as the loss sees them.
        groups: (video,) int64, the data set whose label scale and loss a video belongs to.
        lines: data set by data set, how the head's output becomes a score.
        loss: of the videos of one data set.
        batcher: makes its batches.
        keeper: of the best epoch.
    """

    def __init__(
        self,
        sequences: FeatureDataset,
        assignment: SplitTask,
        head_name: str,
        options: Mapping[str, Any],
        recipe: Recipe,
        device: str,
        frame_input: FrameInput,
    ) -> None:
        self.split, self.seed, self.recipe = assignment.split, assignment.seed, recipe
        self.loss = build_loss(recipe.loss, recipe.loss_options())
        check_parts(self.split, sequences, recipe)
        names, numbers, mos = sequences.dataset_names, sequences.dataset_of, sequences.mos
        self.lines = assignment.lines or tuple(
            fit_label_scaling(recipe.label_scale, names, numbers, mos, self.split.train)
        )
        scaled = np.empty_like(mos)
        for number, line in enumerate(self.lines):
            scaled[numbers == number] = line.scaled(mos[numbers == number])
        self.labels = torch.from_numpy(scaled).float().to(device)
        self.groups = torch.from_numpy(MIXINGS.get(recipe.mixing)(numbers)).to(device)
        self._draws = FrameSampler(frame_input, sequences)
        candidate_indices = self._draws.candidate_indices
        self.head = init_head(
            sequences,
            self.split,
            head_name,
            options,
            recipe,
            self.labels,
            self.groups,
            self.seed,
            candidate_indices,
        ).to(device)
        self.batcher = Batcher(sequences, device)
        self.keeper = BestCheckpoint(recipe, self.split)
        self._optimiser = torch.optim.AdamW(
            self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._generator = torch.Generator().manual_seed(self.seed)
        train = np.array(self.split.train)
        of_train = MIXINGS.get(recipe.mixing)(numbers)[train]
        self._trained = [train[of_train == group] for group in np.unique(of_train)]
        self._longest = max(len(rows) for rows in self._trained)
        self._places = recipe.videos_an_epoch(self._longest)
        self._steps = -(-self._places // recipe.batch_size)
        own = sequences.lengths
        self._lengths = [max(own[row] for row in self._at(place)) for place in range(self._longest)]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the training part in an order of its own: of each data set as many videos, one data set after
        another in a batch.

        An epoch is as long as the largest data set; the smaller ones begin again, as `VQADataset.__getitem__`
        in the released VQAdataset.py of MDTVSFA.
        """
        places = torch.randperm(self._longest, generator=self._generator).tolist()[: self._places]
        groups = bucketed(
            places, self._lengths, self.recipe.batch_size, self.recipe.bucket_batches, self._generator
        )
        # all videos of one data set, then all of the next
        chosen = (
            [row for of_dataset in zip(*map(self._at, group), strict=True) for row in of_dataset]
            for group in groups
        )
        return self.batcher.taking(self._draws.training(self.seed, epoch)).batches(chosen)

    def _at(self, place: int) -> list[int]:
        """Return the video of each data set whose turn is at a place of an epoch."""
        return [int(rows[place % len(rows)]) for rows in self._trained]

    @property
    def losses(self) -> int:
        """How many data sets have a loss of their own."""
        return len(self._trained)

    def step(self, epoch: int, number: int) -> None:
        """Let the optimiser take the step `number`, counted from 0, of an epoch."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(epoch, number, self._steps)
        self._optimiser.step()
        self._optimiser.zero_grad()

    def frame_indices(self, part: str) -> FrameSelector:
        """Return the rows of each video that "validation" or "test" takes during training."""
        return (
            self._draws.validation(self.seed) if part == "validation" else self._draws.testing(self.seed)[0]
        )

    def state(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from, to the bit."""
        optimiser, generator = self._optimiser.state_dict(), self._generator.get_state()
        return {
            "head": self.head.state_dict(),
            "optimiser": optimiser,
            "generator": generator,
            "keeper": self.keeper.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the `state` of a stopped training was."""
        self.head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.keeper.load_state_dict(state["keeper"])


def dataset_numbers(sequences: FeatureDataset, groups: Tensor, batch: Batch) -> Tensor | None:
    """Return (batch,) the data set of each video of a batch, or None where there is one alone and a head's
    own choice holds.
    """
    return groups[list(batch.rows)] if len(sequences.dataset_names) > 1 else None


def check_parts(split: Split, sequences: FeatureDataset, recipe: Recipe) -> None:
    """Refuse a split that cannot be trained on.

    Raises:
        TrainingError: the part that is to choose an epoch is too small in a data set, all training labels of
            one are equal, or a row is not among the videos.
    """
    videos = len(sequences)
    beyond = [row for part in (split.train, split.validation, split.test) for row in part if row >= videos]
    if beyond:
        raise TrainingError(
            f"a split names video {beyond[0]}, but there are {videos} (0 to {videos - 1}); use splits of "
            f"this data set."
        )
    for number, name in enumerate(sequences.dataset_names):
        of = f" of '{name}'" if len(sequences.dataset_names) > 1 else ""
        test, validation = (
            sum(sequences.dataset_of[row] == number for row in part)
            for part in (split.test, split.validation)
        )
        labels = sequences.mos[[row for row in split.train if sequences.dataset_of[row] == number]]
        if len(labels) > 1 and np.ptp(labels) == 0:
            raise TrainingError(
                f"all {len(labels)} labels of the training part{of} are {labels[0]:g}, so there is nothing "
                f"to learn; "
                "look at the label list."
            )
        if recipe.select == "test" and test < FEWEST_FOR_SROCC:
            raise TrainingError(
                f"the test part{of} has {test} video(s); choosing an epoch by its SROCC takes at least "
                f"{FEWEST_FOR_SROCC}. "
                "Use --select validation, or a larger test share, as --ratio 40/30/30."
            )
        if split.validation and validation < FEWEST_FOR_SROCC:
            raise TrainingError(
                f"the validation part{of} has {validation} video(s); choosing an epoch by SROCC takes at "
                f"least {FEWEST_FOR_SROCC}. "
                "Use a larger validation share, as --ratio 40/30/30, or --ratio 80/20 for none, which keeps "
                "the last epoch."
            )


SECONDS_BETWEEN = 60.0


class Checkpoint:
    """A file that holds the states of runs that train together, as they were at most a minute and an epoch
    ago.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, time.monotonic()

    def read(self) -> list[dict[str, Any]]:
        """Return the states that were written last, or none."""
        if not self._path.is_file():
            return []
        states: list[dict[str, Any]] = torch.load(self._path, weights_only=True)
        return states

    def save_if_due(self, states: Callable[[], list[dict[str, Any]]]) -> None:
        """Write the states where the last ones are old enough."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        content = io.BytesIO()
        torch.save(states(), content)
        write_bytes(self._path, content.getvalue())
        self._last = time.monotonic()
