"""Losses on pairs of videos: whoever is labelled better should score better."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqafeat.modeling.losses.base import BY_OPTION, LOSSES, READS


@LOSSES.register("rank-mdtvsfa")
def mdtvsfa_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return Σ relu((ŷ_i − ŷ_j)·sign(y_j − y_i)) / (N(N − 1)) over all pairs of (batch,) scores and labels; 0 for one video.

    Source: `loss_m` in the released VQAloss.py of MDTVSFA (IJCV 2021). There is no margin: equal scores cost nothing and get no gradient.
    """
    count = len(scores)
    wrong = F.relu((scores[:, None] - scores) * torch.sign(labels - labels[:, None]))
    return wrong.sum() / max(count * (count - 1), 1)


READS["rank-mdtvsfa"] = BY_OPTION


@LOSSES.register("rank")
def a2inet_rank_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over all pairs of (batch,) scores and labels of max(0, |y_i − y_j| − φ·(ŷ_i − ŷ_j)), φ = 1 where y_i ≥ y_j, else −1.

    Source: A2INet equations 7 and 8; a video's pair with itself counts among the N² and costs nothing. The margin is the labels' own
    distance, so scores and labels have to share one scale; it keeps a gradient where all scores are equal.
    """
    distance = labels[:, None] - labels
    direction = torch.where(distance >= 0, 1.0, -1.0).to(scores.dtype)
    return F.relu(distance.abs() - direction * (scores[:, None] - scores)).mean()
