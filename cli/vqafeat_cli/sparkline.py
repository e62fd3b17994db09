"""A curve in one line of text."""

from collections.abc import Sequence
from math import isfinite

import numpy as np

BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return one bar a value between the curve's smallest and largest; longer curves are averaged over `width` stretches of like length.

    A value that is not finite is a gap, a curve without any rise or fall lies on the ground.
    """
    if not len(values):
        return ""
    stretches = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [float(np.mean(part[np.isfinite(part)])) if np.isfinite(part).any() else float("nan") for part in stretches]
    finite = [mean for mean in means if isfinite(mean)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low
    return "".join(_block((mean - low) / span if span else 0.0) if isfinite(mean) else GAP for mean in means)


def _block(height: float) -> str:
    """Return the bar for a height between 0 and 1."""
    return BARS[min(int(height * len(BARS)), len(BARS) - 1)]
