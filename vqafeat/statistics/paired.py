"""Paired tests of several heads over splits, with Holm's correction.

Splits that are drawn from one data set share videos, so the tests take them for more independent than they are: a small p over ten random
splits is weaker evidence than over ten data sets.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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
    """Return Wilcoxon's signed-rank statistic and its p; differences of zero are dropped first, as Wilcoxon did."""
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
    """Two of several series compared; `p_holm` is p corrected for the number of comparisons, NaN where p is."""

    first: str
    second: str
    test: PairedTest
    p_holm: float


def paired_test(first: ArrayLike, second: ArrayLike, name: str = "t") -> PairedTest:
    """Test whether two (run,) series differ in more than chance; pairs with a NaN are left out and counted in `note`.

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


def compare(series: Mapping[str, ArrayLike], name: str = "t", baseline: str | None = None) -> tuple[Comparison, ...]:
    """Test several (run,) series against each other, or each against a baseline, with Holm's correction.

    Raises:
        ArgumentError: as in `paired_test`, there are fewer than two series, or the baseline is not among them.
        UnknownNameError: `name` is neither `t` nor `wilcoxon`.
    """
    if len(series) < 2 or (baseline is not None and baseline not in series):
        asked = "" if baseline is None else f" and the baseline '{baseline}'"
        raise ArgumentError(f"series are {', '.join(series) or 'none'}{asked}; give at least two, the baseline among them.")
    pairs = list(combinations(series, 2)) if baseline is None else [(other, baseline) for other in series if other != baseline]
    tests = [paired_test(series[first], series[second], name) for first, second in pairs]
    corrected = holm([test.p for test in tests])
    return tuple(Comparison(*pair, test, p) for pair, test, p in zip(pairs, tests, corrected, strict=True))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for their number; NaN stays NaN and does not count.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (1979): the k-th smallest of m, from 0, times m − k, never
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
            raise ArgumentError(f"{name} has shape {values.shape} or holds infinity: give a list of numbers, NaN where there is none")
        series.append(values)
    if len({values.size for values in series}) > 1:
        sizes = ", ".join(f"{name} {values.size}" for (name, _), values in zip(named, series, strict=True))
        raise ArgumentError(f"numbers of values differ ({sizes}): give one for each run or video, in one order")
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
