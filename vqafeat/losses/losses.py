"""The losses, from the equations and the released code of the papers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqafeat.losses.base import BY_OPTION, Loss
from vqafeat.losses.soft_rank import soft_ranks


def is_constant(values: Tensor) -> Tensor:
    """Return a bool scalar: whether (batch,) values are equal up to rounding."""
    known = values.detach()
    return (known.amax() - known.amin()) <= 8 * torch.finfo(values.dtype).eps * known.abs().amax()


def correlation(first: Tensor, second: Tensor, undefined: Tensor) -> Tensor:
    """Return Pearson's correlation of two (batch,) vectors; 0 without a gradient where one is constant.

    The released `loss_a` divides by at least 1e-8 instead, which gives equal scores gradients of up to 1e8.
    """
    a, b = _unit(first, undefined), _unit(second, undefined)
    return (a * b).sum()


def _unit(values: Tensor, undefined: Tensor) -> Tensor:
    centred = values - values.mean()
    # the gradient of 0/0 is NaN even where the quotient is not used
    length = torch.linalg.vector_norm(centred).masked_fill(undefined, 1)
    return torch.where(undefined, centred * 0, centred / length)


def l1_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean |ŷ − y| over (batch,) (VSFA, ACM MM 2019, section 3.4; A2INet equation 6)."""
    return F.l1_loss(scores, labels)


def plcc_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (1 − PLCC) / 2; 0.5 without a gradient for constant values (Li et al. equation 14)."""
    # `loss_a` in the released VQAloss.py of MDTVSFA and Li et al. differs on constant values only
    return (1 - correlation(scores, labels, is_constant(scores) | is_constant(labels))) / 2


def srcc_loss(
    scores: Tensor, labels: Tensor, *, soft_rank: str = "l2", soft_rank_strength: float = 1.0
) -> Tensor:
    """Return 1 − PLCC of the soft ranks of (batch,) values; 1 without a gradient where either is constant.

    Source: Li et al. (TCSVT 2022) equation 15; `spearmanr` in their released VQAloss.py, with torchsort's
    "l2" and strength 1. Soft ranks of values with no gap above the strength are linear in them. The released
    loss of scores in [0, 1] is therefore 1 − PLCC; a strength of about 0.01 ranks most of 32 such scores.
    With a strength near 0 the gradients vanish.
    """
    undefined = is_constant(scores) | is_constant(labels)
    # in float64, because differences of scores are small next to ranks up to the batch size
    ranks, label_ranks = (soft_ranks(one.double(), soft_rank, soft_rank_strength) for one in (scores, labels))
    return (1 - correlation(ranks, label_ranks, undefined)).to(scores.dtype)


def mdtvsfa_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return Σ relu((ŷ_i − ŷ_j)·sign(y_j − y_i)) / (N(N − 1)) (`loss_m` of MDTVSFA's released VQAloss.py)."""
    # equal scores have no loss and no gradient
    count = len(scores)
    wrong = F.relu((scores[:, None] - scores) * torch.sign(labels - labels[:, None]))
    return wrong.sum() / max(count * (count - 1), 1)


def a2inet_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of max(0, |y_i − y_j| − φ·(ŷ_i − ŷ_j)) over pairs, φ = 1 if y_i ≥ y_j, else −1."""
    # A2INet equations 7 and 8; the labels' distance is the margin, so scores need the labels' scale
    distance = labels[:, None] - labels
    direction = torch.where(distance >= 0, 1.0, -1.0).to(scores.dtype)
    return F.relu(distance.abs() - direction * (scores[:, None] - scores)).mean()


L1 = Loss(l1_loss, is_calibrated=True)
PLCC = Loss(plcc_loss, input_score="mapped")
SRCC = Loss(srcc_loss, input_score=BY_OPTION)
RANK_MDTVSFA = Loss(mdtvsfa_rank_loss, input_score=BY_OPTION)
RANK = Loss(a2inet_rank_loss)
