"""Several data sets in one training: whose labels share a loss, and how their losses become one."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.registry import Registry

Numbers = npt.NDArray[np.intp]

# (video,) number of its data set → (video,) number of the group whose videos share batches, a loss and a label scale
MIXINGS: Registry[Callable[[Numbers], Numbers]] = Registry("mixing")


@MIXINGS.register("losses")
def a_loss_each(dataset_of: Numbers) -> Numbers:
    """Give each data set a loss of its own, and each batch as many videos of every data set (MDTVSFA, IJCV 2021, section 3.3)."""
    return dataset_of


@MIXINGS.register("pooled")
def one_for_all(dataset_of: Numbers) -> Numbers:
    """Train on all data sets as on one, whose labels a label scale such as unit-of-dataset has to bring together."""
    return np.zeros_like(dataset_of)


def combined(losses: Sequence[Tensor]) -> Tensor:
    """Return Σ e^L·L / Σ e^L over the losses of the data sets: the larger a loss, the more it weighs. One loss stays what it is.

    Source: `VQALoss.forward` in the released VQAloss.py of MDTVSFA and of Li et al.; the weights carry gradients too.
    """
    if len(losses) == 1:
        return losses[0]
    stacked = torch.stack(list(losses))
    return (torch.softmax(stacked, dim=0) * stacked).sum()
