"""The metrics of several runs of one fit, brought together."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from vqafeat.metrics import Metrics

MEASURES = ("srocc", "krocc", "plcc", "rmse")


@dataclass(frozen=True)
class Spread:
    """One measure over the runs.

    Attributes:
        mean: over the runs where the measure is defined; NaN where it is nowhere.
        std: sample deviation (n − 1) over the same runs; NaN with fewer than two.
        median: over the same runs.
        values: one a run, NaN where it is not defined.
    """

    mean: float
    std: float
    median: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of one value a run."""
        defined = [value for value in values if isfinite(value)]
        return cls(
            mean=float(np.mean(defined)) if defined else nan,
            std=float(np.std(defined, ddof=1)) if len(defined) > 1 else nan,
            median=float(np.median(defined)) if defined else nan,
            values=tuple(float(value) for value in values),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"mean": self.mean, "std": self.std, "median": self.median, "values": list(self.values)}


@dataclass(frozen=True)
class MetricsSummary:
    """SROCC, KROCC, PLCC and RMSE over the runs, and what to know about them.

    Attributes:
        n: videos that each run was measured on.
        notes: for example that a logistic did not converge in a run, whose PLCC is then no part of the mean.
    """

    srocc: Spread
    krocc: Spread
    plcc: Spread
    rmse: Spread
    n: tuple[int, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, metrics: Sequence[Metrics], notes: Sequence[str] = ()) -> "MetricsSummary":
        """Return the summary of one `Metrics` a run; each run's own note is kept with its number."""
        own = [f"split {number}: {item.note}" for number, item in enumerate(metrics) if item.note]
        spreads = {name: Spread.of([getattr(item, name) for item in metrics]) for name in MEASURES}
        return cls(**spreads, n=tuple(item.n for item in metrics), notes=(*notes, *own))

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {**{name: getattr(self, name).as_dict() for name in MEASURES}, "n": list(self.n), "notes": list(self.notes)}
