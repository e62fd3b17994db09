"""The losses of quality-aware pre-training: UNIQUE (Zhang et al. 2021), and Li et al., section III-A."""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import margin_ranking_loss

_EPSILON = 1e-8


class PairLoss(NamedTuple):
    """The two terms of the loss, each a mean over pairs."""

    fidelity: Tensor
    hinge: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum (Li et al., eq. 6)."""
        return self.fidelity + self.hinge


def preference(mean_difference: Tensor, variance: Tensor) -> Tensor:
    """Return Φ((μ1 − μ2) / √(σ1² + σ2²)) (pair,): Thurstone's probability that image 1 is better."""
    return cast(Tensor, torch.special.ndtr(mean_difference / variance.sqrt()))


def fidelity_loss(predicted: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over pairs of 1 − √(p p̂) − √((1 − p)(1 − p̂)) (Li et al., eq. 4)."""
    # as in UNIQUE's MNL_Loss.py; without the epsilon the gradient at p = 0 is not finite
    same = (predicted * probability + _EPSILON).sqrt()
    return (1 - same - ((1 - predicted) * (1 - probability) + _EPSILON).sqrt()).mean()


def pair_loss(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    probability: Tensor,
    std_order: Tensor,
    margin: float,
    detach_variance: bool,
) -> PairLoss:
    """Return the loss of a network's outputs for pairs of images (Li et al., eqs 2 to 6).

    Args:
        first, second: (pair,) mean and standard deviation of each image.
        probability: (pair,) probability that people prefer the first image.
        std_order: (pair,) sign of the difference of the labels' standard deviations; 0 teaches no order.
        margin: of the hinge loss max(0, margin − std_order · (σ1 − σ2)).
        detach_variance: train standard deviations by the hinge loss alone, as the released code does.
    """
    (mean1, std1), (mean2, std2) = first, second
    variance = std1.square() + std2.square() + _EPSILON
    predicted = preference(mean1 - mean2, variance.detach() if detach_variance else variance)
    hinge = margin_ranking_loss(std1, std2, std_order, margin=margin)
    return PairLoss(fidelity_loss(predicted, probability), hinge)
