"""Losses by name, joined by `+`, with their options, and the losses of several data sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Scores
from vqafeat.losses import LOSSES
from vqafeat.losses.soft_rank import SOFT_RANKS
from vqafeat.registry import keyword_options, named

BY_OPTION: Literal["rank_input"] = "rank_input"
_SCORES = ("relative", "mapped", "aligned")


@dataclass(frozen=True)
class Loss:
    """A loss of the scores of a batch.

    Attributes:
        function: (batch,) scores and (batch,) labels → scalar; keyword-only parameters are `LossOptions`.
        input_score: the field of `Scores` that it reads, or "rank_input" for the one that the option names.
        is_calibrated: whether it brings scores to the labels' scale.
    """

    function: Callable[..., Tensor]
    input_score: Literal["relative", "mapped", "aligned", "rank_input"] = "aligned"
    is_calibrated: bool = False

    def __post_init__(self) -> None:
        # a registry lists and compares entries by these attributes
        keys = ("__module__", "__qualname__", "__doc__")
        vars(self).update({key: getattr(self.function, key) for key in keys if hasattr(self.function, key)})
        if self.input_score not in (allowed := (*_SCORES, BY_OPTION)):
            raise ArgumentError(f"input_score is '{self.input_score}'; allowed are {', '.join(allowed)}.")

    def __call__(self, scores: Tensor, labels: Tensor, **options: Any) -> Tensor:
        """Return the loss of (batch,) scores and (batch,) labels."""
        return self.function(scores, labels, **options)

    @property
    def options(self) -> set[str]:
        """The names of the `LossOptions` that it reads."""
        return {*keyword_options(self.function), *([BY_OPTION] if self.input_score == BY_OPTION else [])}


@dataclass(frozen=True)
class LossOptions:
    """The options of all losses; each loss reads some of them.

    Attributes:
        soft_rank, soft_rank_strength: regularisation of the soft ranks ("l2" or "kl"); see `srcc_loss`.
        loss_weight: weight of the second and later losses of a sum (λ of Li et al., η of A2INet).
        rank_input: score that rank losses read, "relative" (released code) or "mapped" (Li et al.).
    """

    soft_rank: str = "l2"
    soft_rank_strength: float = 1.0
    loss_weight: float = 1.0
    rank_input: str = "relative"

    def __post_init__(self) -> None:
        named("soft rank", self.soft_rank, SOFT_RANKS)
        strength, weight = self.soft_rank_strength, self.loss_weight
        if not 0 < strength < inf:
            allowed = "it has to be above 0 and finite, such as 0.1"
            raise ArgumentError(f"soft_rank_strength is {strength}; {allowed}.")
        if not 0 <= weight < inf:
            raise ArgumentError(f"loss_weight is {weight}; it has to be at least 0 and finite, such as 1.")
        if self.rank_input not in _SCORES:
            raise ArgumentError(f"rank_input is '{self.rank_input}'; allowed are {', '.join(_SCORES)}.")


def loss_parts(name: str) -> tuple[str, ...]:
    """Return the names of the losses that are joined by `+`; each has to be known and named once."""
    parts = tuple(name.split("+"))
    for part in parts:
        LOSSES.get(part)
        if (count := parts.count(part)) > 1:
            problem = f"loss '{name}' names '{part}' {count} times"
            raise ArgumentError(f"{problem}; name it once, with its weight in loss_weight.")
    return parts


def options_read_by(name: str) -> frozenset[str]:
    """Return the names of the options that a loss, or a sum of losses, reads."""
    parts = loss_parts(name)
    weight = ["loss_weight"] if len(parts) > 1 else []
    return frozenset(weight).union(*(LOSSES.get(part).options for part in parts))


def on_label_scale(name: str) -> bool:
    """Return whether a loss, or a sum of losses, brings a head's scores to the labels' scale."""
    return any(LOSSES.get(part).is_calibrated for part in loss_parts(name))


# scores of a batch and its (batch,) labels → scalar
LossFunction = Callable[[Scores, Tensor], Tensor]


def build_loss(name: str, options: LossOptions | None = None) -> LossFunction:
    """Return a loss, or a sum of losses joined by `+`: the first + loss_weight · each later one.

    Source: Li et al. (TCSVT 2022) equation 16, `plcc+srcc`; A2INet equation 9, `l1+rank`; weights are 1.
    """
    given = options or LossOptions()
    first, *later = (_with_options(LOSSES.get(part), given) for part in loss_parts(name))

    def joined(outputs: Scores, labels: Tensor) -> Tensor:
        total = first(outputs, labels)
        for part in later:
            total = total + given.loss_weight * part(outputs, labels)
        return total

    return joined


def _with_options(loss: Loss, options: LossOptions) -> LossFunction:
    keywords = {key: getattr(options, key) for key in keyword_options(loss.function)}
    score = options.rank_input if loss.input_score == BY_OPTION else loss.input_score
    return lambda outputs, labels: loss(getattr(outputs, score), labels, **keywords)


Numbers = npt.NDArray[np.intp]
# (video,) data set → (video,) group that shares a loss and a label scale
MIXINGS: dict[str, Callable[[Numbers], Numbers]] = {
    # each data set has its own loss and an equal share of each batch (MDTVSFA, IJCV 2021, section 3.3)
    "losses": np.asarray,
    # as one data set; requires a label scale that makes the labels alike, such as unit-of-dataset
    "pooled": np.zeros_like,
}


def softmax_weighted_sum(losses: Sequence[Tensor]) -> Tensor:
    """Return Σ e^L·L / Σ e^L over the losses of the data sets, whose weights carry gradients too.

    Source: `VQALoss.forward` in the released VQAloss.py of MDTVSFA and of Li et al.
    """
    if len(losses) == 1:
        return losses[0]
    stacked = torch.stack(list(losses))
    return (torch.softmax(stacked, dim=0) * stacked).sum()
