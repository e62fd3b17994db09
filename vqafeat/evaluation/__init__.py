"""Trained heads: loading, measuring, comparing, scoring new videos."""

from typing import Any

from vqafeat.registry import Registry

# name → function (feature store, names of videos, …) → `groups.Groups`
GROUPINGS: Registry[Any] = Registry(
    "grouping",
    {
        name: (f"vqafeat.evaluation.groups:{function}", summary)
        for name, function, summary in (
            (
                "resolution",
                "by_resolution",
                "1080p, 720p, <=480p as in table VII of Li et al., and the others",
            ),
            ("short-side", "by_short_side", "Shorter side at most 480, 720 or 1080 samples, or more"),
            ("class", "by_class", "Content class, where the data set's names hold it (youtube-ugc)"),
            ("quality", "by_quality", "Low and high, parted at a label"),
            ("part", "by_part", "Official part of the data set"),
        )
    },
)
