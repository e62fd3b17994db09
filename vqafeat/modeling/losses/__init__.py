"""Losses on the scores of a batch of videos. One file a loss; importing this package registers them."""

from vqafeat.modeling.losses import l1, plcc, rank, srcc
from vqafeat.modeling.losses.base import LOSSES, Loss, LossOptions, build_loss, loss_parts, on_label_scale, options_read_by
from vqafeat.modeling.losses.combining import MIXINGS, combined
from vqafeat.modeling.losses.label_scales import LABEL_SCALES, LabelLine, LabelScale, label_lines
from vqafeat.modeling.losses.soft_rank import SOFT_RANKS, soft_ranks

__all__ = [
    "LABEL_SCALES",
    "LOSSES",
    "MIXINGS",
    "SOFT_RANKS",
    "LabelLine",
    "LabelScale",
    "Loss",
    "LossOptions",
    "build_loss",
    "combined",
    "l1",
    "label_lines",
    "loss_parts",
    "on_label_scale",
    "options_read_by",
    "plcc",
    "rank",
    "soft_ranks",
    "srcc",
]
