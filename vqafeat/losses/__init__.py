"""Losses on the scores of a batch of videos; importing this package registers them in `LOSSES`."""

from vqafeat.losses import losses
from vqafeat.losses.base import LOSSES, MIXINGS, Loss, LossOptions, build_loss, combined, loss_parts, on_label_scale, options_read_by
from vqafeat.losses.label_scaling import LABEL_SCALES, LabelLine, LabelScale, label_lines
from vqafeat.losses.soft_rank import SOFT_RANKS, soft_ranks

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
    "label_lines",
    "loss_parts",
    "losses",
    "on_label_scale",
    "options_read_by",
    "soft_ranks",
]
