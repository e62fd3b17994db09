"""Paired tests of several heads over splits with Holm's correction, and bootstrap intervals over videos.

Splits that are drawn from one data set share videos, so the tests assume more independence than there
is: a small p over ten random splits is weaker evidence than over ten data sets.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp, wilcoxon

from vqafeat.errors import ArgumentError
from vqafeat.registry import named

Values = NDArray[np.float64]
Indices = NDArray[np.intp]
FEWEST_PAIRS = 3
FEWEST_VIDEOS = 3
_SAME = 8 * np.finfo(np.float64).eps  # relative difference of a number that is computed in two ways

# "t" is the test of Fang et al., section V-C; "wilcoxon" drops differences of zero first, as Wilcoxon did:
# not by SciPy, which gives the asymptotic p in place of the exact one where it has dropped some
PAIRED_TESTS: dict[str, Callable[..., object]] = {
    "t": lambda differences: ttest_1samp(differences, 0.0),
    "wilcoxon": lambda differences: wilcoxon(differences[differences != 0]),
}


@dataclass(frozen=True)
class PairedTest:
    """A two-sided paired test of two series, such as the SROCC of two heads on the same splits.

    `mean_difference` is first − second. Statistic and p are NaN if undefined, and `note` says why.
    """

    pairs: int
    mean_difference: float
    statistic: float
    p: float
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.p) and not self.note:
            raise ArgumentError("p of a PairedTest is NaN and note is empty: say why there is no p")


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of the mean difference, first − second, of a measure of two heads over the splits.

    Attributes:
        low, high: NaN where there is no interval, and `note` says why.
        videos: number of videos that were resampled.
        resamples: number of resamples that count: the measure is defined in at least one split.
    """

    measure: str
    difference: float
    low: float
    high: float
    confidence: float
    videos: int
    resamples: int
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.low + self.high) and not self.note:
            raise ArgumentError("an end of an Interval is NaN and note is empty: say why there is none")


@dataclass(frozen=True)
class Comparison:
    """A test of two of several series; `p_holm` is p after Holm's correction, NaN where p is NaN."""

    first: str
    second: str
    test: PairedTest
    p_holm: float


def paired_test(first: ArrayLike, second: ArrayLike, name: str = "t") -> PairedTest:
    """Test whether two (run,) series differ by more than chance; pairs with a NaN are left out."""
    test = named("paired test", name, PAIRED_TESTS)
    a, b = _series("first", first), _series("second", second)
    if a.size != b.size:
        sizes = f"first has {a.size} values and second {b.size}"
        raise ArgumentError(f"{sizes}: give one for each run or video, in the same order")
    kept = ~(np.isnan(a) | np.isnan(b))
    notes = [] if kept.all() else [f"{np.count_nonzero(~kept)} of {kept.size} left out: NaN"]
    a, b = a[kept], b[kept]
    differences = a - b
    pairs, mean = differences.size, float(differences.mean()) if differences.size else math.nan
    differences[np.abs(differences) <= _SAME * np.maximum(np.abs(a), np.abs(b))] = 0.0
    if undefined := _undefined(differences, name):
        return PairedTest(pairs, mean, math.nan, math.nan, "; ".join([*notes, undefined]))
    result = test(differences)
    differing = int(np.count_nonzero(differences))
    if name == "wilcoxon" and 0.5 ** (differing - 1) > 0.05:
        notes.append(f"with {differing} pair(s) that differ, p is never below {0.5 ** (differing - 1):g}")
    statistic, p = (float(getattr(result, field)) for field in ("statistic", "pvalue"))
    return PairedTest(pairs, mean, statistic, p, "; ".join(notes))


