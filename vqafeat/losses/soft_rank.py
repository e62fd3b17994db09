"""Differentiable ranks: Blondel, Teboul, Berthet, Djolonga, *Fast Differentiable Sorting and Ranking* (ICML
2020).

The soft rank of θ is the point closest to θ/ε among all mixtures of the permutations of (1, …, n). With θ/ε
sorted from the largest it follows from a monotonic regression, which falls into blocks (their proposition 3);
within a block B the Jacobian is u_i·(δ_ij − u_j / Σ_B u) / ε with u = 1 for "l2" and u = the ranks for "kl"
(their proposition 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """Soft ranks of values that were sorted from the largest.

    Attributes:
        ranks: (batch,), from about n down to about 1.
        slopes: (batch,), u of the Jacobian.
        starts: where each block begins, the first at 0.
    """

    ranks: Values
    slopes: Values
    starts: NDArray[np.int64]


SOFT_RANKS: Registry[Callable[[Values], Projection]] = Registry("soft rank")


@SOFT_RANKS.register("l2")
def euclidean(falling: Values) -> Projection:
    """Return the projection of falling (batch,) values by Euclidean distance: the mean rank of a block, and
    the values' own distances.
    """
    fit = isotonic_regression(falling - _hard_ranks(falling), increasing=False)
    return Projection(falling - fit.x, np.ones_like(falling), np.asarray(fit.blocks[:-1], dtype=np.int64))


@SOFT_RANKS.register("kl")
def entropic(falling: Values) -> Projection:
    """Return the projection of falling (batch,) values by relative entropy: a block shares out its ranks' sum
    by softmax.
    """
    targets, blocks = _hard_ranks(falling), list[tuple[int, float, float]]()
    for start, (own, target) in enumerate(zip(falling.tolist(), np.log(targets).tolist(), strict=True)):
        begin, level, room = start, own, target
        # logarithms of sums, so that small strengths, which are large values here, do not overflow
        while blocks and blocks[-1][1] - blocks[-1][2] <= level - room:
            begin, before, there = blocks.pop()
            level, room = float(np.logaddexp(before, level)), float(np.logaddexp(there, room))
        blocks.append((begin, level, room))
    starts = np.array([begin for begin, _, _ in blocks], dtype=np.int64)
    sizes = np.diff(starts, append=len(falling))
    # against the block's own largest value, beside which nothing cancels
    shares = np.exp(falling - np.repeat(falling[starts], sizes))
    ranks = shares * np.repeat(np.add.reduceat(targets, starts) / np.add.reduceat(shares, starts), sizes)
    return Projection(ranks, ranks, starts)


def _hard_ranks(falling: Values) -> Values:
    return np.arange(len(falling), 0, -1, dtype=np.float64)


class _SoftRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, project: Callable[[Values], Projection], strength: float) -> Tensor:
        theta = values.detach().cpu().double().numpy() / strength
        ctx.strength, ctx.order = strength, np.argsort(-theta, kind="stable")
        falling = theta[ctx.order]
        if np.isfinite(falling).all():
            ctx.projection = project(falling)
        else:
            # what is not finite has no place in an order; the training loop tells the user when it sees the
            # loss
            nothing = np.full_like(falling, np.nan)
            ctx.projection = Projection(nothing, nothing, np.zeros(1, dtype=np.int64))
        return _as_tensor(_scattered(ctx.projection.ranks, ctx.order), values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        own, slopes, starts = (
            gradient.cpu().double().numpy()[ctx.order],
            ctx.projection.slopes,
            ctx.projection.starts,
        )
        means = np.add.reduceat(slopes * own, starts) / np.add.reduceat(slopes, starts)
        falling = slopes * (own - np.repeat(means, np.diff(starts, append=len(own)))) / ctx.strength
        return _as_tensor(_scattered(falling, ctx.order), gradient), None, None


def soft_ranks(values: Tensor, regularisation: str = "l2", strength: float = 1.0) -> Tensor:
    """Return (batch,) soft ranks of (batch,) values, ascending as in torchsort: the largest value's is about
    n, their sum is n(n + 1)/2.

    With "l2" they are the hard ranks once no two values are closer than the strength, and values / strength +
    a constant once no two neighbours in order are further apart than it. Equal values share a rank. Computed
    in float64 on the CPU; NaN or infinity among the values make all ranks NaN.

    Args:
        values: (batch,).
        regularisation: "l2" or "kl".
        strength: ε.

    Raises:
        ArgumentError: the values are not a vector, or the strength is not above 0.
        UnknownNameError: there is no such regularisation.
    """
    if values.ndim != 1 or len(values) == 0:
        raise ArgumentError(
            f"values to be ranked have the shape {tuple(values.shape)}; give a vector of at least one, as a "
            f"batch's scores."
        )
    if not 0 < strength < float("inf"):
        raise ArgumentError(
            f"strength of the soft ranks is {strength}; it has to be above 0 and finite, as 0.1."
        )
    ranks: Tensor = _SoftRanks.apply(values, SOFT_RANKS.get(regularisation), strength)
    return ranks


def _scattered(falling: Values, order: NDArray[np.int64]) -> Values:
    """Return values in their own order that were sorted by `order`."""
    own = np.empty_like(falling)
    own[order] = falling
    return own


def _as_tensor(values: Values, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(device=like.device, dtype=like.dtype)
