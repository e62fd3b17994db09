"""Comparison of runs on the videos that all of them were tested on, and ensembles of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import duplicates
from vqafeat.metrics import evaluate_predictions, map_predictions
from vqafeat.statistics import (
    Comparison,
    Indices,
    Interval,
    PairedSplit,
    Values,
    bootstrap_paired_difference,
    compare,
)
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import Prediction, summarise
from vqafeat.training.results import EVERY_MEASURE, METRICS, PREDICTIONS, MetricsSummary, Summary
from vqafeat.training.run import Run, check_same

_AFTER_A_MAPPING = ("plcc", "rmse")
# measure → those of the same kind without the mapping
_SHOWN_TOO = {"plcc": ("plcc_plain",), "rmse": ("rmse_plain", "rmse_calibrated")}
_NO_MEAN = "there is no mean over data sets whose label scales differ"
_SAME = 1e-4  # fits of a mapping end within this of each other, whatever the order of the videos


@dataclass(frozen=True)
class ComparedPair:
    """The paired test of two runs over the splits, and the bootstrap interval of its mean difference."""

    comparison: Comparison
    interval: Interval


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs of one data set, compared on `videos` different test videos.

    Attributes:
        summaries: name of a run's folder → all measures of the test parts.
        pairs: in the order of the runs, or each run against the baseline.
    """

    dataset: str
    measure: str
    test: str
    videos: int
    summaries: Mapping[str, MetricsSummary]
    pairs: tuple[ComparedPair, ...]

    @property
    def runs(self) -> dict[str, Summary]:
        """Name → the measure over the splits."""
        return {name: getattr(summary, self.measure) for name, summary in self.summaries.items()}

    @property
    def shown_too(self) -> tuple[str, ...]:
        """The measures to show with this one: those without its mapping."""
        return _SHOWN_TOO.get(self.measure, ())

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them."""
        runs: dict[str, Any] = {}
        for name, summary in self.summaries.items():
            plain = {measure: vars(getattr(summary, measure)) for measure in self.shown_too}
            notes = {"few_videos": bool(summary.few_videos), "notes": list(summary.notes)}
            runs[name] = {**vars(self.runs[name]), **plain, **notes}
        comparisons = []
        for pair in self.pairs:
            values = {**vars(pair.comparison), **vars(pair.comparison.test), "interval": vars(pair.interval)}
            del values["test"]
            comparisons.append(values)
        about = {key: getattr(self, key) for key in ("dataset", "measure", "test", "videos")}
        return {**about, "runs": runs, "comparisons": comparisons}


def compare_runs(
    folders: Sequence[Path],
    *,
    measure: str = "srocc",
    test: str = "t",
    baseline: Path | None = None,
    resamples: int = 2000,
) -> ComparedRuns:
    """Compare a measure of runs that were tested on the same videos, by its mean difference over the splits.

    The paired test takes the values that the runs recorded for each split. The bootstrap measures each split
    again in both runs on resampled videos, with its mapping as fitted to the whole test part. On several data
    sets a split's value is the mean over these, weighted by their test videos; RMSE has none.

    Args:
        measure: one of `vqafeat.training.results.EVERY_MEASURE`.
        test: t or wilcoxon.
        baseline: the run that each other one is compared with; without it, all pairs are compared.
    """
    if measure not in EVERY_MEASURE:
        raise ArgumentError(f"measure is '{measure}'; it has to be one of {', '.join(EVERY_MEASURE)}.")
    runs = _read_runs(folders, baseline)
    for one, two in pairwise(runs.values()):
        check_same(one, two, ("test",))
        _check_same_mapping(one, two, measure)
    first = next(iter(runs.values()))
    # one order of videos for every pair, whatever the order in a run's files
    videos = sorted({video for split in first.splits for video in split["test"]})
    test_parts = _test_parts(first, videos)
    scores = {name: _scores(run, measure) for name, run in runs.items()}
    summaries = {name: _summary(run, measure) for name, run in runs.items()}
    series = {name: getattr(summary, measure).values for name, summary in summaries.items()}
    pairs = []
    for tested in compare(series, test, None if baseline is None else _name(baseline)):
        both = zip(scores[tested.first], scores[tested.second], test_parts, strict=True)
        splits = [PairedSplit(one, two, *part) for one, two, part in both]
        interval = _interval(splits, measure, resamples, tested.test.mean_difference)
        pairs.append(ComparedPair(tested, interval))
    return ComparedRuns(first.config.dataset, measure, test, len(videos), summaries, tuple(pairs))


def _name(folder: Path) -> str:
    return folder.resolve().name


def _read_runs(folders: Sequence[Path], baseline: Path | None) -> dict[str, Run]:
    """Return the runs by the names of their folders; the baseline is among them."""
    folders = list(folders)
    if baseline is not None and baseline.resolve() not in {folder.resolve() for folder in folders}:
        folders.append(baseline)
    names = [_name(folder) for folder in folders]
    if twice := duplicates(names):
        next_step = "give each run once, and rename folders of one name"
        raise ArgumentError(f"several runs are called '{twice[0]}'; {next_step}.")
    if len(folders) < 2:
        given = ", ".join(names) or "none"
        raise ArgumentError(f"{len(folders)} run(s) were given ({given}); a comparison takes at least two.")
    return {name: Run(folder).check_finished() for name, folder in zip(names, folders, strict=True)}


def _check_same_mapping(one: Run, two: Run, measure: str) -> None:
    if measure in _AFTER_A_MAPPING and one.config.mapping != two.config.mapping:
        raise ArgumentError(
            f"{measure} of '{one.path}' is computed after the mapping '{one.config.mapping}', of "
            f"'{two.path}' after '{two.config.mapping}'; compare srocc, krocc or {measure}_plain, or fit "
            "both with the same --mapping."
        )


def _summary(run: Run, measure: str) -> MetricsSummary:
    """Return the metrics of a run, whose measure has one value a split."""
    summary = run.metrics
    if len(getattr(summary, measure).values) != len(run.splits):
        missing = f"no values of '{measure}' for the {len(run.splits)} splits of the run"
        raise WeightsError(f"'{run.path / METRICS}' has {missing}; run `vqafeat fit` again.")
    return summary


def _dataset_numbers(run: Run, videos: Sequence[str]) -> Indices:
    return np.array([dataset_number(video, run.config.dataset_names) for video in videos], dtype=np.intp)


def _scores(run: Run, measure: str) -> list[Values]:
    """Return the (video,) values of each split that a measure compares with the labels."""
    field, scores = "score" if measure == "rmse_calibrated" else "prediction", []
    for number, split in enumerate(run.splits):
        videos = sorted(split["test"])
        rows = [run.held_out[number, "test", video] for video in videos]
        values = np.array([getattr(row, field) for row in rows], dtype=np.float64)
        if not np.isfinite(values).all():
            missing = f"no score of '{videos[int(np.isfinite(values).argmin())]}', split {number}"
            raise WeightsError(f"'{run.path / PREDICTIONS}' has {missing}; run `vqafeat fit` again.")
        if measure in _AFTER_A_MAPPING:
            mos, groups = np.array([row.mos for row in rows]), _dataset_numbers(run, videos)
            for group in np.unique(groups):
                own = groups == group
                values[own], _ = map_predictions(values[own], mos[own], run.config.mapping)
        scores.append(values)
    return scores


def _test_parts(run: Run, tested: Sequence[str]) -> list[tuple[Values, Indices, Indices | None]]:
    """Return the labels, the numbers in `tested` and the data sets of each split's test videos."""
    numbers, parts = {video: number for number, video in enumerate(tested)}, []
    for number, split in enumerate(run.splits):
        videos = sorted(split["test"])
        mos = np.array([run.held_out[number, "test", video].mos for video in videos], dtype=np.float64)
        rows = np.array([numbers[video] for video in videos], dtype=np.intp)
        parts.append((mos, rows, _dataset_numbers(run, videos) if len(run.config.datasets) > 1 else None))
    return parts


