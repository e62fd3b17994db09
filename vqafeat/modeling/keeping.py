"""The epoch whose weights a training keeps."""

from dataclasses import astuple
from math import inf
from typing import Any

from torch import Tensor

from vqafeat.heads import Head
from vqafeat.losses import LabelLine
from vqafeat.modeling.recipes import SELECTIONS, Recipe
from vqafeat.modeling.records import EpochRecord, TrainingResult
from vqafeat.splits import Split


class Keeper:
    """Keeps the weights of the first epoch with the highest SROCC of the selecting part, or of the last one where there is no such part."""

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self._first = recipe.first_kept_epoch()
        self._part = SELECTIONS.get(recipe.select).part
        self._has_part = bool(getattr(split, self._part))
        self._best = -inf
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self.curve: list[EpochRecord] = []

    def see(self, record: EpochRecord, head: Head) -> None:
        """Take an epoch's record, and its weights where they are the best so far."""
        self.curve.append(record)
        srocc = getattr(record, f"{self._part}_srocc")
        if self._has_part and record.epoch >= self._first and srocc > self._best:
            self._best = srocc
            self._kept = record.epoch, copied(head)

    def result(self, head: Head, lines: tuple[LabelLine, ...]) -> TrainingResult:
        """Return what is kept, of a head after its last epoch."""
        if self._kept is not None:
            epoch, weights = self._kept
            return TrainingResult(weights, lines, epoch, f"highest {self._part} SROCC ({self._best:.4f})", tuple(self.curve))
        missing = f"{self._part} SROCC was never defined" if self._has_part else f"there is no {self._part} part"
        return TrainingResult(copied(head), lines, len(self.curve), f"last epoch: {missing}", tuple(self.curve))

    def state(self) -> dict[str, Any]:
        """Return what `take_up` goes on from."""
        return {"best": self._best, "kept": self._kept, "curve": [astuple(record) for record in self.curve]}

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on where the `state` of a stopped training was."""
        self._best, self._kept = state["best"], state["kept"]
        self.curve = [EpochRecord(*values) for values in state["curve"]]


def copied(head: Head) -> dict[str, Tensor]:
    """Return a head's weights as they are now."""
    return {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
