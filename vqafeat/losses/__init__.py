"""Losses on the scores of a batch of videos; importing this package registers them in `LOSSES`."""

from vqafeat.losses import losses  # noqa: F401 - they register themselves
from vqafeat.losses.base import (
    LOSSES,
    MIXINGS,
    Loss,
    LossFunction,
    LossOptions,
    build_loss,
    loss_parts,
    on_label_scale,
    options_read_by,
    softmax_weighted_sum,
)
from vqafeat.losses.label_scaling import LABEL_SCALES, LabelScaling, fit_label_scaling
from vqafeat.losses.soft_rank import SOFT_RANKS, soft_ranks

__all__ = [
    "LABEL_SCALES",
    "LOSSES",
    "MIXINGS",
    "SOFT_RANKS",
    "LabelScaling",
    "Loss",
    "LossFunction",
    "LossOptions",
    "build_loss",
    "fit_label_scaling",
    "loss_parts",
    "on_label_scale",
    "options_read_by",
    "soft_ranks",
    "softmax_weighted_sum",
]
