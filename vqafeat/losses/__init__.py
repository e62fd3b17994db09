"""Losses on the scores of a batch of videos. A new one is a line here, or a plug-in."""

from typing import Any

from vqafeat.registry import Registry

LOSSES: Registry[Any] = Registry(
    "loss",
    {
        "l1": ("vqafeat.losses.base:L1", "mean absolute error (VSFA; A2INet equation 6)"),
        "plcc": ("vqafeat.losses.base:PLCC", "(1 - PLCC) / 2 (MDTVSFA; Li et al. equation 14)"),
        "srcc": ("vqafeat.losses.base:SRCC", "1 - PLCC of soft ranks (Li et al. equation 15)"),
        "rank-mdtvsfa": ("vqafeat.losses.base:RANK_MDTVSFA", "pairs in the wrong order (MDTVSFA)"),
        "rank": ("vqafeat.losses.base:RANK", "pairs, margin from the labels (A2INet equations 7 and 8)"),
    },
)
