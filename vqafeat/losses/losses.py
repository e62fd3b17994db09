"""The losses, from the equations and the released code of the papers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqafeat.losses.base import BY_OPTION, Loss
from vqafeat.losses.soft_rank import soft_ranks

# a spread below this many roundings of the largest value is none
_ROUNDINGS = 8


def is_constant(values: Tensor) -> Tensor:
    """Return a bool scalar: whether (batch,) values are equal but for rounding, as one value alone is."""
    known = values.detach()
    return (known.amax() - known.amin()) <= _ROUNDINGS * torch.finfo(values.dtype).eps * known.abs().amax()


def correlation(first: Tensor, second: Tensor, undefined: Tensor) -> Tensor:
    """Return Pearson's correlation of two (batch,) vectors; 0 without a gradient where one is constant.

    The released `loss_a` divides by at least 1e-8 instead, so that equal scores get a gradient of up to 1e8,
    from which Adam's second moments take a thousand steps to recover. NaN and infinity stay NaN.
    """
    a, b = _unit(first, undefined), _unit(second, undefined)
    return (a * b).sum()


def _unit(values: Tensor, undefined: Tensor) -> Tensor:
    centred = values - values.mean()
    # the length is replaced before the division, since a gradient through 0/0 is NaN even where the quotient
    # is not used
    length = torch.linalg.vector_norm(centred).masked_fill(undefined, 1)
    return torch.where(undefined, centred * 0, centred / length)


def l1_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean |ŷ − y| over (batch,) (VSFA, ACM MM 2019, section 3.4; A2INet equation 6)."""
    return F.l1_loss(scores, labels)


def plcc_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (1 − PLCC) / 2 of (batch,) scores and labels; 0.5 without a gradient where either is constant.

    A batch of one video is constant. Source: Li et al. (TCSVT 2022) equation 14; `loss_a` in the released
    VQAloss.py of MDTVSFA and Li et al., which differs only on constant values, see `correlation`.
    """
    return (1 - correlation(scores, labels, is_constant(scores) | is_constant(labels))) / 2


def srcc_loss(
    scores: Tensor, labels: Tensor, *, soft_rank: str = "l2", soft_rank_strength: float = 1.0
) -> Tensor:
    """Return 1 − PLCC of the soft ranks of (batch,) values; 1 without a gradient where either is constant.

    Source: Li et al. (TCSVT 2022) equation 15; `spearmanr` in their released VQAloss.py, which ranks scores
    and labels on their own scales, with torchsort's defaults: "l2" and strength 1. There the soft rank of
    values whose neighbours in order are nowhere further apart than the strength is the value itself plus a
    constant (any scores in [0, 1]; MOS from 1 to 5 in most batches). The released loss is then exactly
    1 − PLCC, twice `plcc`, and ranks nothing. Only gaps above the strength are ranked: for scores in [0, 1]
    and 32 videos a strength of about 0.01 ranks most of them.

    Towards strength 0 the ranks become the hard ones, and their gradients vanish.
    """
    undefined = is_constant(scores) | is_constant(labels)
    # in float64, since weak scores are close together next to ranks of up to the batch's size
    ranks, label_ranks = (soft_ranks(one.double(), soft_rank, soft_rank_strength) for one in (scores, labels))
    return (1 - correlation(ranks, label_ranks, undefined)).to(scores.dtype)


def mdtvsfa_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return Σ relu((ŷ_i − ŷ_j)·sign(y_j − y_i)) / (N(N − 1)) over all pairs of (batch,); 0 for one video.

    Source: `loss_m` in the released VQAloss.py of MDTVSFA (IJCV 2021). There is no margin: equal scores cost
    nothing and get no gradient.
    """
    count = len(scores)
    wrong = F.relu((scores[:, None] - scores) * torch.sign(labels - labels[:, None]))
    return wrong.sum() / max(count * (count - 1), 1)


def a2inet_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over pairs of max(0, |y_i − y_j| − φ·(ŷ_i − ŷ_j)), φ = 1 where y_i ≥ y_j, else −1.

    Source: A2INet equations 7 and 8; a video's pair with itself counts among the N² and costs nothing. The
    margin is the labels' own distance, so scores and labels have to share one scale; it keeps a gradient
    where all scores are equal.
    """
    distance = labels[:, None] - labels
    direction = torch.where(distance >= 0, 1.0, -1.0).to(scores.dtype)
    return F.relu(distance.abs() - direction * (scores[:, None] - scores)).mean()


L1 = Loss(l1_loss, is_calibrated=True)
PLCC = Loss(plcc_loss, input_score="mapped")
SRCC = Loss(srcc_loss, input_score=BY_OPTION)
RANK_MDTVSFA = Loss(mdtvsfa_rank_loss, input_score=BY_OPTION)
RANK = Loss(a2inet_rank_loss)
