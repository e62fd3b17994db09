"""One head on one split: its weights, its optimiser, its order of videos."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.losses import MIXINGS, build_loss, label_lines
from vqafeat.modeling.batching import Batch, Batcher, bucketed
from vqafeat.modeling.keeping import Keeper
from vqafeat.modeling.recipes import Recipe
from vqafeat.modeling.records import Assignment
from vqafeat.modeling.rows import RowPicks
from vqafeat.modeling.sampling import FrameInput, RowDraws
from vqafeat.modeling.sequences import Sequences
from vqafeat.modeling.starting import new_head
from vqafeat.splits import Split

FEWEST_FOR_SROCC = 3


class Run:
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
        sequences: Sequences,
        assignment: Assignment,
        head_name: str,
        options: Mapping[str, Any],
        recipe: Recipe,
        device: str,
        frame_input: FrameInput,
    ) -> None:
        self.split, self.seed, self.recipe = assignment.split, assignment.seed, recipe
        self.loss = build_loss(recipe.loss, recipe.loss_options())
        check_parts(self.split, sequences, recipe)
        names, numbers, mos = sequences.datasets, sequences.dataset_of, sequences.mos
        self.lines = assignment.lines or tuple(label_lines(recipe.label_scale, names, numbers, mos, self.split.train))
        scaled = np.empty_like(mos)
        for number, line in enumerate(self.lines):
            scaled[numbers == number] = line.scaled(mos[numbers == number])
        self.labels = torch.from_numpy(scaled).float().to(device)
        self.groups = torch.from_numpy(MIXINGS.get(recipe.mixing)(numbers)).to(device)
        self._draws = RowDraws(frame_input, sequences)
        reachable = self._draws.reachable
        self.head = new_head(sequences, self.split, head_name, options, recipe, self.labels, self.groups, self.seed, reachable).to(device)
        self.batcher = Batcher(sequences, device)
        self.keeper = Keeper(recipe, self.split)
        self._optimiser = torch.optim.AdamW(self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
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
        """Yield the training part in an order of its own: of each data set as many videos, one data set after another in a batch.

        An epoch is as long as the largest data set; the smaller ones begin again, as `VQADataset.__getitem__` in the released
        VQAdataset.py of MDTVSFA.
        """
        places = torch.randperm(self._longest, generator=self._generator).tolist()[: self._places]
        groups = bucketed(places, self._lengths, self.recipe.batch_size, self.recipe.bucket_batches, self._generator)
        # all videos of one data set, then all of the next
        chosen = ([row for of_dataset in zip(*map(self._at, group), strict=True) for row in of_dataset] for group in groups)
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

    def picks(self, part: str) -> RowPicks:
        """Return the rows of each video that "validation" or "test" takes during training."""
        return self._draws.validation(self.seed) if part == "validation" else self._draws.testing(self.seed)[0]

    def state(self) -> dict[str, Any]:
        """Return what `take_up` goes on from, to the bit."""
        optimiser, generator = self._optimiser.state_dict(), self._generator.get_state()
        return {"head": self.head.state_dict(), "optimiser": optimiser, "generator": generator, "keeper": self.keeper.state()}

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on where the `state` of a stopped training was."""
        self.head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.keeper.take_up(state["keeper"])


def dataset_numbers(sequences: Sequences, groups: Tensor, batch: Batch) -> Tensor | None:
    """Return (batch,) the data set of each video of a batch, or None where there is one alone and a head's own choice holds."""
    return groups[list(batch.rows)] if len(sequences.datasets) > 1 else None


def check_parts(split: Split, sequences: Sequences, recipe: Recipe) -> None:
    """Refuse a split that cannot be trained on.

    Raises:
        TrainingError: the part that is to choose an epoch is too small in a data set, all training labels of one are equal, or a row is
            not among the videos.
    """
    videos = len(sequences)
    beyond = [row for part in (split.train, split.validation, split.test) for row in part if row >= videos]
    if beyond:
        raise TrainingError(f"a split names video {beyond[0]}, but there are {videos} (0 to {videos - 1}); use splits of this data set.")
    for number, name in enumerate(sequences.datasets):
        of = f" of '{name}'" if len(sequences.datasets) > 1 else ""
        test, validation = (sum(sequences.dataset_of[row] == number for row in part) for part in (split.test, split.validation))
        labels = sequences.mos[[row for row in split.train if sequences.dataset_of[row] == number]]
        if len(labels) > 1 and np.ptp(labels) == 0:
            raise TrainingError(
                f"all {len(labels)} labels of the training part{of} are {labels[0]:g}, so there is nothing to learn; "
                "look at the label list."
            )
        if recipe.select == "test" and test < FEWEST_FOR_SROCC:
            raise TrainingError(
                f"the test part{of} has {test} video(s); choosing an epoch by its SROCC takes at least {FEWEST_FOR_SROCC}. "
                "Use --select validation, or a larger test share, as --ratio 40/30/30."
            )
        if split.validation and validation < FEWEST_FOR_SROCC:
            raise TrainingError(
                f"the validation part{of} has {validation} video(s); choosing an epoch by SROCC takes at least {FEWEST_FOR_SROCC}. "
                "Use a larger validation share, as --ratio 40/30/30, or --ratio 80/20 for none, which keeps the last epoch."
            )
