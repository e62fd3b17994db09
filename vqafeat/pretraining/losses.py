"""The losses of quality-aware pre-training: UNIQUE (Zhang et al. 2021), and Li et al., section III-A."""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import margin_ranking_loss

ROOT_EPSILON = 1e-8
VARIANCE_EPSILON = 1e-8


class PairLoss(NamedTuple):
    """The two terms, each a mean over pairs."""

    fidelity: Tensor
    hinge: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum (Li et al., eq. 6)."""
        return self.fidelity + self.hinge


def preference(mean_difference: Tensor, variance: Tensor) -> Tensor:
    """Return Φ(Δμ / √(σ1² + σ2²)), Thurstone's probability that the first image is better.

    Args:
        mean_difference: (pair,) μ1 − μ2.
        variance: (pair,) σ1² + σ2², above 0.
    """
    return cast(Tensor, torch.special.ndtr(mean_difference / variance.sqrt()))


def fidelity_loss(predicted: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over pairs of 1 − √(p p̂) − √((1 − p)(1 − p̂)) (Li et al., eq. 4)."""
    # 1e-8 inside both roots, as in UNIQUE's MNL_Loss.py: without it the gradient at p = 0 is not finite
    same = (predicted * probability + ROOT_EPSILON).sqrt()
    return (1 - same - ((1 - predicted) * (1 - probability) + ROOT_EPSILON).sqrt()).mean()


def pair_loss(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    probability: Tensor,
    std_order: Tensor,
    margin: float,
    detach_variance: bool,
) -> PairLoss:
    """Compare a network's outputs for pairs with their labels (Li et al., eqs 2 to 6; `_train_single_epoch`).

    Args:
        first, second: (pair,) mean and standard deviation of each image.
        probability: (pair,) that people prefer the first image.
        std_order: (pair,) sign of the difference of the labels' deviations; a pair with 0 teaches no order.
        margin: of the hinge loss max(0, margin − std_order · (σ1 − σ2)).
        detach_variance: as released, deviations learn from the hinge loss alone; not so in the paper's eq. 3.
    """
    (mean1, std1), (mean2, std2) = first, second
    variance = std1.square() + std2.square() + VARIANCE_EPSILON
    predicted = preference(mean1 - mean2, variance.detach() if detach_variance else variance)
    hinge = margin_ranking_loss(std1, std2, std_order, margin=margin)
    return PairLoss(fidelity_loss(predicted, probability), hinge)
