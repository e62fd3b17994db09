"""Soft ranks against a constrained optimiser that knows only their definition, SciPy, torchsort, and their
limits.
"""

from itertools import combinations
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import isotonic_regression, minimize
from scipy.special import rel_entr
from scipy.stats import rankdata
from torch import Tensor

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.losses.soft_rank import SOFT_RANKS, soft_ranks

STRENGTHS = [1e-4, 0.03, 0.3, 1.0, 10.0]


def values_of(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(theta: np.ndarray, regularisation: str) -> np.ndarray:
    """Return the point of the permutahedron of (1, …, n) closest to θ; it is what no subset's sum exceeds its
    largest ranks' sum in.
    """
    count = len(theta)
    subsets = [list(selected) for size in range(1, count) for selected in combinations(range(count), size)]
    limits = np.array([sum(range(count - len(selected) + 1, count + 1)) for selected in subsets])
    member = np.array([[float(row in selected) for row in range(count)] for selected in subsets])
    constraints = [
        {"type": "ineq", "fun": lambda ranks: limits - member @ ranks},
        {"type": "eq", "fun": lambda ranks: ranks.sum() - count * (count + 1) / 2},
    ]
    if regularisation == "l2":
        distance = lambda ranks: 0.5 * ((ranks - theta) ** 2).sum()  # noqa: E731
    else:
        distance = lambda ranks: rel_entr(ranks, np.exp(theta)).sum() - ranks.sum()  # noqa: E731
    start = np.full(count, (count + 1) / 2)
    result = minimize(
        distance,
        start,
        method="SLSQP",
        bounds=[(1e-9, None)] * count,
        constraints=constraints,
        options={"ftol": 1e-14},
    )
    return np.asarray(result.x)


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
@pytest.mark.parametrize("strength", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_soft_ranks__are_the_closest_point_of_the_permutahedron(
    regularisation: str, strength: float, seed: int
) -> None:
    values = values_of(5, seed)
    expected = by_definition(values.numpy() / strength, regularisation)
    np.testing.assert_allclose(soft_ranks(values, regularisation, strength).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("strength", STRENGTHS[1:])
@pytest.mark.parametrize("count", [2, 32, 200])
def test_soft_ranks__entropic_blocks_equal_a_weighted_regression(strength: float, count: int) -> None:
    # block value log(Σ e^s / Σ e^w) = log of the mean of e^(s − w) with weights e^w, which SciPy fits where
    # nothing overflows
    falling = np.sort(values_of(count).numpy())[::-1] / strength
    targets = np.arange(count, 0, -1.0)
    fit = isotonic_regression(np.exp(falling) / targets, weights=targets, increasing=False)
    result = SOFT_RANKS["kl"](falling)
    np.testing.assert_allclose(result.ranks, np.exp(falling) / fit.x, rtol=1e-9)
    assert result.starts.tolist() == fit.blocks[:-1].tolist()


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
@pytest.mark.parametrize("strength", STRENGTHS)
def test_soft_ranks__gradients_equal_finite_differences(regularisation: str, strength: float) -> None:
    values = values_of(12).requires_grad_()
    step = min(1e-6, strength * 1e-3)
    assert torch.autograd.gradcheck(
        lambda given: soft_ranks(given, regularisation, strength), (values,), eps=step, atol=1e-4
    )


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
@pytest.mark.parametrize("strength", STRENGTHS)
def test_soft_ranks__add_up_follow_permutations_and_keep_the_order(
    regularisation: str, strength: float
) -> None:
    values = values_of(40)
    ranks = soft_ranks(values, regularisation, strength)
    assert ranks.sum().item() == pytest.approx(40 * 41 / 2, rel=1e-12)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        soft_ranks(values[order], regularisation, strength), ranks[order], rtol=1e-12, atol=0
    )
    assert (ranks[values.argsort()].diff() >= -1e-12).all()


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
def test_soft_ranks__without_strength_are_hard_ranks(regularisation: str) -> None:
    values = values_of(40)
    ranks = soft_ranks(values, regularisation, 1e-9)
    np.testing.assert_allclose(ranks.numpy(), rankdata(values.numpy()), rtol=1e-12)


def test_soft_ranks__l2_is_linear_where_no_gap_exceeds_the_strength() -> None:
    values = values_of(40)
    linear = (values - values.mean()) / 1.0 + 41 / 2
    torch.testing.assert_close(soft_ranks(values), linear, rtol=0, atol=1e-12)
    # MOS from 0 to 100: the neighbours' gaps count, not the range
    wide = torch.linspace(0, 100, 101, dtype=torch.float64)
    torch.testing.assert_close(soft_ranks(wide, strength=1.01), (wide - 50) / 1.01 + 51, rtol=0, atol=1e-10)
    np.testing.assert_allclose(soft_ranks(wide, strength=0.99).numpy(), np.arange(1, 102), atol=1e-10)


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
def test_soft_ranks__give_equal_values_equal_rank_and_gradient(regularisation: str) -> None:
    values = torch.tensor([0.5, 0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    ranks = soft_ranks(values, regularisation, 1e-3)
    assert ranks.tolist() == pytest.approx([2.5, 1, 2.5, 4])
    (ranks * torch.tensor([1.0, 0.0, 1.0, 3.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0.0] * 4, abs=1e-9)
    assert soft_ranks(torch.tensor([3.0]), regularisation).tolist() == [1.0]


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
def test_soft_ranks__of_values_that_are_not_finite_are_nan(regularisation: str) -> None:
    for bad in (torch.nan, torch.inf):
        assert soft_ranks(torch.tensor([1.0, bad]), regularisation).isnan().all()


def test_soft_ranks__refuse_wrong_arguments() -> None:
    with pytest.raises(
        ArgumentError, match=r"values has the shape \(2, 3\); it has to be a non-empty vector"
    ):
        soft_ranks(torch.zeros(2, 3))
    with pytest.raises(ArgumentError, match=r"strength is 0; it has to be above 0 and finite, such as 0.1"):
        soft_ranks(torch.zeros(2), strength=0)
    with pytest.raises(UnknownNameError, match=r"unknown soft rank 'huber'"):
        soft_ranks(torch.zeros(2), "huber")


@pytest.fixture(scope="module")
def torchsort() -> ModuleType:
    return pytest.importorskip(
        "torchsort", reason="torchsort, whose soft ranks the released code uses, is not installed"
    )


@pytest.mark.parametrize("regularisation", list(SOFT_RANKS))
@pytest.mark.parametrize("strength", [0.03, 0.3, 1.0, 10.0])
def test_soft_ranks__equal_torchsort(torchsort: ModuleType, regularisation: str, strength: float) -> None:
    weights = values_of(32, seed=9)
    result, expected = (values_of(32).requires_grad_() for _ in range(2))
    ranks = soft_ranks(result, regularisation, strength)
    theirs = torchsort.soft_rank(
        expected[None], regularization=regularisation, regularization_strength=strength
    )[0]
    torch.testing.assert_close(ranks, theirs, rtol=1e-9, atol=1e-9)
    (ranks * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(result.grad, expected.grad, rtol=1e-6, atol=1e-9)
