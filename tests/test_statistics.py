"""Paired tests and intervals against SciPy, Holm's correction against its definition, and where nothing can be said."""

from math import inf, isnan, nan

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, pearsonr, spearmanr, ttest_rel, wilcoxon

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.statistics import Interval, PairedTest, bootstrap_difference, compare, holm, paired_test

RNG = np.random.default_rng(0)
FIRST = RNG.normal(0.8, 0.02, 10)
SECOND = FIRST - RNG.normal(0.01, 0.01, 10)


def test_paired_tests_equal_scipy() -> None:
    expected = ttest_rel(FIRST, SECOND)
    found = paired_test(FIRST, SECOND)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert (found.name, found.pairs, found.mean_difference, found.note) == ("t", 10, pytest.approx((FIRST - SECOND).mean()), "")
    ranked = wilcoxon(FIRST, SECOND)
    found = paired_test(FIRST, SECOND, "wilcoxon")
    assert (found.statistic, found.p, found.note) == (ranked.statistic, pytest.approx(ranked.pvalue), "")


def test_student_s_own_example() -> None:
    # "The probable error of a mean" (1908): hours of sleep gained with two drugs; t = 4.06 on 9 degrees of freedom
    dextro = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    laevo = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_test(laevo, dextro)
    assert found.statistic == pytest.approx(4.0621, abs=1e-4)
    assert found.p == pytest.approx(0.00283, abs=1e-5)


def test_pairs_with_nan_are_left_out_and_counted() -> None:
    first, second = FIRST.copy(), SECOND.copy()
    first[3], second[[3, 7]] = nan, nan
    kept = [row for row in range(10) if row not in (3, 7)]
    found = paired_test(first, second)
    assert found.p == pytest.approx(ttest_rel(FIRST[kept], SECOND[kept]).pvalue)
    assert (found.pairs, found.note) == (8, "2 of 10 left out: NaN")


@pytest.mark.parametrize(
    ("first", "second", "name", "pairs", "note"),
    [
        ([0.5, 0.6], [0.4, 0.7], "t", 2, "2 pair(s) are too few, a test takes at least 3"),
        ([nan, nan, 0.1], [0.2, 0.3, nan], "wilcoxon", 0, "3 of 3 left out: NaN; 0 pair(s) are too few, a test takes at least 3"),
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "t", 3, "all differences are zero: there is nothing to test"),
        ([0.3, 0.6, 0.7], [0.1 + 0.2, 0.6, 0.7], "wilcoxon", 3, "all differences are zero: there is nothing to test"),
        ([0.5, 0.6, 0.7], [0.25, 0.35, 0.45], "t", 3, "all differences are equal: without any spread there is no t"),
    ],
)
def test_where_a_test_is_not_defined_it_says_why(first: list[float], second: list[float], name: str, pairs: int, note: str) -> None:
    found = paired_test(first, second, name)
    assert (isnan(found.p), isnan(found.statistic), found.pairs, found.note) == (True, True, pairs, note)


def test_wilcoxon_says_how_small_its_p_can_be() -> None:
    found = paired_test([1, 2, 3, 4.5, 5], [0.9, 1.8, 2.7, 4.1, 5], "wilcoxon")
    assert found.note == "with 4 pairs that differ p is never below 0.125"
    assert found.p >= 0.125


def test_series_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"numbers of values differ \(first 3, second 2\): give one for each run or video"):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(ArgumentError, match=r"second has shape \(3,\) or holds infinity: give a list of numbers"):
        paired_test([1, 2, 3], [1, 2, inf])
    with pytest.raises(ArgumentError, match=r"first has shape \(1, 3\)"):
        paired_test([[1, 2, 3]], [1, 2, 3])
    with pytest.raises(UnknownNameError, match=r"unknown paired test 'wilcox': did you mean wilcoxon"):
        paired_test([1, 2, 3], [1, 2, 4], "wilcox")
    with pytest.raises(ArgumentError, match="p of a PairedTest is NaN and note is empty"):
        PairedTest("t", 0, nan, nan, nan)
    with pytest.raises(ArgumentError, match="an end of an Interval is NaN and note is empty"):
        Interval("srocc", nan, nan, nan, 0.95, 0, 0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.01, nan, 0.5, 0.9]) == pytest.approx((0.03, nan, 1.0, 1.0), nan_ok=True)
    assert holm([]) == ()


