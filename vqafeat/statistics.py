"""Paired tests of several heads over splits, with Holm's correction.

Splits that are drawn from one data set share videos, so the tests take them for more independent than they
are: a small p over ten random splits is weaker evidence than over ten data sets.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp, wilcoxon

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry

Values = NDArray[np.float64]
FEWEST_PAIRS = 3

# differences of paired values (none of them only a rounding) → statistic and two-sided p
PAIRED_TESTS: Registry[Callable[[Values], tuple[float, float]]] = Registry("paired test")


@PAIRED_TESTS.register("t")
def paired_t(differences: Values) -> tuple[float, float]:
    """Return Student's t of the differences' mean, and its p; the test of Fang et al., section V-C."""
    found = ttest_1samp(differences, 0.0)
    return float(found.statistic), float(found.pvalue)


@PAIRED_TESTS.register("wilcoxon")
def signed_rank(differences: Values) -> tuple[float, float]:
    """Return Wilcoxon's signed-rank statistic and its p; differences of zero are dropped first, as Wilcoxon
    did.
    """
    found = wilcoxon(differences)
    return float(found.statistic), float(found.pvalue)


@dataclass(frozen=True)
class PairedTest:
    """One paired test of two series, such as the SROCC of two heads on the same splits.

    Attributes:
        name: of the test.
        pairs: that went into it.
        mean_difference: first − second; NaN without pairs.
        statistic: NaN where the test is not defined.
        p: two-sided; NaN where the test is not defined.
        note: what a reader should know; says why where p is NaN.

    Raises:
        ArgumentError: p is NaN and `note` is empty.
    """

    name: str
    pairs: int
    mean_difference: float
    statistic: float
    p: float
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.p) and not self.note:
            raise ArgumentError("p of a PairedTest is NaN and note is empty: say why there is no p")


@dataclass(frozen=True)
class Comparison:
    """Two of several series compared; `p_holm` is p corrected for the number of comparisons, NaN where p
    is.
    """

    first: str
    second: str
    test: PairedTest
    p_holm: float


def paired_test(first: ArrayLike, second: ArrayLike, name: str = "t") -> PairedTest:
    """Test whether two (run,) series differ in more than chance; pairs with a NaN are left out and counted in
    `note`.

    Raises:
        ArgumentError: the series differ in length, are not one-dimensional, or hold infinity.
        UnknownNameError: `name` is neither `t` nor `wilcoxon`.
    """
    rule = PAIRED_TESTS.get(name)
    (a, b), notes = _complete(("first", first), ("second", second))
    differences = a - b
    mean = float(differences.mean()) if differences.size else math.nan
    # one number computed in two ways is no difference
    differences[np.abs(differences) <= 8 * np.finfo(np.float64).eps * np.maximum(np.abs(a), np.abs(b))] = 0.0
    if undefined := _undefined(differences, name):
        return PairedTest(name, differences.size, mean, math.nan, math.nan, "; ".join([*notes, undefined]))
    statistic, p = rule(differences)
    differing = int(np.count_nonzero(differences))
    if name == "wilcoxon" and 0.5 ** (differing - 1) > 0.05:
        notes.append(f"with {differing} pairs that differ p is never below {0.5 ** (differing - 1):g}")
    return PairedTest(name, differences.size, mean, statistic, p, "; ".join(notes))


def compare(
    series: Mapping[str, ArrayLike], name: str = "t", baseline: str | None = None
) -> tuple[Comparison, ...]:
    """Test several (run,) series against each other, or each against a baseline, with Holm's correction.

    Raises:
        ArgumentError: as in `paired_test`, there are fewer than two series, or the baseline is not among
            them.
        UnknownNameError: `name` is neither `t` nor `wilcoxon`.
    """
    if len(series) < 2 or (baseline is not None and baseline not in series):
        asked = "" if baseline is None else f" and the baseline '{baseline}'"
        raise ArgumentError(
            f"series are {', '.join(series) or 'none'}{asked}; give at least two, the baseline among them."
        )
    pairs = (
        list(combinations(series, 2))
        if baseline is None
        else [(other, baseline) for other in series if other != baseline]
    )
    tests = [paired_test(series[first], series[second], name) for first, second in pairs]
    corrected = holm([test.p for test in tests])
    return tuple(Comparison(*pair, test, p) for pair, test, p in zip(pairs, tests, corrected, strict=True))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for their number; NaN stays NaN and does not count.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (1979): the k-th smallest of m,
        from 0, times m − k, never
    below the one before it, at most 1.
    """
    corrected, largest = list(p_values), 0.0
    defined = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    for rank, (p, position) in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p))
        corrected[position] = largest
    return tuple(corrected)