def _interval(splits: Sequence[PairedSplit], measure: str, resamples: int, difference: float) -> Interval:
    """Return the bootstrap interval of a mean difference; the runs' own metrics give `difference`."""
    kind = measure.partition("_")[0]
    interval = replace(bootstrap_paired_difference(splits, kind, resamples=resamples), measure=measure)
    if kind == "rmse" and splits[0].groups is not None:
        return replace(interval, difference=nan, low=nan, high=nan, resamples=0, note=_NO_MEAN)
    own, notes = interval.difference, [interval.note] if interval.note else []
    if not np.isclose(difference, own, _SAME, _SAME, equal_nan=True):
        other = f"but {own:.6g} in {PREDICTIONS}, which the interval is of"
        notes.append(f"the difference is {difference:.6g} in {METRICS}, {other}")
    return replace(interval, difference=difference, note="; ".join(notes))


# table XV gives ratios of two decimals
KAPPAS = tuple(step / 100 for step in range(101))
_FEWEST_TO_CHOOSE = 3
# equal rankings of the same videos may differ this much in SROCC
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ensemble:
    """Blended scores of the test parts, κ·first + (1 − κ)·second, and their metrics.

    `kappas` has one κ a split, and `selection` says in words how they were selected.
    """

    kappas: tuple[float, ...]
    selection: str
    summary: MetricsSummary
    mapping: str
    predictions: tuple[Prediction, ...]