def compare(
    series: Mapping[str, ArrayLike], name: str = "t", baseline: str | None = None
) -> tuple[Comparison, ...]:
    """Test several (run,) series against each other, or each against a baseline, with Holm's correction."""
    if len(series) < 2 or (baseline is not None and baseline not in series):
        given = ", ".join(series) or "none"
        missing = f" and the baseline '{baseline}'" if baseline else ""
        raise ArgumentError(f"series are {given}{missing}; give at least two, the baseline among them.")
    pairs = list(combinations(series, 2))
    if baseline is not None:
        pairs = [(other, baseline) for other in series if other != baseline]
    tests = [paired_test(series[first], series[second], name) for first, second in pairs]
    corrected = holm([test.p for test in tests])
    return tuple(Comparison(*pair, test, p) for pair, test, p in zip(pairs, tests, corrected, strict=True))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values after Holm's correction for their number; a NaN stays NaN and is not counted.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (1979).
    """
    p = np.array(p_values, dtype=np.float64)
    order = np.argsort(p)  # NaN are last
    remaining = np.count_nonzero(~np.isnan(p)) - np.arange(p.size)
    p[order] = np.maximum.accumulate(np.minimum(1.0, remaining * p[order]))
    return tuple(p.tolist())


def _series(name: str, given: ArrayLike) -> Values:
    values = np.array(given, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        allowed = "give a list of numbers, with NaN for a missing one"
        raise ArgumentError(f"{name} has shape {values.shape} or holds infinity: {allowed}")
    return values


def _undefined(differences: Values, name: str) -> str:
    """Return why a test is not defined; empty where it is."""
    if differences.size < FEWEST_PAIRS:
        return f"{differences.size} pair(s) are too few, a test needs at least {FEWEST_PAIRS}"
    if not differences.any():
        return "all differences are zero: there is nothing to test"
    if name == "t" and np.ptp(differences) <= _SAME * np.abs(differences).max():
        return "all differences are equal: t divides by their standard deviation, which is 0"
    return ""


_UNDEFINED = "the measure is not defined in any split"
_ROUNDING = 1e-12
_CHUNK = 2**20  # most counts in memory at once
_SIGNS = 2**20  # most signs of pairs of videos in memory at once


@dataclass(frozen=True, eq=False)
class PairedSplit:
    """The test part of one split, measured with two heads; all arrays are (video,).

    Attributes:
        first, second: scores of the heads, after the mapping where the measure has one. With a NaN in
            either, the split is left out.
        videos: name or number of each video, the same in all splits that test it.
        groups: number of each video's data set, None for a single one. The value of a split is the mean over
            the data sets, weighted by their numbers of videos.
    """

    first: Values
    second: Values
    mos: Values
    videos: NDArray[np.str_] | Indices
    groups: Indices | None = None

    def __post_init__(self) -> None:
        series = {name: values for name, values in vars(self).items() if values is not None}
        if len({values.shape for values in series.values()}) > 1 or self.mos.ndim != 1 or not self.mos.size:
            sizes = ", ".join(f"{name} {values.shape}" for name, values in series.items())
            raise ArgumentError(f"shapes of a PairedSplit are {sizes}: give one value for each video")
        if np.isinf([self.first, self.second]).any() or not np.isfinite(self.mos).all():
            raise ArgumentError("a PairedSplit has an infinite value or a NaN label: leave out the video")


def bootstrap_paired_difference(
    splits: Sequence[PairedSplit],
    measure: str = "srocc",
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of the mean difference over the splits when their videos are resampled.

    A resample draws as many videos as there are, with replacement, once for all splits and both heads. In
    each split, a video counts as often as it was drawn. Splits without a value are left out. The measure is
    `srocc`, `krocc`, `plcc` or `rmse`, without a mapping.

    Source: Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13, with videos as units.
    """
    rule = named("measure", measure, MEASURES)
    _check_at_least("number of splits", len(splits), 1)
    _check_at_least("resamples", resamples, 1)
    _check_at_least("seed", seed, 0)
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence is {confidence}; it has to be above 0 and below 1.")
    all_videos = np.unique(np.concatenate([split.videos for split in splits]))
    videos, low, high, means = all_videos.size, math.nan, math.nan, np.empty(0)
    parts = [(split, np.searchsorted(all_videos, split.videos)) for split in splits]
    whole = _differences(np.ones((1, videos)), parts, rule)[0]
    kept = [part for part, value in zip(parts, whole, strict=True) if not math.isnan(value)]
    difference = float(np.nanmean(whole)) if kept else math.nan
    lost = len(parts) - len(kept)
    notes = [f"{lost} of {len(parts)} splits left out: NaN"] if lost else []
    if videos < FEWEST_VIDEOS:
        notes.append(f"{videos} video(s) are too few, at least {FEWEST_VIDEOS} are needed")
    elif not kept:
        notes.append(_UNDEFINED)
    else:
        draws = _resampled_counts(videos, resamples, np.random.default_rng(seed))
        values = np.concatenate([_differences(one, kept, rule) for one in draws])
        means = np.nanmean(values[~np.isnan(values).all(axis=1)], axis=1)
        notes += _resample_notes(values)
    if means.size:
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    if difference < low - _ROUNDING or difference > high + _ROUNDING:
        notes.append("the interval does not contain the difference: repeated videos change the measure")
    return Interval(measure, difference, low, high, confidence, videos, means.size, "; ".join(notes))


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ArgumentError(f"{name} is {value}; it has to be at least {least}.")


# (resample, video) counts of each video, (video,) predictions and labels → (resample,) values or NaN
Rule = Callable[[Values, Values, Values], Values]


