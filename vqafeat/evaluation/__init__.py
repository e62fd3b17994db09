"""Trained heads: loading, measuring, comparing, scoring new videos."""

from typing import Any

from vqafeat.registry import Registry

_GROUPS = "vqafeat.evaluation.groups"
_LI = "1080p, 720p, <=480p as in table VII of Li et al., and the others"
# name → function (feature store, names of videos) → `groups.Groups`
GROUPINGS: Registry[Any] = Registry(
    "grouping",
    {
        "resolution": (f"{_GROUPS}:by_resolution", _LI),
        "short-side": (f"{_GROUPS}:by_short_side", "Shorter side at most 480, 720 or 1080 samples, or more"),
        "class": (f"{_GROUPS}:by_class", "Content class, if the video names contain it (youtube-ugc)"),
        "quality": (f"{_GROUPS}:by_quality", "Low and high quality, divided at a label"),
        "part": (f"{_GROUPS}:by_part", "Official part of the data set"),
    },
)