def ensemble(
    first: Path, second: Path, *, kappa: float | None = None, mapping: str | None = None
) -> Ensemble:
    """Blend the scores of two runs on the same splits of a data set, and measure them on the test parts.

    Li et al. (TCSVT 2022), equation 17: Q = κ·Q_GRU + (1 − κ)·Q_Transformer. The paper gives one "best ratio"
    a data set and does not say what it was chosen on; here each split's κ, of 0, 0.01 … 1, is the one with
    the highest SROCC on that split's validation part, and of several the one closest to 0.5.

    Args:
        kappa: for all splits; without it, selected on validation.
        mapping: before PLCC and RMSE; without it, that of the first run.
    """
    if kappa is not None and not 0 <= kappa <= 1:
        raise ArgumentError(f"kappa is {kappa}; it has to be between 0 and 1, as 0.5.")
    one, two = Run(first).check_finished(), Run(second).check_finished()
    check_same(one, two, verb="blend")
    numbers = range(len(one.splits))
    kappas = tuple(_best_kappa(one, two, number) if kappa is None else kappa for number in numbers)
    rows = tuple(row for number in numbers for row in _blended(one, two, number, "test", kappas[number]))
    selection = "highest SROCC on each split's validation part" if kappa is None else "given"
    mapping = mapping or one.config.mapping
    return Ensemble(kappas, selection, summarise(rows, len(kappas), mapping, []), mapping, rows)


def _best_kappa(one: Run, two: Run, number: int) -> float:
    videos = len(one.splits[number]["validation"])
    if videos < _FEWEST_TO_CHOOSE:
        few = f"split {number} has {videos} validation video(s), too few to choose kappa on"
        next_step = "fit with a larger one (--ratio 60/20/20 or 40/30/30), or give --kappa"
        raise ArgumentError(f"{few}; {next_step}.")
    sroccs = []
    for kappa in KAPPAS:
        rows = _blended(one, two, number, "validation", kappa)
        scores, labels = [row.prediction for row in rows], [row.mos for row in rows]
        sroccs.append(evaluate_predictions(scores, labels, mapping="none").srocc)
    if np.isnan(sroccs).all():
        constant = f"the validation scores of split {number} are constant in both runs"
        raise ArgumentError(f"{constant}, so no kappa is best; give --kappa.")
    best = np.nanmax(sroccs) - _ROUNDING
    tied = [kappa for kappa, srocc in zip(KAPPAS, sroccs, strict=True) if srocc >= best]
    return min(tied, key=lambda kappa: abs(kappa - 0.5))


def _blended(one: Run, two: Run, number: int, part: str, kappa: float) -> list[Prediction]:
    blended = []
    for video in one.splits[number][part]:
        own, other = (run.held_out[number, part, video] for run in (one, two))
        score = kappa * own.prediction + (1 - kappa) * other.prediction
        blended.append(replace(own, prediction=score, score=nan))
    return blended
