"""Differentiable ranks (Blondel et al., *Fast Differentiable Sorting and Ranking*, ICML 2020).

The soft rank of θ is the point closest to θ/ε in the convex hull of the permutations of (1, …, n). With θ/ε
sorted from the largest, it follows from an isotonic regression, which has blocks (proposition 3). Within a
block B the Jacobian is u_i·(δ_ij − u_j / Σ_B u) / ε with u = 1 for "l2" and u = the ranks for "kl"
(proposition 4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqafeat.errors import ArgumentError
from vqafeat.registry import named

Values = NDArray[np.float64]


class Projection(NamedTuple):
    """(batch,) soft ranks of falling values, (batch,) slopes u of the Jacobian, and the starts of blocks."""

    ranks: Values
    slopes: Values
    starts: NDArray[np.int64]


def euclidean(falling: Values) -> Projection:
    """Return the projection of falling (batch,) values by Euclidean distance."""
    fit = isotonic_regression(falling - _hard_ranks(falling), increasing=False)
    return Projection(falling - fit.x, np.ones_like(falling), np.asarray(fit.blocks[:-1], dtype=np.int64))


def entropic(falling: Values) -> Projection:
    """Return the projection of falling (batch,) values by relative entropy."""
    targets, blocks = _hard_ranks(falling), list[tuple[int, float, float]]()
    for start, (value, target) in enumerate(zip(falling.tolist(), np.log(targets).tolist(), strict=True)):
        begin, level, room = start, value, target
        # logarithms of sums, so that small strengths, which give large values, do not overflow
        while blocks and blocks[-1][1] - blocks[-1][2] <= level - room:
            begin, level_before, room_before = blocks.pop()
            level, room = float(np.logaddexp(level_before, level)), float(np.logaddexp(room_before, room))
        blocks.append((begin, level, room))
    starts = np.array([begin for begin, _, _ in blocks], dtype=np.int64)
    sizes = np.diff(starts, append=len(falling))
    # relative to the largest value of the block, for precision
    shares = np.exp(falling - np.repeat(falling[starts], sizes))
    ranks = shares * np.repeat(np.add.reduceat(targets, starts) / np.add.reduceat(shares, starts), sizes)
    return Projection(ranks, ranks, starts)


SOFT_RANKS: dict[str, Callable[[Values], Projection]] = {"l2": euclidean, "kl": entropic}


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
            # a value that is not finite has no rank; the training loop reports the loss
            nothing = np.full_like(falling, np.nan)
            ctx.projection = Projection(nothing, nothing, np.zeros(1, dtype=np.int64))
        return _unsorted(ctx.projection.ranks, ctx.order, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (_, slopes, starts) = gradients, ctx.projection
        falling = gradient.cpu().double().numpy()[ctx.order]
        means = np.add.reduceat(slopes * falling, starts) / np.add.reduceat(slopes, starts)
        products = slopes * (falling - np.repeat(means, np.diff(starts, append=len(falling)))) / ctx.strength
        return _unsorted(products, ctx.order, gradient), None, None


def soft_ranks(values: Tensor, regularisation: str = "l2", strength: float = 1.0) -> Tensor:
    """Return (batch,) soft ranks, ascending as in torchsort; `strength` is ε.

    With "l2" they are the hard ranks if no two values are closer than the strength. Equal values share a
    rank; a value that is not finite makes all ranks NaN. They are computed in float64 on the CPU.
    """
    if values.ndim != 1 or len(values) == 0:
        raise ArgumentError(f"values has the shape {tuple(values.shape)}; it has to be a non-empty vector.")
    if not 0 < strength < float("inf"):
        raise ArgumentError(f"strength is {strength}; it has to be above 0 and finite, such as 0.1.")
    project = named("soft rank", regularisation, SOFT_RANKS)
    ranks: Tensor = _SoftRanks.apply(values, project, strength)
    return ranks


def _unsorted(falling: Values, order: NDArray[np.int64], like: Tensor) -> Tensor:
    values = np.empty_like(falling)
    values[order] = falling
    return torch.from_numpy(values).to(device=like.device, dtype=like.dtype)
