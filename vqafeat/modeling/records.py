"""What goes into the training of a head, and what comes out of it."""

from dataclasses import dataclass
from math import nan

from torch import Tensor

from vqafeat.losses import LabelLine
from vqafeat.modeling.recipes import Recipe
from vqafeat.splits import Split


@dataclass(frozen=True)
class EpochRecord:
    """One row of the curve.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc: mean over the data sets; NaN where there is no validation part, or where it is not defined (constant predictions).
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
    lines: tuple[LabelLine, ...]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class Assignment:
    """What tells one run of a head from the others that are trained beside it.

    Attributes:
        split: rows count within the sequences.
        seed: of this split.
        lines: one a data set; without them, what the recipe's label scale finds in the sequences.
        recipe: of this run alone, of as many epochs as the others'; without it, the one that all share.
    """

    split: Split
    seed: int
    lines: tuple[LabelLine, ...] | None = None
    recipe: Recipe | None = None
