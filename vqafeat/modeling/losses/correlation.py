"""Pearson's correlation of a batch, defined where there is none to speak of."""

import torch
from torch import Tensor

# a spread below this many roundings of the largest value is none
_ROUNDINGS = 8


def is_constant(values: Tensor) -> Tensor:
    """Return a bool scalar: whether (batch,) values are equal but for rounding, as one value alone is."""
    known = values.detach()
    return (known.amax() - known.amin()) <= _ROUNDINGS * torch.finfo(values.dtype).eps * known.abs().amax()


def correlation(first: Tensor, second: Tensor, undefined: Tensor) -> Tensor:
    """Return Pearson's correlation of two (batch,) vectors, and 0 without any gradient where it is `undefined`.

    The released `loss_a` divides by at least 1e-8 instead, so that equal scores get a gradient of up to 1e8, from which Adam's second
    moments take a thousand steps to recover. NaN and infinity stay NaN, wherever they are.

    Args:
        first: (batch,).
        second: (batch,).
        undefined: bool scalar, true where one of the two is constant.
    """
    a, b = _unit(first, undefined), _unit(second, undefined)
    return (a * b).sum()


def _unit(values: Tensor, undefined: Tensor) -> Tensor:
    centred = values - values.mean()
    # the length is replaced before the division, since a gradient through 0/0 is NaN even where the quotient is not used
    length = torch.linalg.vector_norm(centred).masked_fill(undefined, 1)
    return torch.where(undefined, centred * 0, centred / length)
