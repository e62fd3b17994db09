"""The linear part of the losses of MDTVSFA and Li et al."""

from torch import Tensor

from vqafeat.modeling.losses.base import LOSSES, READS
from vqafeat.modeling.losses.correlation import correlation, is_constant


@LOSSES.register("plcc")
def plcc_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (1 − PLCC) / 2 of (batch,) scores and (batch,) labels, in [0, 1]; 0.5 without a gradient where either is constant.

    A batch of one video is constant. Source: Li et al. (TCSVT 2022) equation 14; `loss_a` in the released VQAloss.py of MDTVSFA and Li
    et al., from which it differs only where scores or labels are constant, see `correlation`.
    """
    return (1 - correlation(scores, labels, is_constant(scores) | is_constant(labels))) / 2


READS["plcc"] = "mapped"
