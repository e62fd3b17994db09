"""Heads: from stored frame features to scores; importing this package registers them in `HEADS`."""

from vqafeat.heads import a2inet, mdtvsfa, recurrent, svr, transformer
from vqafeat.heads.base import (
    HEADS,
    FrameReduction,
    Head,
    NeuralHead,
    build_head,
    head_options,
    options_from_text,
    resolved_options,
)

__all__ = [
    "HEADS",
    "FrameReduction",
    "Head",
    "NeuralHead",
    "a2inet",
    "build_head",
    "head_options",
    "mdtvsfa",
    "options_from_text",
    "recurrent",
    "resolved_options",
    "svr",
    "transformer",
]
