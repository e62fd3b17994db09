"""Losses on the scores of a batch of videos. One file a loss; importing this package registers them."""

from vqafeat.modeling.losses import l1, plcc, rank, srcc
from vqafeat.modeling.losses.base import LOSSES, Loss, LossOptions, build_loss, loss_parts, on_label_scale, options_read_by
from vqafeat.modeling.losses.label_scales import LABEL_SCALES, LabelScale
from vqafeat.modeling.losses.soft_rank import SOFT_RANKS, soft_ranks

__all__ = [
    "LABEL_SCALES",
    "LOSSES",
    "SOFT_RANKS",
    "LabelScale",
    "Loss",
    "LossOptions",
    "build_loss",
    "l1",
    "loss_parts",
    "on_label_scale",
    "options_read_by",
    "plcc",
    "rank",
    "soft_ranks",
    "srcc",
]
