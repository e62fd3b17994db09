"""The losses of quality-aware pre-training: UNIQUE (Zhang et al. 2021), and Li et al., section III-A."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import margin_ranking_loss

from vqafeat.errors import ArgumentError

ROOT_EPSILON = 1e-8
VARIANCE_EPSILON = 1e-8


@dataclass(frozen=True)
class PairLabels:
    """What people said of the images of some pairs.

    Attributes:
        probability: (pair,) that the first image is of higher quality, 0 to 1.
        std_order: (pair,) 1 where the first image's deviation is larger, −1 where the second's is, 0 where
            they are equal or not known.
    """

    probability: Tensor
    std_order: Tensor

    def __post_init__(self) -> None:
        if self.probability.shape != self.std_order.shape or self.probability.ndim != 1:
            raise ArgumentError(
                f"probability has shape {tuple(self.probability.shape)}, std_order "
                f"{tuple(self.std_order.shape)}; both have to be (pair,)."
            )


@dataclass(frozen=True)
class PairLoss:
    """The two terms, each a mean over pairs."""

    fidelity: Tensor
    hinge: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum (Li et al., eq. 6)."""
        return self.fidelity + self.hinge


def preference(mean_difference: Tensor, variance: Tensor) -> Tensor:
    """Return Φ(Δμ / √(σ1² + σ2²)), the probability under Thurstone's model that the first image is the better
    one (Li et al., eqs 2 and 3).

    Args:
        mean_difference: (pair,) μ1 − μ2.
        variance: (pair,) σ1² + σ2², above 0.
    """
    return cast(Tensor, torch.special.ndtr(mean_difference / variance.sqrt()))


def fidelity_loss(predicted: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over pairs of 1 − √(p p̂) − √((1 − p)(1 − p̂)) (Li et al., eq. 4).

    As `Fidelity_Loss` in UNIQUE's MNL_Loss.py adds 1e-8 inside both roots, without which the gradient at p =
    0 is not finite.
    """
    same = (predicted * probability + ROOT_EPSILON).sqrt()
    return (1 - same - ((1 - predicted) * (1 - probability) + ROOT_EPSILON).sqrt()).mean()


def pair_loss(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    labels: PairLabels,
    margin: float,
    detach_variance: bool,
) -> PairLoss:
    """Compare a network's outputs for pairs of images with the labels (Li et al., eqs 3 to 6; released
    `_train_single_epoch`).

    Args:
        first, second: (pair,) mean and standard deviation of each image.
        margin: of the hinge loss max(0, margin − g (σ1 − σ2)); a pair with g = 0 costs the margin and teaches
            nothing.
        detach_variance: as released; the deviations then learn from the hinge loss alone. The paper's
            equation lets the gradient through.
    """
    (mean1, std1), (mean2, std2) = first, second
    variance = std1.square() + std2.square() + VARIANCE_EPSILON
    predicted = preference(mean1 - mean2, variance.detach() if detach_variance else variance)
    hinge = margin_ranking_loss(std1, std2, labels.std_order, margin=margin)
    return PairLoss(fidelity_loss(predicted, labels.probability), hinge)
