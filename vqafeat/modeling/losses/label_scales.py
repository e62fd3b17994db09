"""What labels are divided by before a loss sees them; a head's output × this is a score on the data set's scale."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vqafeat.errors import TrainingError
from vqafeat.registry import Registry

Labels = npt.NDArray[np.float64]
LabelScale = Callable[[Labels, Sequence[int]], float]

LABEL_SCALES: Registry[LabelScale] = Registry("label scale")


@LABEL_SCALES.register("largest-of-dataset")
def largest_of_dataset(mos: Labels, train: Sequence[int]) -> float:
    """Return the largest label of all parts, by which the released VSFA.py divides; the test labels' maximum thus enters the training."""
    return _positive(float(mos.max()), "data set")


@LABEL_SCALES.register("largest-of-training")
def largest_of_training(mos: Labels, train: Sequence[int]) -> float:
    """Return the largest label of the training part."""
    return _positive(float(mos[list(train)].max()), "training part")


@LABEL_SCALES.register("range-of-dataset")
def range_of_dataset(mos: Labels, train: Sequence[int]) -> float:
    """Return largest minus smallest label of all parts, as `scale` in the released VQAdataset.py of MDTVSFA and of Li et al."""
    return _wide(mos, "data set")


@LABEL_SCALES.register("range-of-training")
def range_of_training(mos: Labels, train: Sequence[int]) -> float:
    """Return largest minus smallest label of the training part."""
    return _wide(mos[list(train)], "training part")


@LABEL_SCALES.register("none")
def as_they_are(mos: Labels, train: Sequence[int]) -> float:
    """Return 1: the loss sees the labels on the data set's own scale, as `spearmanr` in the released VQAloss.py of Li et al. does."""
    return 1.0


def _positive(largest: float, part: str) -> float:
    """Refuse what labels cannot be divided by; negative labels beside a positive largest one stay negative, as in the released code."""
    if largest <= 0:
        raise TrainingError(
            f"the largest label of the {part} is {largest:g}; labels are divided by it and it has to be above 0; add an offset to them."
        )
    return largest


def _wide(labels: Labels, part: str) -> float:
    if np.ptp(labels) == 0:
        raise TrainingError(
            f"all labels of the {part} are {labels[0]:g}; they are divided by largest − smallest, which has to be above 0; "
            "look at the label list, or use another label scale."
        )
    return float(np.ptp(labels))
