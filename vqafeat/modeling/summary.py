"""The metrics of several runs of one fit, brought together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        datasets: of a run on several data sets, the summary of each.
    """

    srocc: Spread
    krocc: Spread
    plcc: Spread
    rmse: Spread
    n: tuple[int, ...]
    notes: tuple[str, ...]
    datasets: Mapping[str, "MetricsSummary"] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Sequence[Metrics], notes: Sequence[str] = ()) -> "MetricsSummary":
        """Return the summary of one `Metrics` a run; each run's own note is kept with its number."""
        own = [f"split {number}: {item.note}" for number, item in enumerate(metrics) if item.note]
        spreads = {name: Spread.of([getattr(item, name) for item in metrics]) for name in MEASURES}
        return cls(**spreads, n=tuple(item.n for item in metrics), notes=(*notes, *own), datasets={})

    @classmethod
    def weighted(cls, datasets: Mapping[str, "MetricsSummary"], notes: Sequence[str] = ()) -> "MetricsSummary":
        """Return the mean over several data sets, each weighted by the number of its measured videos, as in Li et al., table VI.

        RMSE has no mean, since each data set has a scale of its own.
        """
        counts = np.array([own.n for own in datasets.values()], dtype=np.float64)
        spreads = {}
        for name in MEASURES:
            values = np.array([getattr(own, name).values for own in datasets.values()])
            spreads[name] = Spread.of(((values * counts).sum(axis=0) / counts.sum(axis=0)).tolist())
        spreads["rmse"] = Spread.of([nan] * counts.shape[1])
        own_notes = [f"{name}: {note}" for name, own in datasets.items() for note in own.notes]
        said = "the mean over the data sets is weighted by their test videos; RMSE has none, since their scales differ"
        return cls(**spreads, n=tuple(counts.sum(axis=0).astype(int).tolist()), notes=(*notes, said, *own_notes), datasets=datasets)

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        own: dict[str, Any] = {name: getattr(self, name).as_dict() for name in MEASURES}
        several = {"datasets": {name: summary.as_dict() for name, summary in self.datasets.items()}} if self.datasets else {}
        return {**own, "n": list(self.n), "notes": list(self.notes), **several}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MetricsSummary":
        """Return the summary that `as_dict` described, where NaN may have become null."""
        spreads = {name: Spread.of([nan if value is None else value for value in values[name]["values"]]) for name in MEASURES}
        datasets = {name: cls.from_dict(own) for name, own in values.get("datasets", {}).items()}
        return cls(**spreads, n=tuple(values["n"]), notes=tuple(values["notes"]), datasets=datasets)
