"""The losses of the papers: one by name, several joined by `+`, and those of several data sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Scores
from vqafeat.losses import LOSSES
from vqafeat.losses.soft_rank import soft_ranks
from vqafeat.registry import keyword_options

BY_OPTION: Literal["rank_input"] = "rank_input"
SCORES = ("relative", "mapped", "aligned")


@dataclass(frozen=True)
class Loss:
    """A loss of the scores of a batch."""

    function: Callable[..., Tensor]  # (batch,) scores and labels → scalar; options are keyword-only
    # the field of `Scores` that it reads, or "rank_input" for the one that this option names
    input_score: Literal["relative", "mapped", "aligned", "rank_input"] = "aligned"
    is_calibrated: bool = False  # whether it brings scores to the labels' scale

    def __post_init__(self) -> None:
        # a registry lists and compares entries by these attributes
        keys = ("__module__", "__qualname__", "__doc__")
        vars(self).update({key: getattr(self.function, key) for key in keys if hasattr(self.function, key)})
        if self.input_score not in (allowed := (*SCORES, BY_OPTION)):
            raise ArgumentError(f"input_score is '{self.input_score}'; allowed are {', '.join(allowed)}.")

    def __call__(self, scores: Tensor, labels: Tensor, **options: Any) -> Tensor:
        """Return the loss of (batch,) scores and (batch,) labels."""
        loss = self.function(scores, labels, **options)
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            problem = f"loss '{self.function.__name__}' returned a {what}"
            raise ArgumentError(f"{problem}; it has to return one number, such as the mean.")
        return loss

    @property
    def options(self) -> set[str]:
        """The names of the values of a recipe that it reads."""
        return {*keyword_options(self.function), *([BY_OPTION] if self.input_score == BY_OPTION else [])}


def _is_constant(values: Tensor) -> Tensor:
    known = values.detach()
    # up to rounding
    return (known.amax() - known.amin()) <= 8 * torch.finfo(values.dtype).eps * known.abs().amax()


def _correlation(first: Tensor, second: Tensor, undefined: Tensor) -> Tensor:
    """Return Pearson's correlation of two (batch,) vectors; 0 without a gradient where one is constant.

    The released `loss_a` divides by at least 1e-8 instead, which gives equal scores gradients of up to 1e8.
    """
    return (_unit(first, undefined) * _unit(second, undefined)).sum()


def _unit(values: Tensor, undefined: Tensor) -> Tensor:
    centred = values - values.mean()
    # the gradient of 0/0 is NaN even where the quotient is not used
    length = torch.linalg.vector_norm(centred).masked_fill(undefined, 1)
    return torch.where(undefined, centred * 0, centred / length)


def l1_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean |ŷ − y| over (batch,) (VSFA, ACM MM 2019, section 3.4; A2INet equation 6)."""
    return F.l1_loss(scores, labels)


def plcc_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (1 − PLCC) / 2; 0.5 without a gradient for constant values (Li et al. equation 14)."""
    # `loss_a` in the released VQAloss.py of MDTVSFA and Li et al. differs on constant values only
    return (1 - _correlation(scores, labels, _is_constant(scores) | _is_constant(labels))) / 2


def srcc_loss(
    scores: Tensor, labels: Tensor, *, soft_rank: str = "l2", soft_rank_strength: float = 1.0
) -> Tensor:
    """Return 1 − PLCC of the soft ranks of (batch,) values; 1 without a gradient where either is constant.

    Source: Li et al. (TCSVT 2022) equation 15; `spearmanr` in their released VQAloss.py, with torchsort's
    "l2" and strength 1. Soft ranks of values with no gap above the strength are linear in them. The released
    loss of scores in [0, 1] is therefore 1 − PLCC; a strength of about 0.01 ranks most of 32 such scores.
    With a strength near 0 the gradients vanish.
    """
    undefined = _is_constant(scores) | _is_constant(labels)
    # in float64, because differences of scores are small next to ranks up to the batch size
    ranks, label_ranks = (soft_ranks(one.double(), soft_rank, soft_rank_strength) for one in (scores, labels))
    return (1 - _correlation(ranks, label_ranks, undefined)).to(scores.dtype)


def mdtvsfa_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return Σ relu((ŷ_i − ŷ_j)·sign(y_j − y_i)) / (N(N − 1)) (`loss_m` of MDTVSFA's released VQAloss.py)."""
    # equal scores have no loss and no gradient
    count = len(scores)
    wrong = F.relu((scores[:, None] - scores) * torch.sign(labels - labels[:, None]))
    return wrong.sum() / max(count * (count - 1), 1)


def a2inet_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of max(0, |y_i − y_j| − φ·(ŷ_i − ŷ_j)) over pairs, φ = 1 if y_i ≥ y_j, else −1."""
    # A2INet equations 7 and 8; the labels' distance is the margin, so scores need the labels' scale
    distance = labels[:, None] - labels
    direction = torch.where(distance >= 0, 1.0, -1.0).to(scores.dtype)
    return F.relu(distance.abs() - direction * (scores[:, None] - scores)).mean()


L1 = Loss(l1_loss, is_calibrated=True)
PLCC = Loss(plcc_loss, input_score="mapped")
SRCC = Loss(srcc_loss, input_score=BY_OPTION)
RANK_MDTVSFA = Loss(mdtvsfa_rank_loss, input_score=BY_OPTION)
RANK = Loss(a2inet_rank_loss)


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


def build_loss(name: str, options: Mapping[str, Any] | None = None) -> LossFunction:
    """Return a loss, or a sum of losses joined by `+`: the first + loss_weight · each later one.

    Of the options, `Recipe.loss_options`, each loss takes those that it reads.
    Source: Li et al. (TCSVT 2022) equation 16, `plcc+srcc`; A2INet equation 9, `l1+rank`; weights are 1.
    """
    given = options or {}
    weight = given.get("loss_weight", 1.0)
    first, *later = (_with_options(LOSSES.get(part), given) for part in loss_parts(name))

    def joined(outputs: Scores, labels: Tensor) -> Tensor:
        total = first(outputs, labels)
        for part in later:
            total = total + weight * part(outputs, labels)
        return total

    return joined


def _with_options(loss: Loss, options: Mapping[str, Any]) -> LossFunction:
    keywords = {key: options[key] for key in keyword_options(loss.function) if key in options}
    score = options.get(BY_OPTION, "relative") if loss.input_score == BY_OPTION else loss.input_score
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