def test_holm_rejects_what_the_stepwise_procedure_rejects() -> None:
    rng = np.random.default_rng(1)
    for level in (0.01, 0.05, 0.2):
        p_values = rng.uniform(0, 0.1, 7).tolist()
        rejected: set[float] = set()
        for rank, p in enumerate(sorted(p_values)):
            if p > level / (7 - rank):
                break
            rejected.add(p)
        assert {p for p, corrected in zip(p_values, holm(p_values), strict=True) if corrected <= level} == rejected


def test_several_series_are_compared() -> None:
    series = {"gru": FIRST, "lstm": SECOND, "none": FIRST - 0.05 + RNG.normal(0, 0.01, 10)}
    found = compare(series)
    assert [(item.first, item.second) for item in found] == [("gru", "lstm"), ("gru", "none"), ("lstm", "none")]
    assert [item.test for item in found] == [paired_test(series[item.first], series[item.second]) for item in found]
    assert [item.p_holm for item in found] == list(holm([item.test.p for item in found]))
    against = compare({**series, "same": FIRST}, "wilcoxon", baseline="gru")
    assert [(item.first, item.second) for item in against] == [("lstm", "gru"), ("none", "gru"), ("same", "gru")]
    assert isnan(against[2].p_holm)
    assert against[0].p_holm == holm([item.test.p for item in against[:2]])[0]
    with pytest.raises(ArgumentError, match="series are gru; give at least two, the baseline among them"):
        compare({"gru": FIRST})
    with pytest.raises(ArgumentError, match="series are gru, lstm, none and the baseline 'svr'; give at least two"):
        compare(series, baseline="svr")


def predictions(videos: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    mos = rng.uniform(1, 5, videos)
    return mos + rng.normal(0, 0.5, videos), mos + rng.normal(0, 1.5, videos), mos


@pytest.mark.parametrize(("measure", "function"), [("srocc", spearmanr), ("krocc", kendalltau), ("plcc", pearsonr)])
def test_intervals_equal_scipy(measure: str, function: object) -> None:
    first, second, mos = predictions()

    def difference(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
        return function(a, labels).statistic - function(b, labels).statistic  # type: ignore[operator]

    expected = bootstrap(
        (first, second, mos), difference, paired=True, vectorized=False, n_resamples=200, method="percentile", rng=np.random.default_rng(5)
    )
    found = bootstrap_difference(first, second, mos, measure, resamples=200, seed=5)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=1e-12)
    assert found.difference == pytest.approx(difference(first, second, mos), abs=1e-15)
    assert (found.confidence, found.videos, found.resamples, found.note) == (0.95, 40, 200, "")


def test_intervals_follow_the_seed_and_narrow_with_confidence() -> None:
    first, second, mos = predictions()
    found = bootstrap_difference(first, second, mos, resamples=300)
    assert found == bootstrap_difference(first, second, mos, resamples=300)
    assert found != bootstrap_difference(first, second, mos, resamples=300, seed=1)
    assert 0 < found.low < found.difference < found.high
    narrow = bootstrap_difference(first, second, mos, resamples=300, confidence=0.5)
    assert found.low < narrow.low < narrow.high < found.high
    same = bootstrap_difference(first, first, mos, resamples=50)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_videos_with_nan_and_resamples_without_measure_are_left_out() -> None:
    first, second, mos = predictions(4)
    found = bootstrap_difference([*first, nan], [*second, 1.0], [*mos, 2.0], resamples=2000)
    assert found.videos == 4
    # 4 of the 256 draws of four from four are one video four times
    assert found.resamples == pytest.approx(2000 * 252 / 256, abs=15)
    assert found.note == f"1 of 5 left out: NaN; {2000 - found.resamples} of 2000 resamples left out: all their values are equal"
    assert bootstrap_difference(first, second, mos, resamples=2000).low == found.low


def test_where_there_is_no_interval_it_says_why() -> None:
    few = bootstrap_difference([1, 2], [2, 1], [1, 2])
    assert (isnan(few.low), few.resamples, few.note) == (True, 0, "2 video(s) are too few, at least 3 are needed")
    constant = bootstrap_difference([1, 1, 1], [2, 1, 3], [1, 2, 3])
    assert (isnan(constant.high), constant.note) == (True, "constant predictions or labels: the measure is not defined")


def test_arguments_of_intervals_are_checked() -> None:
    first, second, mos = predictions()
    for change in ({"confidence": 1.0}, {"resamples": 0}, {"seed": -1}):
        with pytest.raises(ArgumentError, match=r"confidence is .*, resamples is .* and seed is .*; allowed are above 0 and below 1"):
            bootstrap_difference(first, second, mos, **change)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"unknown measure 'scc': did you mean srcc|srocc"):
        bootstrap_difference(first, second, mos, "scc")
