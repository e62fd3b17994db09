"""Runs held against each other on the videos that all of them were tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.manifest.dataset import doubled
from vqafeat.modeling.losses import on_label_scale
from vqafeat.modeling.recorded import RecordedRun, check_same
from vqafeat.modeling.run_files import METRICS
from vqafeat.modeling.summary import MEASURES, Spread
from vqafeat.statistics import MEASURES as BOOTSTRAPPED
from vqafeat.statistics import Comparison, Interval, bootstrap_difference, compare

_READ_AFTER_A_MAPPING = ("plcc", "rmse")


@dataclass(frozen=True)
class ComparedPair:
    """Two runs compared: the paired test over the splits, and an interval over the videos, None for a measure that has none."""

    comparison: Comparison
    interval: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        tested = self.comparison
        return {
            "first": tested.first,
            "second": tested.second,
            **{key: value for key, value in vars(tested.test).items() if key != "name"},
            "p_holm": tested.p_holm,
            "interval": None if self.interval is None else dict(vars(self.interval)),
        }


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs of one data set, compared.

    Attributes:
        dataset: that all of them are on.
        measure: that is compared.
        test: name of the paired test.
        videos: different ones in the test parts.
        runs: name → the measure over the splits; a run goes by the name of its folder.
        notes: name → what a reader of that run's values should know.
        pairs: in the order of the runs, or each run against the baseline.
    """

    dataset: str
    measure: str
    test: str
    videos: int
    runs: Mapping[str, Spread]
    notes: Mapping[str, tuple[str, ...]]
    pairs: tuple[ComparedPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        runs = {name: {**spread.as_dict(), "notes": self.notes[name]} for name, spread in self.runs.items()}
        head = {key: getattr(self, key) for key in ("dataset", "measure", "test", "videos")}
        return {**head, "runs": runs, "comparisons": [pair.as_dict() for pair in self.pairs]}


def compare_runs(
    folders: Sequence[Path], *, measure: str = "srocc", test: str = "t", baseline: Path | None = None, resamples: int = 2000
) -> ComparedRuns:
    """Compare a measure of runs that were tested on the same videos, split by split.

    The test pairs the values that the runs recorded for each split; p is corrected by Holm's procedure for the number of comparisons. The
    interval is a percentile bootstrap of the difference when the test videos of all splits are drawn anew: a video's prediction is the mean
    over the splits that tested it, which are the same in both runs, so it holds for such mean scores rather than for a single split's
    head, and its PLCC is without a logistic. RMSE has no interval, and runs on several data sets have none, whose labels share no scale.

    Args:
        folders: run folders of `vqafeat fit`, at least two with the baseline.
        measure: srocc, krocc, plcc or rmse.
        test: t or wilcoxon.
        baseline: the run that each other one is compared with; without it, all pairs are compared.
        resamples: of the videos, for each interval.

    Raises:
        WeightsError: a folder is no finished run of `vqafeat fit`, or damaged.
        ArgumentError: runs differ in data set, in a split's test videos or in what PLCC and RMSE are read after, two folders go by one
            name, the measure is not known, or `resamples` is below 1.
        UnknownNameError: there is no such test.
    """
    if measure not in MEASURES:
        raise ArgumentError(f"measure is '{measure}'; it has to be one of {', '.join(MEASURES)}.")
    runs = _named([*folders, *([baseline] if baseline is not None and not _among(baseline, folders) else [])])
    for one, two in pairwise(runs.values()):
        check_same(one, two, ("test",))
        _check_same_mapping(one, two, measure)
    spreads = {name: _recorded(run, measure) for name, run in runs.items()}
    tested = compare({name: spread.values for name, spread in spreads.items()}, test, None if baseline is None else _name(baseline))
    means = {name: _mean_predictions(run) for name, run in runs.items()}
    mos = _labels(next(iter(runs.values())))
    bootstrapped = measure in BOOTSTRAPPED and len(next(iter(runs.values())).config.datasets) == 1
    pairs = tuple(ComparedPair(found, _interval(found, means, mos, measure, resamples) if bootstrapped else None) for found in tested)
    notes = {name: _notes(run, measure) for name, run in runs.items()}
    return ComparedRuns(next(iter(runs.values())).config.dataset, measure, test, len(mos), spreads, notes, pairs)


def _name(folder: Path) -> str:
    return folder.resolve().name


def _among(folder: Path, folders: Sequence[Path]) -> bool:
    return folder.resolve() in {item.resolve() for item in folders}


def _named(folders: Sequence[Path]) -> dict[str, RecordedRun]:
    names = [_name(folder) for folder in folders]
    if twice := doubled(names):
        same = ", ".join(f"'{folder}'" for folder in folders if _name(folder) == twice[0])
        raise ArgumentError(f"{same} go by one name, '{twice[0]}'; give each run once, and rename folders of one name.")
    if len(folders) < 2:
        raise ArgumentError(f"{len(folders)} run(s) were given ({', '.join(names) or 'none'}); a comparison takes at least two.")
    return {name: RecordedRun.read(folder) for name, folder in zip(names, folders, strict=True)}


def _check_same_mapping(one: RecordedRun, two: RecordedRun, measure: str) -> None:
    if measure in _READ_AFTER_A_MAPPING and one.config.mapping != two.config.mapping:
        raise ArgumentError(
            f"{measure} of '{one.folder}' is read after the mapping '{one.config.mapping}', of '{two.folder}' after "
            f"'{two.config.mapping}'; compare srocc or krocc, or fit both with the same --mapping."
        )


def _recorded(run: RecordedRun, measure: str) -> Spread:
    """Return a measure as metrics.json has it, one value a split."""
    found = run.metrics.get(measure)
    values = found.get("values") if isinstance(found, dict) else None
    if not isinstance(values, list) or len(values) != len(run.splits):
        raise WeightsError(
            f"'{run.folder / METRICS}' has no values of '{measure}' for the {len(run.splits)} splits of the run; run `vqafeat fit` again."
        )
    return Spread.of([nan if value is None else float(value) for value in values])


def _notes(run: RecordedRun, measure: str) -> tuple[str, ...]:
    loss = run.config.recipe.get("loss", "l1")
    mixed = measure in BOOTSTRAPPED and len(run.config.datasets) == 1 < len(run.splits) and not on_label_scale(loss)
    own = f"the interval's means over splits mix scales: the loss '{loss}' leaves each split's scores on a scale of its own"
    return (*run.metrics.get("notes", ()), *([own] if mixed else []))


def _tested(run: RecordedRun) -> list[tuple[int, str]]:
    return [(number, video) for number, split in enumerate(run.splits) for video in split["test"]]


def _labels(run: RecordedRun) -> dict[str, float]:
    return {video: run.rows[number, "test", video].mos for number, video in _tested(run)}


def _mean_predictions(run: RecordedRun) -> dict[str, float]:
    """Return video → mean of its scores over the splits that tested it."""
    scores: dict[str, list[float]] = {}
    for number, video in _tested(run):
        scores.setdefault(video, []).append(run.rows[number, "test", video].prediction)
    return {video: float(np.mean(values)) for video, values in scores.items()}


def _interval(
    found: Comparison, means: Mapping[str, Mapping[str, float]], mos: Mapping[str, float], measure: str, resamples: int
) -> Interval:
    # one order of videos for every pair, whatever the order in a run's files
    videos = sorted(mos)

    def of(values: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([values[video] for video in videos])

    return bootstrap_difference(of(means[found.first]), of(means[found.second]), of(mos), measure, resamples=resamples)
