"""Heads: from stored frame features to scores; importing this package registers them in `HEADS`."""

from vqafeat.heads import a2inet, mdtvsfa, recurrent, svr, transformer  # noqa: F401 - they register themselves
from vqafeat.heads.base import HEADS, FrameReduction, Head, build_head, head_options, options_from_text

__all__ = ["HEADS", "FrameReduction", "Head", "build_head", "head_options", "options_from_text"]