def _complete(*named: tuple[str, ArrayLike]) -> tuple[list[Values], list[str]]:
    """Return the series without the places where one of them is NaN, and a note that counts these."""
    series = []
    for name, given in named:
        values = np.array(given, dtype=np.float64)
        if values.ndim != 1 or np.isinf(values).any():
            raise ArgumentError(
                f"{name} has shape {values.shape} or holds infinity: give a list of numbers, NaN where "
                f"there is none"
            )
        series.append(values)
    if len({values.size for values in series}) > 1:
        sizes = ", ".join(f"{name} {values.size}" for (name, _), values in zip(named, series, strict=True))
        raise ArgumentError(
            f"numbers of values differ ({sizes}): give one for each run or video, in one order"
        )
    kept = ~np.isnan(np.stack(series)).any(axis=0)
    lost = kept.size - int(kept.sum())
    return [values[kept] for values in series], [f"{lost} of {kept.size} left out: NaN"] if lost else []


def _undefined(differences: Values, name: str) -> str:
    """Return why a test is not defined, or nothing."""
    if differences.size < FEWEST_PAIRS:
        return f"{differences.size} pair(s) are too few, a test takes at least {FEWEST_PAIRS}"
    if not differences.any():
        return "all differences are zero: there is nothing to test"
    if name == "t" and np.ptp(differences) <= 8 * np.finfo(np.float64).eps * np.abs(differences).max():
        return "all differences are equal: without any spread there is no t"
    return ""


Places = NDArray[np.intp]
# (resample, video) how often each video was drawn, (video,) predictions and (video,) labels → (resample,)
# numbers, NaN without one
Rule = Callable[[Values, Values, Values], Values]
MEASURES: Registry[Rule] = Registry("measure")

FEWEST_VIDEOS = 3
_UNDEFINED = "the measure is not defined in any split"
_ROUNDING = 1e-12
_CHUNK = 2**20  # weights that are held at once
_SIGNS = 2**20  # signs of pairs of videos that are held at once


@MEASURES.register("srocc")
def _srocc(drawn: Values, predictions: Values, mos: Values) -> Values:
    return _where_both_vary(
        _correlation(drawn, _midranks(drawn, predictions), _midranks(drawn, mos)), drawn, predictions, mos
    )


