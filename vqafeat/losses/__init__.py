"""Losses on the scores of a batch of videos; importing this package registers them in `LOSSES`."""

from vqafeat.losses import losses
from vqafeat.losses.base import (
    LOSSES,
    MIXINGS,
    Loss,
    LossOptions,
    build_loss,
    loss_parts,
    on_label_scale,
    options_read_by,
    softmax_weighted_sum,
)
from vqafeat.losses.label_scaling import LABEL_SCALES, LabelScale, LabelScaling, fit_label_scaling
from vqafeat.losses.soft_rank import SOFT_RANKS, soft_ranks

__all__ = [
    "LABEL_SCALES",
    "LOSSES",
    "MIXINGS",
    "SOFT_RANKS",
    "LabelScale",
    "LabelScaling",
    "Loss",
    "LossOptions",
    "build_loss",
    "fit_label_scaling",
    "loss_parts",
    "losses",
    "on_label_scale",
    "options_read_by",
    "soft_ranks",
    "softmax_weighted_sum",
]
