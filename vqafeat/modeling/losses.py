"""Losses on the scores of a batch of videos, and the scale that labels are brought to before."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from vqafeat.errors import TrainingError
from vqafeat.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]
LabelScale = Callable[[npt.NDArray[np.float64], Sequence[int]], float]

LOSSES: Registry[Loss] = Registry("loss")
LABEL_SCALES: Registry[LabelScale] = Registry("label scale")


@LOSSES.register("l1")
def l1_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean absolute difference of (batch,) scores and (batch,) scaled labels, as in VSFA (ACM MM 2019), section 3.4."""
    return F.l1_loss(scores, labels)


@LABEL_SCALES.register("largest-of-dataset")
def largest_of_dataset(mos: npt.NDArray[np.float64], train: Sequence[int]) -> float:
    """Return the largest label of all parts, by which the released VSFA.py divides; the test labels' maximum thus enters the training."""
    return _positive(float(mos.max()), "data set")


@LABEL_SCALES.register("largest-of-training")
def largest_of_training(mos: npt.NDArray[np.float64], train: Sequence[int]) -> float:
    """Return the largest label of the training part."""
    return _positive(float(mos[list(train)].max()), "training part")


def _positive(largest: float, part: str) -> float:
    """Refuse what labels cannot be divided by; negative labels beside a positive largest one stay negative, as in the released code."""
    if largest <= 0:
        raise TrainingError(
            f"the largest label of the {part} is {largest:g}; labels are divided by it and it has to be above 0; add an offset to them."
        )
    return largest