def _resampled_counts(videos: int, resamples: int, rng: np.random.Generator) -> Iterator[Values]:
    """Yield how often each video was drawn, (resample, video), for some resamples at a time."""
    step = max(1, _CHUNK // videos)
    for start in range(0, resamples, step):
        rows = rng.integers(0, videos, (min(step, resamples - start), videos))
        cells = rows + videos * np.arange(len(rows))[:, None]
        yield np.bincount(cells.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)


def _differences(counts: Values, parts: Sequence[tuple[PairedSplit, Indices]], rule: Rule) -> Values:
    """Return (resample, split) first − second, NaN where the measure is not defined."""
    measured = [
        [_measure(counts[:, columns], scores, split, rule) for scores in (split.first, split.second)]
        for split, columns in parts
    ]
    return np.stack([first - second for first, second in measured], axis=1)


def _measure(counts: Values, values: Values, split: PairedSplit, rule: Rule) -> Values:
    if np.isnan(values).any():
        return np.full(len(counts), math.nan)
    # the rules compute 0 / 0 where the measure is not defined
    with np.errstate(invalid="ignore", divide="ignore"):
        if split.groups is None:
            return rule(counts, values, split.mos)
        total = np.zeros(len(counts))
        for group in np.unique(split.groups):
            own = split.groups == group
            total += counts[:, own].sum(axis=1) * rule(counts[:, own], values[own], split.mos[own])
        return np.asarray(total / counts.sum(axis=1))


def _resample_notes(values: Values) -> list[str]:
    missing, notes = np.isnan(values), []
    lost, partial = missing.all(axis=1), missing.any(axis=1)
    if count := int(np.count_nonzero(lost)):
        notes.append(f"{count} of {len(values)} resamples left out: {_UNDEFINED}")
    if count := int(np.count_nonzero(partial & ~lost)):
        why = "a split is left out, in which the measure is not defined"
        notes.append(f"in {count} of {len(values)} resamples {why}")
    return notes


def _srocc(counts: Values, predictions: Values, mos: Values) -> Values:
    correlations = _correlation(counts, _midranks(counts, predictions), _midranks(counts, mos))
    return _where_both_vary(correlations, counts, predictions, mos)


def _krocc(counts: Values, predictions: Values, mos: Values) -> Values:
    agreeing = np.zeros(len(counts))
    # whole numbers below 2^24 are exact in float32
    exact = counts.astype(np.float32)
    step = max(1, _SIGNS // mos.size)
    for start in range(0, mos.size, step):
        rows = slice(start, start + step)
        signs = [np.sign(values[rows, None] - values).astype(np.float32) for values in (predictions, mos)]
        products = (exact @ (signs[0] * signs[1]).T).astype(np.float64)
        agreeing += np.einsum("rv,rv->r", products, counts[:, rows])
    pairs = counts.sum(axis=1) ** 2
    untied = [pairs - (_by_value(counts, values)[0] ** 2).sum(axis=1) for values in (predictions, mos)]
    return _where_both_vary(agreeing / np.sqrt(untied[0] * untied[1]), counts, predictions, mos)


def _plcc(counts: Values, predictions: Values, mos: Values) -> Values:
    return _where_both_vary(_correlation(counts, predictions, mos), counts, predictions, mos)


def _rmse(counts: Values, predictions: Values, mos: Values) -> Values:
    return np.asarray(np.sqrt(counts @ (predictions - mos) ** 2 / counts.sum(axis=1)))


MEASURES: dict[str, Rule] = {"srocc": _srocc, "krocc": _krocc, "plcc": _plcc, "rmse": _rmse}


def _by_value(counts: Values, values: Values) -> tuple[Values, Indices]:
    """Return (resample, value) counts of the different values, in rising order, and each video's value."""
    different, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(different.size))
    return np.add.reduceat(counts[:, order], starts, axis=1), group


def _midranks(counts: Values, values: Values) -> Values:
    """Return (resample, video) ranks from 1; equal values get the mean of their ranks."""
    grouped, group = _by_value(counts, values)
    return np.asarray((np.cumsum(grouped, axis=1) - grouped / 2 + 0.5)[:, group])


def _correlation(counts: Values, first: Values, second: Values) -> Values:
    """Return Pearson's correlation of (video,) or (resample, video) series in each resample, or 0 / 0."""
    total = counts.sum(axis=1, keepdims=True)
    a, b = (series - (counts * series).sum(axis=1, keepdims=True) / total for series in (first, second))
    weighted = counts * a
    scale = np.sqrt((weighted * a).sum(axis=1) * (counts * b * b).sum(axis=1))
    return np.asarray((weighted * b).sum(axis=1) / scale)


def _where_both_vary(correlations: Values, counts: Values, predictions: Values, mos: Values) -> Values:
    """Return (resample,) correlations, NaN where the drawn values of a side are equal up to rounding."""
    varies = np.ones(len(counts), dtype=np.bool_)
    for values in (predictions, mos):
        largest = np.where(counts > 0, values, -math.inf).max(axis=1)
        smallest = np.where(counts > 0, values, math.inf).min(axis=1)
        varies &= largest - smallest > _SAME * np.abs(values).max()
    return np.where(varies, correlations, math.nan)
