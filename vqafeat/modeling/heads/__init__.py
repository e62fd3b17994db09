"""Heads: from cached frame features to scores. One file a head; importing this package registers them."""

from vqafeat.modeling.heads import a2inet, avg_gru, mdtvsfa, mdtvsfa_transformer, no_time, sub_gru, sub_lstm, svr, transformer
from vqafeat.modeling.heads.base import HEADS, FrameReduction, Head, NeuralHead, build_head, head_options, options_from_text

__all__ = [
    "HEADS",
    "FrameReduction",
    "Head",
    "NeuralHead",
    "a2inet",
    "avg_gru",
    "build_head",
    "head_options",
    "mdtvsfa",
    "mdtvsfa_transformer",
    "no_time",
    "options_from_text",
    "sub_gru",
    "sub_lstm",
    "svr",
    "transformer",
]
