"""The losses against SciPy and against the equations in float64."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.autograd import gradcheck

from vqafeat.pretraining.losses import fidelity_loss, pair_loss, preference

torch.manual_seed(0)
MEAN1, MEAN2 = torch.randn(7, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
STD1, STD2 = torch.rand(7, dtype=torch.float64) + 0.1, torch.rand(7, dtype=torch.float64) + 0.1
PROBABILITY = torch.rand(7, dtype=torch.float64)
STD_ORDER = torch.tensor([1.0, -1, 1, 0, -1, 1, 0], dtype=torch.float64)


def test_preference__is_the_normal_distribution_of_the_difference() -> None:
    actual = preference(MEAN1 - MEAN2, STD1.square() + STD2.square()).numpy()
    expected = norm.cdf(MEAN1.numpy(), loc=MEAN2.numpy(), scale=np.hypot(STD1.numpy(), STD2.numpy()))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_fidelity_loss__equals_the_equation_and_is_least_at_agreement() -> None:
    predicted = torch.rand(7, dtype=torch.float64)
    p, q = PROBABILITY.numpy(), predicted.numpy()
    expected = np.mean(
        [1 - (a * b + 1e-8) ** 0.5 - ((1 - a) * (1 - b) + 1e-8) ** 0.5 for a, b in zip(p, q, strict=True)]
    )
    assert fidelity_loss(predicted, PROBABILITY).item() == pytest.approx(expected, rel=1e-12)
    assert fidelity_loss(PROBABILITY, PROBABILITY).item() == pytest.approx(0, abs=1e-7)
    certain = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    fidelity_loss(certain, torch.tensor([1.0, 0.0], dtype=torch.float64)).backward()
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


def equation(
    mean1: np.ndarray, std1: np.ndarray, mean2: np.ndarray, std2: np.ndarray, margin: float
) -> tuple[float, float]:
    """Li et al., equations 3 to 5, one pair at a time."""
    fidelity, hinge = [], []
    p, g = PROBABILITY.numpy(), STD_ORDER.numpy()
    for k in range(len(p)):
        q = norm.cdf((mean1[k] - mean2[k]) / np.sqrt(std1[k] ** 2 + std2[k] ** 2))
        fidelity.append(1 - np.sqrt(p[k] * q) - np.sqrt((1 - p[k]) * (1 - q)))
        hinge.append(max(0.0, margin - g[k] * (std1[k] - std2[k])))
    return float(np.mean(fidelity)), float(np.mean(hinge))


@pytest.mark.parametrize("margin", [0.025, 0.3])
def test_pair_loss__both_terms_equal_the_equations(margin: float) -> None:
    loss = pair_loss((MEAN1, STD1), (MEAN2, STD2), PROBABILITY, STD_ORDER, margin, detach_variance=False)
    fidelity, hinge = equation(MEAN1.numpy(), STD1.numpy(), MEAN2.numpy(), STD2.numpy(), margin)
    assert loss.fidelity.item() == pytest.approx(fidelity, abs=1e-7)
    assert loss.hinge.item() == pytest.approx(hinge, abs=1e-12)
    assert loss.total.item() == loss.fidelity.item() + loss.hinge.item()


def test_pair_loss__gradient_is_right_with_the_variance_included() -> None:
    def total(
        mean1: torch.Tensor, std1: torch.Tensor, mean2: torch.Tensor, std2: torch.Tensor
    ) -> torch.Tensor:
        return pair_loss(
            (mean1, std1), (mean2, std2), PROBABILITY, STD_ORDER, 0.025, detach_variance=False
        ).total

    inputs = [value.clone().requires_grad_() for value in (MEAN1, STD1, MEAN2, STD2)]
    assert gradcheck(total, inputs)


def test_pair_loss__a_detached_variance_leaves_deviations_to_the_hinge() -> None:
    gradients = {}
    for detached in (True, False):
        std1, std2, mean = (
            STD1.clone().requires_grad_(),
            STD2.clone().requires_grad_(),
            MEAN1.clone().requires_grad_(),
        )
        loss = pair_loss((mean, std1), (MEAN2, std2), PROBABILITY, STD_ORDER, 0.025, detach_variance=detached)
        loss.total.backward()
        gradients[detached] = std1.grad, mean.grad
    order = STD_ORDER
    active = (0.025 - order * (STD1 - STD2) > 0).double()
    torch.testing.assert_close(gradients[True][0], -order * active / 7)
    assert not torch.allclose(gradients[False][0], gradients[True][0])
    torch.testing.assert_close(gradients[False][1], gradients[True][1])


def test_pair_loss__refuses_labels_of_other_pairs() -> None:
    for labels in ((PROBABILITY[:3], STD_ORDER), (PROBABILITY, STD_ORDER[:3])):
        with pytest.raises(RuntimeError, match="size of tensor"):
            pair_loss((MEAN1, STD1), (MEAN2, STD2), *labels, 0.025, detach_variance=True)
