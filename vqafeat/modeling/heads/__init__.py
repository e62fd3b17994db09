"""Heads: from cached frame features to scores. One file a head; importing this package registers them."""

from vqafeat.modeling.heads import avg_gru, no_time, sub_gru, sub_lstm
from vqafeat.modeling.heads.base import HEADS, FrameReduction, Head, build_head, head_options

__all__ = ["HEADS", "FrameReduction", "Head", "avg_gru", "build_head", "head_options", "no_time", "sub_gru", "sub_lstm"]
