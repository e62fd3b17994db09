"""What a loss is; losses found by name, joined, and given their options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Scores
from vqafeat.losses.soft_rank import SOFT_RANKS
from vqafeat.registry import Registry, keyword_options

Loss = Callable[[Scores, Tensor], Tensor]

# (batch,) scores, (batch,) labels → scalar; what a loss takes by keyword alone is named as in `LossOptions`
LOSSES: Registry[Callable[..., Tensor]] = Registry("loss")

# names of the losses whose scores come to lie on the labels' own scale; the others fix no more than order,
# line or distances
ON_LABEL_SCALE: set[str] = set()

# loss → the score that it reads, as in the released VQAloss.py of MDTVSFA and of Li et al.; the others read
# the aligned one, on the labels' scale. The losses of order read what `LossOptions.ranks_read` says.
READS: dict[str, str] = {}
BY_OPTION = "ranks_read"
_SCORES = ("relative", "mapped", "aligned")


@dataclass(frozen=True)
class LossOptions:
    """What can be chosen about losses; each loss takes what concerns it.

    Attributes:
        soft_rank: regularisation of the soft ranks, "l2" or "kl".
        soft_rank_strength: of that regularisation; small ranks truly, see `srcc_loss`.
        loss_weight: of the second and each later part of a mixture; λ of Li et al. equation 16, η of A2INet
            equation 9.
        ranks_read: the score that the losses of order read: "relative" as in the released code, or "mapped"
            as in Li et al. equation 15.

    Raises:
        UnknownNameError: there is no such regularisation.
        ArgumentError: a number or the name of a score is not allowed.
    """

    soft_rank: str = "l2"
    soft_rank_strength: float = 1.0
    loss_weight: float = 1.0
    ranks_read: str = "relative"

    def __post_init__(self) -> None:
        SOFT_RANKS.get(self.soft_rank)
        if not (self.soft_rank_strength > 0 and isfinite(self.soft_rank_strength)):
            raise ArgumentError(
                f"soft_rank_strength is {self.soft_rank_strength}; it has to be above 0 and finite, as 0.1."
            )
        if not (self.loss_weight >= 0 and isfinite(self.loss_weight)):
            raise ArgumentError(
                f"loss_weight is {self.loss_weight}; it has to be at least 0 and finite, as 1."
            )
        if self.ranks_read not in _SCORES:
            raise ArgumentError(f"ranks_read is '{self.ranks_read}'; allowed are {', '.join(_SCORES)}.")

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> "LossOptions":
        """Return the options among values that hold others too, such as a recipe's."""
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def loss_parts(name: str) -> tuple[str, ...]:
    """Return the names of the losses that are joined by `+`.

    Raises:
        UnknownNameError: a part is no loss.
        ArgumentError: a part is named twice.
    """
    parts = tuple(name.split("+"))
    for part in parts:
        LOSSES.get(part)
        if parts.count(part) > 1:
            raise ArgumentError(
                f"loss '{name}' names '{part}' {parts.count(part)} times; name it once, its share is "
                f"loss_weight."
            )
    return parts


def options_read_by(name: str) -> frozenset[str]:
    """Return the names of the options that a loss, or a mixture, reads."""
    parts = loss_parts(name)
    own = {option for part in parts for option in keyword_options(LOSSES.get(part))}
    own |= {BY_OPTION for part in parts if READS.get(part) == BY_OPTION}
    return frozenset(own | {"loss_weight"} if len(parts) > 1 else own)


def on_label_scale(name: str) -> bool:
    """Return whether a head that is trained with a loss, or a mixture, gives scores on the labels' scale."""
    return not ON_LABEL_SCALE.isdisjoint(loss_parts(name))


def build_loss(name: str, options: LossOptions | None = None) -> Loss:
    """Return a loss, or a mixture of losses joined by `+`: the first + loss_weight · each later one; each
    reads its own score.

    Source: Li et al. (TCSVT 2022) equation 16, `plcc+srcc`; A2INet equation 9, `l1+rank`; both with weight 1.

    Raises:
        UnknownNameError: a part is no loss.
        ArgumentError: a part is named twice.
    """
    chosen = options or LossOptions()
    first, *later = (_reading(part, chosen) for part in loss_parts(name))

    def joined(outputs: Scores, labels: Tensor) -> Tensor:
        total = first(outputs, labels)
        for part in later:
            total = total + chosen.loss_weight * part(outputs, labels)
        return total

    return joined


def _reading(name: str, options: LossOptions) -> Loss:
    loss = LOSSES.get(name)
    given = partial(loss, **{key: getattr(options, key) for key in keyword_options(loss)})
    read = READS.get(name, "aligned")
    score = options.ranks_read if read == BY_OPTION else read
    return lambda outputs, labels: given(getattr(outputs, score), labels)


Numbers = npt.NDArray[np.intp]

# (video,) number of its data set → (video,) number of the group whose videos share batches, a loss and a
# label scale
MIXINGS: Registry[Callable[[Numbers], Numbers]] = Registry("mixing")


@MIXINGS.register("losses")
def per_dataset(dataset_of: Numbers) -> Numbers:
    """Give each data set a loss of its own, and each batch as many videos of every data set (MDTVSFA, IJCV
    2021, section 3.3).
    """
    return dataset_of


@MIXINGS.register("pooled")
def pooled(dataset_of: Numbers) -> Numbers:
    """Train on all data sets as on one, whose labels a label scale such as unit-of-dataset has to bring
    together.
    """
    return np.zeros_like(dataset_of)


def softmax_weighted_sum(losses: Sequence[Tensor]) -> Tensor:
    """Return Σ e^L·L / Σ e^L over the losses of the data sets: the larger a loss, the more it weighs. One
    loss stays what it is.

    Source: `VQALoss.forward` in the released VQAloss.py of MDTVSFA and of Li et al.; the weights carry
        gradients too.
    """
    if len(losses) == 1:
        return losses[0]
    stacked = torch.stack(list(losses))
    return (torch.softmax(stacked, dim=0) * stacked).sum()