@MEASURES.register("krocc")
def _krocc(drawn: Values, predictions: Values, mos: Values) -> Values:
    agreeing = np.zeros(len(drawn))
    # whole numbers below 2^24 are exact in float32
    counts = drawn.astype(np.float32)
    step = max(1, _SIGNS // mos.size)
    for start in range(0, mos.size, step):
        rows = slice(start, start + step)
        signs = [np.sign(values[rows, None] - values).astype(np.float32) for values in (predictions, mos)]
        agreeing += np.einsum(
            "rv,rv->r", (counts @ (signs[0] * signs[1]).T).astype(np.float64), drawn[:, rows]
        )
    untied = [
        drawn.sum(axis=1) ** 2 - (_by_value(drawn, values)[0] ** 2).sum(axis=1)
        for values in (predictions, mos)
    ]
    return _where_both_vary(agreeing / np.sqrt(untied[0] * untied[1]), drawn, predictions, mos)


@MEASURES.register("plcc")
def _plcc(drawn: Values, predictions: Values, mos: Values) -> Values:
    return _where_both_vary(_correlation(drawn, predictions, mos), drawn, predictions, mos)


@MEASURES.register("rmse")
def _rmse(drawn: Values, predictions: Values, mos: Values) -> Values:
    return np.asarray(np.sqrt(drawn @ (predictions - mos) ** 2 / drawn.sum(axis=1)))


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of the mean difference of a measure between two heads over the splits.

    Attributes:
        measure: its name.
        difference: first − second, the mean over the splits.
        low: lower end; NaN where there is none.
        high: upper end; NaN where there is none.
        confidence: share of the resamples in between.
        videos: that were drawn from.
        resamples: in which the measure was defined in a split.
        note: what a reader should know; says why where there is no interval.

    Raises:
        ArgumentError: an end is NaN and `note` is empty.
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


@dataclass(frozen=True, eq=False)
class PairedSplit:
    """The test part of one split, measured with two heads.

    Attributes:
        first: (video,) what one head says of the videos, after the mapping for a measure that is read after
            one; a split with a NaN here or in `second` has no value.
        second: (video,) what the other says.
        mos: (video,) labels.
        videos: (video,) number of each video, the same in all splits that test it.
        groups: (video,) number of the data set that a video is from; each is measured by itself, and their
            mean, weighted by their videos, is the split's value. None where there is one data set.

    Raises:
        ArgumentError: the series differ in length, are not one-dimensional, are empty, or hold infinity; or a
            label is NaN.
    """

    first: Values
    second: Values
    mos: Values
    videos: Places
    groups: Places | None = None

    def __post_init__(self) -> None:
        series = {name: values for name, values in vars(self).items() if values is not None}
        sizes = ", ".join(f"{name} {values.shape}" for name, values in series.items())
        if len({values.shape for values in series.values()}) > 1 or self.mos.ndim != 1 or not self.mos.size:
            raise ArgumentError(f"shapes of a PairedSplit are {sizes}: give one value a video, in one order")
        if (
            any(np.isinf(values).any() for values in (self.first, self.second))
            or not np.isfinite(self.mos).all()
        ):
            raise ArgumentError(
                "a PairedSplit holds infinity, or a label that is NaN: leave these videos out"
            )


def bootstrap_paired_difference(
    splits: Sequence[PairedSplit],
    measure: str = "srocc",
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of the mean difference over the splits when the videos of all splits are
    drawn anew.

    A resample draws as many videos as there are, with replacement, once for all splits and both heads. Each
    split is then measured with each of its videos as often as it was drawn. A split without a value is left
    out of the mean, in the whole or in a resample.

    Source: Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13; the videos are the
        units that are drawn.

    Args:
        splits: the test parts.
        measure: `srocc`, `krocc`, `plcc` or `rmse`, the last two of the values as they are given.
        confidence: above 0 and below 1.
        resamples: how often videos are drawn.
        seed: the same seed gives the same interval.

    Raises:
        ArgumentError: a number is out of range, or there is no split.
        UnknownNameError: there is no such measure.
    """
    rule = MEASURES.get(measure)
    if not splits or not 0 < confidence < 1 or resamples < 1 or seed < 0:
        raise ArgumentError(
            f"splits are {len(splits)}, confidence is {confidence}, resamples is {resamples} and seed is "
            f"{seed}; allowed are at least 1, "
            "above 0 and below 1, at least 1, and at least 0."
        )
    videos, parts = _placed(splits)
    whole = _differences(np.ones((1, videos)), parts, rule)[0]
    kept = [part for part, value in zip(parts, whole, strict=True) if not math.isnan(value)]
    difference = float(np.nanmean(whole)) if kept else math.nan
    notes = (
        [f"{len(parts) - len(kept)} of {len(parts)} splits left out: NaN"] if len(kept) < len(parts) else []
    )
    if videos < FEWEST_VIDEOS or not kept:
        notes.append(
            f"{videos} video(s) are too few, at least {FEWEST_VIDEOS} are needed"
            if videos < FEWEST_VIDEOS
            else _UNDEFINED
        )
        return Interval(measure, difference, math.nan, math.nan, confidence, videos, 0, "; ".join(notes))
    chunks = _drawn(videos, resamples, np.random.default_rng(seed))
    found, own_notes = _means(np.concatenate([_differences(drawn, kept, rule) for drawn in chunks]))
    low, high = (
        np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
        if found.size
        else (math.nan, math.nan)
    )
    if difference < low - _ROUNDING or difference > high + _ROUNDING:
        own_notes.append(
            "the interval does not contain the difference: the measure changes where drawn videos repeat"
        )
    return Interval(
        measure, difference, low, high, confidence, videos, found.size, "; ".join([*notes, *own_notes])
    )


def _placed(splits: Sequence[PairedSplit]) -> tuple[int, list[tuple[PairedSplit, Places]]]:
    """Return the number of different videos, and each split with the places of its videos among these."""
    videos, places = np.unique(np.concatenate([split.videos for split in splits]), return_inverse=True)
    columns = np.split(places, np.cumsum([split.mos.size for split in splits])[:-1])
    return videos.size, list(zip(splits, columns, strict=True))


def _drawn(videos: int, resamples: int, rng: np.random.Generator) -> Iterator[Values]:
    """Yield (resample, video) how often each video was drawn, some resamples at a time."""
    step = max(1, _CHUNK // videos)
    for start in range(0, resamples, step):
        rows = rng.integers(0, videos, (min(step, resamples - start), videos))
        places = rows + videos * np.arange(len(rows))[:, None]
        yield np.bincount(places.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)


def _differences(drawn: Values, parts: Sequence[tuple[PairedSplit, Places]], rule: Rule) -> Values:
    """Return (resample, split) first − second, NaN where the measure is not defined."""
    found = np.empty((len(drawn), len(parts)))
    for number, (split, places) in enumerate(parts):
        own = drawn[:, places]
        found[:, number] = _of_split(own, split.first, split, rule) - _of_split(
            own, split.second, split, rule
        )
    return found


def _of_split(drawn: Values, values: Values, split: PairedSplit, rule: Rule) -> Values:
    if np.isnan(values).any():
        return np.full(len(drawn), math.nan)
    # 0 / 0 stands for a measure that is not defined
    with np.errstate(invalid="ignore", divide="ignore"):
        if split.groups is None:
            return rule(drawn, values, split.mos)
        total = np.zeros(len(drawn))
        for group in np.unique(split.groups):
            own = split.groups == group
            total += drawn[:, own].sum(axis=1) * rule(drawn[:, own], values[own], split.mos[own])
        return np.asarray(total / drawn.sum(axis=1))


def _means(values: Values) -> tuple[Values, list[str]]:
    """Return the means over the splits of the resamples that have one, and what to know about the others."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=1)
    notes = []
    if lost := int(np.count_nonzero(counts == 0)):
        notes.append(f"{lost} of {len(values)} resamples left out: {_UNDEFINED}")
    if partial := int(np.count_nonzero((counts > 0) & (counts < values.shape[1]))):
        notes.append(
            f"in {partial} of {len(values)} resamples a split is left out: the measure is not defined there"
        )
    some = counts > 0
    return np.where(defined, values, 0.0)[some].sum(axis=1) / counts[some], notes


def _by_value(drawn: Values, values: Values) -> tuple[Values, Places]:
    """Return (resample, group) how often each of the different values was drawn, in rising order, and each
    video's group.
    """
    different, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    return np.add.reduceat(
        drawn[:, order], np.searchsorted(group[order], np.arange(different.size)), axis=1
    ), group


def _midranks(drawn: Values, values: Values) -> Values:
    """Return (resample, video) ranks from 1; equal values have the mean of their ranks."""
    counts, group = _by_value(drawn, values)
    return np.asarray((np.cumsum(counts, axis=1) - counts / 2 + 0.5)[:, group])


def _correlation(drawn: Values, first: Values, second: Values) -> Values:
    """Return Pearson's correlation of (video,) or (resample, video) series in each resample; 0 / 0 where one
    is constant.
    """
    total = drawn.sum(axis=1)

    def centred(values: Values) -> Values:
        whole = np.broadcast_to(values, drawn.shape)
        return np.asarray(whole - (np.einsum("rv,rv->r", drawn, whole) / total)[:, None])

    a, b = centred(first), centred(second)
    weighted = drawn * a
    scale = np.sqrt(np.einsum("rv,rv->r", weighted, a) * np.einsum("rv,rv,rv->r", drawn, b, b))
    return np.asarray(np.einsum("rv,rv->r", weighted, b) / scale)


def _where_both_vary(found: Values, drawn: Values, predictions: Values, mos: Values) -> Values:
    """Return (resample,) correlations with NaN where the drawn values of a side differ in no more than
    rounding.
    """
    there = drawn > 0
    varies = np.ones(len(drawn), dtype=np.bool_)
    for values in (predictions, mos):
        ranges = np.where(there, values, -math.inf).max(axis=1) - np.where(there, values, math.inf).min(
            axis=1
        )
        varies &= ranges > 8 * np.finfo(np.float64).eps * np.abs(values).max()
    return np.where(varies, found, math.nan)


__all__ = [
    "MEASURES",
    "PAIRED_TESTS",
    "Comparison",
    "Interval",
    "PairedSplit",
    "PairedTest",
    "bootstrap_paired_difference",
    "compare",
    "holm",
    "paired_test",
]
