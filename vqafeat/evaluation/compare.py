"""Comparison of runs on the videos that all of them were tested on, and ensembles of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import isfinite, nan
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import duplicates
from vqafeat.metrics import evaluate_predictions, map_predictions
from vqafeat.splits import leak_notes
from vqafeat.statistics import Comparison, Interval, PairedSplit, Values, bootstrap_paired_difference, compare
from vqafeat.training import results
from vqafeat.training.config import SELECTIONS
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import Prediction, summarise
from vqafeat.training.run import Run, check_same

_AFTER_A_MAPPING = ("plcc", "rmse")
# measure → the measures of the same kind without the mapping
_SHOWN_TOO = {"plcc": ("plcc_plain",), "rmse": ("rmse_plain", "rmse_calibrated")}
_NO_MEAN = "there is no mean over data sets whose label scales differ"
_CONFIDENCE = 0.95
_SAME = 1e-4  # fits of a mapping to the same videos in another order differ by less


@dataclass(frozen=True)
class ComparedPair(Comparison):
    """The paired test of two runs over the splits, and the bootstrap interval of its mean difference."""

    interval: Interval


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs of one data set, compared.

    Attributes:
        tested_videos: data set → how many of its videos are in a test part.
        summaries: a run's folder, named by as much of its path as differs → measures of the test parts.
        pairs: in the order of the runs, or each run against the baseline.
    """

    dataset: str
    measure: str
    test: str
    tested_videos: Mapping[str, int]
    summaries: Mapping[str, results.MetricsSummary]
    pairs: tuple[ComparedPair, ...]

    @property
    def videos(self) -> int:
        """How many different videos are in a test part."""
        return sum(self.tested_videos.values())

    @property
    def runs(self) -> dict[str, results.Summary]:
        """Name of a run → the measure over the splits."""
        return {name: getattr(summary, self.measure) for name, summary in self.summaries.items()}

    @property
    def shown_too(self) -> tuple[str, ...]:
        """The measures of the same kind without the mapping, which are shown as well."""
        return _SHOWN_TOO.get(self.measure, ())

    def __repr__(self) -> str:
        names = [f"{pair.first} − {pair.second}" for pair in self.pairs]
        width = max(map(len, names))
        lines = [f"{self.measure.upper()} on '{self.dataset}': difference, 95 % interval, p, p (Holm)"]
        for name, pair in zip(names, self.pairs, strict=True):
            interval = pair.interval
            ends = f"{interval.difference:+.3f}  [{interval.low:+.3f}, {interval.high:+.3f}]"
            lines.append(f"{name:{width}}  {ends}  {pair.test.p:<8.3g}  {pair.p_holm:.3g}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them."""
        comparisons = [asdict(pair) for pair in self.pairs]
        for row in comparisons:
            row.update(row.pop("test"))
            row["interval"]["n"] = row["interval"].pop("videos")
        return {
            **{key: getattr(self, key) for key in ("dataset", "measure", "test")},
            "n": self.videos,
            "runs": {name: own.as_json(self.tested_videos) for name, own in self.summaries.items()},
            "comparisons": comparisons,
        }


def compare_runs(
    runs: Sequence[Run | str | Path],
    *,
    measure: str = "srocc",
    test: str = "t",
    baseline: Run | str | Path | None = None,
    resamples: int = 2000,
) -> ComparedRuns:
    """Compare a measure of runs that were tested on the same videos, by its mean difference over the splits.

    The paired test takes the values that the runs recorded for each split. The bootstrap measures each split
    again in both runs on resampled videos, with the mapping that was fitted to the whole test part. The value
    of a split on several data sets is the mean over them, weighted by their test videos; RMSE has no mean.

    Args:
        runs: finished runs, or their folders.
        measure: one of `vqafeat.training.results.EVERY_MEASURE`.
        test: t or wilcoxon.
        baseline: the run that each other one is compared with; without it, all pairs are compared.
    """
    if measure not in results.EVERY_MEASURE:
        raise ArgumentError(
            f"measure is '{measure}'; it has to be one of {', '.join(results.EVERY_MEASURE)}."
        )
    if isinstance(runs, str):
        raise ArgumentError(f"runs is the text '{runs}'; give a list of runs or of their folders.")
    base = None if baseline is None else Path(baseline)
    named = _read_runs([Path(run) for run in runs], base)
    for one, two in pairwise(named.values()):
        check_same(one, two, ("test",))
        own, other = one.config.mapping, two.config.mapping
        if measure in _AFTER_A_MAPPING and own != other:
            raise ArgumentError(
                f"{measure} of '{one.path}' is computed after the mapping '{own}', of '{two.path}' after "
                f"'{other}'; compare srocc, krocc or {measure}_plain, or fit both with the same --mapping."
            )
    first = next(iter(named.values()))
    videos = first.tested_videos
    parts = {name: _test_parts(run, measure) for name, run in named.items()}
    summaries = {name: _summary(run, measure) for name, run in named.items()}
    series = {name: getattr(summary, measure).values for name, summary in summaries.items()}
    pairs = []
    names = {run.path.resolve(): name for name, run in named.items()}
    for tested in compare(series, test, None if base is None else names[base.resolve()]):
        if measure.startswith("rmse") and len(first.config.datasets) > 1:
            interval = Interval(measure, nan, nan, nan, _CONFIDENCE, videos.total(), 0, _NO_MEAN)
        else:
            both = zip(parts[tested.first], parts[tested.second], strict=True)
            splits = [PairedSplit(own, two[0], mos, names, groups) for (own, mos, names, groups), two in both]
            interval = _interval(splits, measure, resamples, tested.test.mean_difference)
        pairs.append(ComparedPair(**vars(tested), interval=interval))
    return ComparedRuns(first.config.dataset, measure, test, videos, summaries, tuple(pairs))


def _read_runs(folders: Sequence[Path], baseline: Path | None) -> dict[str, Run]:
    """Return the runs by their names; the baseline is among them."""
    if twice := duplicates(str(folder.resolve()) for folder in folders):
        raise ArgumentError(f"the run '{twice[0]}' is given several times; give each run once.")
    by_path = {folder.resolve(): folder for folder in (*folders, *([] if baseline is None else [baseline]))}
    names = run_names(list(by_path))
    if len(names) < 2:
        given = ", ".join(names) or "none"
        raise ArgumentError(f"{len(names)} run(s) were given ({given}); a comparison takes at least two.")
    return {name: Run(path).check_finished() for name, path in zip(names, by_path.values(), strict=True)}


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return the last part of each path, and more parts where another path ends alike."""
    names = []
    for path in paths:
        length = 1
        while any(path.parts[-length:] == other.parts[-length:] for other in paths if other != path):
            length += 1
        names.append(PurePath(*path.parts[-length:]).as_posix())
    return names


def _summary(run: Run, measure: str) -> results.MetricsSummary:
    """Return the metrics of a run; refuse them where the measure lacks values."""
    summary = run.metrics
    if len(getattr(summary, measure).values) != len(run.splits):
        missing = f"no values of '{measure}' for the {len(run.splits)} splits of the run"
        raise WeightsError(f"'{run.path / results.METRICS}' has {missing}; run `vqafeat fit` again.")
    return summary


def _test_parts(
    run: Run, measure: str
) -> list[tuple[Values, Values, npt.NDArray[np.str_], npt.NDArray[np.intp] | None]]:
    """Return the outputs that a measure compares, labels, videos and data sets of each split's test part."""
    field, parts = "score" if measure == "rmse_calibrated" else "prediction", []
    for number, split in enumerate(run.splits):
        rows = [run.held_out[number, "test", video] for video in sorted(split["test"])]
        if missing := [row.video for row in rows if not isfinite(getattr(row, field))]:
            row = f"no score of '{missing[0]}', split {number}"
            raise WeightsError(f"'{run.path / results.PREDICTIONS}' has {row}; run `vqafeat fit` again.")
        values, mos = np.array([(getattr(row, field), row.mos) for row in rows]).T
        groups = np.array([dataset_number(row.video, run.config.dataset_names) for row in rows])
        if measure in _AFTER_A_MAPPING:
            for group in np.unique(groups):
                own = groups == group
                values[own], _ = map_predictions(values[own], mos[own], run.config.mapping)
        videos = np.array([row.video for row in rows])
        parts.append((values, mos, videos, groups if len(run.config.datasets) > 1 else None))
    return parts


def _interval(splits: Sequence[PairedSplit], measure: str, resamples: int, difference: float) -> Interval:
    """Return the bootstrap interval of a mean difference; `difference` is that of the runs' own metrics."""
    kind = measure.partition("_")[0]
    interval = bootstrap_paired_difference(splits, kind, confidence=_CONFIDENCE, resamples=resamples)
    own, notes = interval.difference, [interval.note] if interval.note else []
    if not np.isclose(difference, own, _SAME, _SAME, equal_nan=True):
        other = f"but {own:.6g} in {results.PREDICTIONS}, from which the interval is computed"
        notes.append(f"the difference is {difference:.6g} in {results.METRICS}, {other}")
    return replace(interval, measure=measure, difference=difference, note="; ".join(notes))


# table XV of Li et al. gives ratios of two decimals
KAPPAS = tuple(step / 100 for step in range(101))
_FEWEST_TO_CHOOSE = 3
# equal rankings of the same videos may differ this much in SROCC
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ensemble:
    """Blended scores of the test parts, κ·first + (1 − κ)·second, and their metrics."""

    kappas: tuple[float, ...]  # one for each split
    selection: str  # how they were selected, in words
    summary: results.MetricsSummary
    mapping: str
    predictions: tuple[Prediction, ...]
    tested_videos: Mapping[str, int]  # data set → how many of its videos are in a test part


def ensemble(
    first: Path, second: Path, *, kappa: float | None = None, mapping: str | None = None
) -> Ensemble:
    """Blend the scores of two runs on the same splits of a data set, and measure them on the test parts.

    Li et al. (TCSVT 2022), equation 17: Q = κ·Q_GRU + (1 − κ)·Q_Transformer. The paper gives one "best ratio"
    per data set and does not say how it was selected. Here, κ is one of 0, 0.01 … 1 for each split: the one
    with the highest SROCC on the validation part, or, of several, the one closest to 0.5. On several data
    sets it is the highest mean SROCC.

    Args:
        kappa: for all splits; by default selected on the validation parts.
        mapping: before PLCC and RMSE; by default that of the first run.
    """
    if kappa is not None and not 0 <= kappa <= 1:
        raise ArgumentError(f"kappa is {kappa}; it has to be between 0 and 1, such as 0.5.")
    one, two = Run(first).check_finished(), Run(second).check_finished()
    check_same(one, two, verb="blend")
    numbers = range(len(one.splits))
    kappas = tuple(_best_kappa(one, two, number) if kappa is None else kappa for number in numbers)
    rows = tuple(
        replace(own, prediction=kappa * own.prediction + (1 - kappa) * other.prediction, score=nan)
        for number, kappa in enumerate(kappas)
        for own, other in _both(one, two, number, "test")
    )
    selection = "highest SROCC on each split's validation part" if kappa is None else "given"
    mapping = mapping or one.config.mapping
    leak = results.read_json(one.path / results.SPLITS).get("leak", {})
    selected_by = {SELECTIONS[run.config.recipe.get("select", "validation")] for run in (one, two)}
    notes = [*leak_notes(leak), *filter(None, selected_by)]
    summary = summarise(rows, len(kappas), mapping, notes, one.config.dataset_names)
    return Ensemble(kappas, selection, summary, mapping, rows, one.tested_videos)


def _best_kappa(one: Run, two: Run, number: int) -> float:
    videos = len(one.splits[number]["validation"])
    if videos < _FEWEST_TO_CHOOSE:
        few = f"split {number} has {videos} validation video(s), too few to choose kappa on"
        next_step = "fit with a larger one (--ratio 60/20/20 or 40/30/30), or give --kappa"
        raise ArgumentError(f"{few}; {next_step}.")
    rows = _both(one, two, number, "validation")
    first, second, mos = np.array([(own.prediction, other.prediction, own.mos) for own, other in rows]).T
    numbers = np.array([dataset_number(own.video, one.config.dataset_names) for own, _ in rows])
    members = [numbers == member for member in np.unique(numbers)]
    blends = [kappa * first + (1 - kappa) * second for kappa in KAPPAS]
    sroccs = [
        np.mean([evaluate_predictions(blend[own], mos[own], mapping="none").srocc for own in members])
        for blend in blends
    ]
    if np.isnan(sroccs).all():
        constant = f"the validation scores of split {number} are constant in both runs"
        raise ArgumentError(f"{constant}, so no kappa is best; give --kappa.")
    best = np.nanmax(sroccs) - _ROUNDING
    tied = [kappa for kappa, srocc in zip(KAPPAS, sroccs, strict=True) if srocc >= best]
    return min(tied, key=lambda kappa: abs(kappa - 0.5))


def _both(one: Run, two: Run, number: int, part: str) -> list[tuple[Prediction, Prediction]]:
    videos = one.splits[number][part]
    return [(one.held_out[number, part, video], two.held_out[number, part, video]) for video in videos]
