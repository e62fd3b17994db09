"""The monotonic part of the loss of Li et al."""

from torch import Tensor

from vqafeat.modeling.losses.base import BY_OPTION, LOSSES, READS
from vqafeat.modeling.losses.correlation import correlation, is_constant
from vqafeat.modeling.losses.soft_rank import soft_ranks


@LOSSES.register("srcc")
def srcc_loss(scores: Tensor, labels: Tensor, *, soft_rank: str = "l2", soft_rank_strength: float = 1.0) -> Tensor:
    """Return 1 − Pearson's correlation of the soft ranks of (batch,) scores and labels; 1 without a gradient where either is constant.

    Source: Li et al. (TCSVT 2022) equation 15; `spearmanr` in their released VQAloss.py, which ranks the scores and the labels as they
    are, on their own scales, with torchsort's defaults: "l2" and strength 1. There the soft rank of values whose neighbours in order are
    nowhere further apart than the strength is the value itself plus a constant (any scores in [0, 1]; MOS from 1 to 5 in most batches).
    The released loss is then exactly 1 − PLCC, twice `plcc`, and ranks nothing. Only gaps above the strength are ranked: for scores in
    [0, 1] and 32 videos a strength of about 0.01 ranks most of them.

    Args:
        scores: (batch,).
        labels: (batch,); they are ranked softly too, on the scale that they come in.
        soft_rank: regularisation, "l2" or "kl".
        soft_rank_strength: above 0; towards 0 the ranks become the hard ones, and their gradients vanish.
    """
    undefined = is_constant(scores) | is_constant(labels)
    # in float64, since weak scores lie close together beside ranks of up to the batch's size
    ranks, label_ranks = (soft_ranks(values.double(), soft_rank, soft_rank_strength) for values in (scores, labels))
    return (1 - correlation(ranks, label_ranks, undefined)).to(scores.dtype)


READS["srcc"] = BY_OPTION
