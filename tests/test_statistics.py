"""Paired tests and intervals against SciPy, Holm's correction against its definition, and where nothing can
be said.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, pearsonr, rankdata, spearmanr, ttest_rel, wilcoxon

from vqafeat import statistics
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.statistics import (
    MEASURES,
    Interval,
    PairedSplit,
    PairedTest,
    bootstrap_paired_difference,
    compare,
    holm,
    paired_test,
)

Measure = Callable[[np.ndarray, np.ndarray], float]

RNG = np.random.default_rng(0)
FIRST = RNG.normal(0.8, 0.02, 10)
SECOND = FIRST - RNG.normal(0.01, 0.01, 10)


def test_paired_test__equals_scipy() -> None:
    expected = ttest_rel(FIRST, SECOND)
    result = paired_test(FIRST, SECOND)
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert (result.pairs, result.mean_difference, result.note) == (
        10,
        pytest.approx((FIRST - SECOND).mean()),
        "",
    )
    ranked = wilcoxon(FIRST, SECOND)
    result = paired_test(FIRST, SECOND, "wilcoxon")
    assert (result.statistic, result.p, result.note) == (ranked.statistic, pytest.approx(ranked.pvalue), "")


def test_paired_test__equals_the_example_of_student() -> None:
    # "The probable error of a mean" (1908): hours of sleep gained with two drugs; t = 4.06 on 9 degrees of
    # freedom
    dextro = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    laevo = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    result = paired_test(laevo, dextro)
    assert result.statistic == pytest.approx(4.0621, abs=1e-4)
    assert result.p == pytest.approx(0.00283, abs=1e-5)


def test_paired_test__leaves_out_and_counts_pairs_with_nan() -> None:
    first, second = FIRST.copy(), SECOND.copy()
    first[3], second[[3, 7]] = nan, nan
    kept = [row for row in range(10) if row not in (3, 7)]
    result = paired_test(first, second)
    assert result.p == pytest.approx(ttest_rel(FIRST[kept], SECOND[kept]).pvalue)
    assert (result.pairs, result.note) == (8, "2 of 10 left out: NaN")


@pytest.mark.parametrize(
    ("first", "second", "name", "pairs", "note"),
    [
        ([0.5, 0.6], [0.4, 0.7], "t", 2, "2 pair(s) are too few, a test needs at least 3"),
        (
            [nan, nan, 0.1],
            [0.2, 0.3, nan],
            "wilcoxon",
            0,
            "3 of 3 left out: NaN; 0 pair(s) are too few, a test needs at least 3",
        ),
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "t", 3, "all differences are zero: there is nothing to test"),
        (
            [0.3, 0.6, 0.7],
            [0.1 + 0.2, 0.6, 0.7],
            "wilcoxon",
            3,
            "all differences are zero: there is nothing to test",
        ),
        (
            [0.5, 0.6, 0.7],
            [0.25, 0.35, 0.45],
            "t",
            3,
            "all differences are equal: t divides by their standard deviation, which is 0",
        ),
    ],
)
def test_paired_test__says_why_a_test_is_not_defined(
    first: list[float], second: list[float], name: str, pairs: int, note: str
) -> None:
    result = paired_test(first, second, name)
    assert (isnan(result.p), isnan(result.statistic), result.pairs, result.note) == (True, True, pairs, note)


def test_paired_test__wilcoxon_says_how_small_its_p_can_be() -> None:
    result = paired_test([1, 2, 3, 4.5, 5], [0.9, 1.8, 2.7, 4.1, 5], "wilcoxon")
    assert result.note == "with 4 pair(s) that differ, p is never below 0.125"
    assert result.p >= 0.125


def test_paired_test__wilcoxon_is_exact_next_to_zeros() -> None:
    # by counting the signs of the differing pairs that are at least as uneven as these
    for differences in ([1, 2, 3, 4], [1, 2, 3, 4, -5, 6, 7], [1, 1, 2, 3, -3, 5]):
        ranks = rankdata(np.abs(differences))
        signs = np.array(list(product((-1, 1), repeat=len(ranks))))
        uneven = np.abs(signs @ ranks) >= abs(np.sign(differences) @ ranks)
        given = [*differences, *[0] * 16]
        assert paired_test(given, [0] * len(given), "wilcoxon").p == pytest.approx(uneven.mean())


def test_paired_test__refuses_wrong_series() -> None:
    with pytest.raises(
        ArgumentError, match="first has 3 values and second 2: give one for each run or video"
    ):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(
        ArgumentError, match=r"second has shape \(3,\) or holds infinity: give a list of numbers"
    ):
        paired_test([1, 2, 3], [1, 2, inf])
    with pytest.raises(ArgumentError, match=r"first has shape \(1, 3\)"):
        paired_test([[1, 2, 3]], [1, 2, 3])
    with pytest.raises(UnknownNameError, match=r"unknown paired test 'wilcox': did you mean wilcoxon"):
        paired_test([1, 2, 3], [1, 2, 4], "wilcox")


def test_holm__equals_a_computation_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.01, nan, 0.5, 0.9]) == pytest.approx((0.03, nan, 1.0, 1.0), nan_ok=True)
    assert holm([]) == ()


def test_holm__rejects_what_the_stepwise_procedure_rejects() -> None:
    rng = np.random.default_rng(1)
    for level in (0.01, 0.05, 0.2):
        p_values = rng.uniform(0, 0.1, 7).tolist()
        rejected: set[float] = set()
        for rank, p in enumerate(sorted(p_values)):
            if p > level / (7 - rank):
                break
            rejected.add(p)
        assert {
            p for p, corrected in zip(p_values, holm(p_values), strict=True) if corrected <= level
        } == rejected


def test_compare__compares_several_series() -> None:
    series = {"gru": FIRST, "lstm": SECOND, "none": FIRST - 0.05 + RNG.normal(0, 0.01, 10)}
    result = compare(series)
    assert [(item.first, item.second) for item in result] == [
        ("gru", "lstm"),
        ("gru", "none"),
        ("lstm", "none"),
    ]
    assert [item.test for item in result] == [
        paired_test(series[item.first], series[item.second]) for item in result
    ]
    assert [item.p_holm for item in result] == list(holm([item.test.p for item in result]))
    against = compare({**series, "same": FIRST}, "wilcoxon", baseline="gru")
    assert [(item.first, item.second) for item in against] == [
        ("lstm", "gru"),
        ("none", "gru"),
        ("same", "gru"),
    ]
    assert isnan(against[2].p_holm)
    assert against[0].p_holm == holm([item.test.p for item in against[:2]])[0]
    with pytest.raises(ArgumentError, match="series are gru; give at least two, the baseline among them"):
        compare({"gru": FIRST})
    with pytest.raises(
        ArgumentError, match="series are gru, lstm, none and the baseline 'svr'; give at least two"
    ):
        compare(series, baseline="svr")


def test_results__need_a_note_where_a_number_is_missing() -> None:
    with pytest.raises(ArgumentError, match="p of a PairedTest is NaN and note is empty"):
        PairedTest(0, nan, nan, nan)
    with pytest.raises(ArgumentError, match="an end of an Interval is NaN and note is empty"):
        Interval("srocc", nan, nan, nan, 0.95, 0, 0)


def _correlation(function: Any) -> Measure:
    def measure(predictions: np.ndarray, mos: np.ndarray) -> float:
        if predictions.size < 2 or not np.ptp(predictions) or not np.ptp(mos):
            return nan
        return float(function(predictions, mos).statistic)

    return measure


def _rmse(predictions: np.ndarray, mos: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predictions - mos) ** 2))) if mos.size else nan


SCIPY: dict[str, Measure] = {
    "srocc": _correlation(spearmanr),
    "krocc": _correlation(kendalltau),
    "plcc": _correlation(pearsonr),
    "rmse": _rmse,
}


def one_split(videos: int = 40) -> PairedSplit:
    rng = np.random.default_rng(2)
    mos = rng.uniform(1, 5, videos)
    return PairedSplit(
        mos + rng.normal(0, 0.5, videos), mos + rng.normal(0, 1.5, videos), mos, np.arange(videos)
    )


def overlapping_splits(splits: int, tested: int, videos: int, groups: int = 1) -> list[PairedSplit]:
    """Return test parts that share videos, with ties in predictions and labels."""
    rng = np.random.default_rng(splits)
    mos = rng.integers(0, 8, videos) / 2
    result = []
    for _ in range(splits):
        own = rng.choice(videos, tested, replace=False)
        first, second = (np.round(mos[own] + rng.normal(0, spread, tested), 1) for spread in (0.5, 1.5))
        result.append(
            PairedSplit(first, second, mos[own], 10 * own + 3, own % groups if groups > 1 else None)
        )
    return result


def by_hand(
    splits: Sequence[PairedSplit], rule: Measure, resamples: int, seed: int = 0
) -> tuple[float, list[float]]:
    """Return the estimate, and the values of its resamples that have one, by lists in which drawn videos
    repeat.
    """
    videos = sorted({int(video) for split in splits for video in split.videos})
    rng = np.random.default_rng(seed)

    def estimate(sampled: Sequence[int]) -> float:
        differences = []
        for split in splits:
            groups = np.zeros(split.mos.size) if split.groups is None else split.groups
            rows = np.array(
                [row for video in sampled for row in np.flatnonzero(split.videos == video)], dtype=int
            )
            parts = [rows[groups[rows] == group] for group in np.unique(groups)]
            values = [
                rule(split.first[part], split.mos[part]) - rule(split.second[part], split.mos[part])
                for part in parts
            ]
            sizes = [part.size for part in parts]
            differences.append(np.dot(values, sizes) / sum(sizes) if sum(sizes) else nan)
        return float(np.nanmean(differences)) if not np.isnan(differences).all() else nan

    result = [
        estimate([videos[index] for index in rng.integers(0, len(videos), len(videos))])
        for _ in range(resamples)
    ]
    return estimate(videos), [value for value in result if not isnan(value)]


@pytest.mark.parametrize("measure", list(SCIPY))
@pytest.mark.parametrize("steps", [2, 7, 10**6])
def test_weighted_measures__equal_scipy_on_repeated_videos(measure: str, steps: int) -> None:
    rng = np.random.default_rng(steps)
    for videos in (2, 5, 23):
        predictions, mos = rng.integers(0, steps, (2, videos)) / 4 + 1000.1
        sampled = rng.multinomial(videos, np.full(videos, 1 / videos), 60).astype(float)
        with np.errstate(invalid="ignore"):
            result = MEASURES[measure](sampled, predictions, mos)
        repeated = [np.repeat(np.arange(videos), counts.astype(int)) for counts in sampled]
        expected = [SCIPY[measure](predictions[rows], mos[rows]) for rows in repeated]
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=1e-9 if measure == "plcc" and steps > 10 else 1e-12
        )


@pytest.mark.parametrize("measure", list(SCIPY))
def test_bootstrap_paired_difference__of_one_split_equals_scipy(measure: str) -> None:
    split, rule = one_split(), SCIPY[measure]

    def difference(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
        return rule(a, labels) - rule(b, labels)

    columns = (split.first, split.second, split.mos)
    expected = bootstrap(
        columns,
        difference,
        paired=True,
        vectorized=False,
        n_resamples=200,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    result = bootstrap_paired_difference([split], measure, resamples=200, seed=5)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval), abs=1e-12)
    assert result.difference == pytest.approx(difference(*columns), abs=1e-15)
    assert (result.measure, result.confidence, result.videos, result.resamples, result.note) == (
        measure,
        0.95,
        40,
        200,
        "",
    )


@pytest.mark.parametrize("measure", list(SCIPY))
@pytest.mark.parametrize("groups", [1, 2])
def test_bootstrap_paired_difference__redraws_a_video_once_for_all_splits(measure: str, groups: int) -> None:
    splits = overlapping_splits(4, 15, 30, groups)
    estimate, values = by_hand(splits, SCIPY[measure], resamples=150)
    result = bootstrap_paired_difference(splits, measure, resamples=150)
    assert result.difference == pytest.approx(estimate, abs=1e-12)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)
    assert (result.videos, result.resamples) == (
        len({int(video) for split in splits for video in split.videos}),
        len(values),
    )


def test_bootstrap_paired_difference__difference_equals_the_paired_test() -> None:
    splits = overlapping_splits(5, 12, 20)
    series = [
        [SCIPY["krocc"](getattr(split, name), split.mos) for split in splits] for name in ("first", "second")
    ]
    result = bootstrap_paired_difference(splits, "krocc", resamples=50)
    assert result.difference == pytest.approx(paired_test(*series).mean_difference, abs=1e-14)


@pytest.mark.parametrize("measure", list(SCIPY))
def test_bootstrap_paired_difference__does_not_depend_on_the_chunk_size(
    measure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = overlapping_splits(3, 15, 30)
    whole = bootstrap_paired_difference(splits, measure, resamples=50)
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    monkeypatch.setattr(statistics, "_SIGNS", 60)
    parts = bootstrap_paired_difference(splits, measure, resamples=50)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=1e-14)


def test_bootstrap_paired_difference__follows_the_seed_and_the_confidence() -> None:
    splits = [one_split()]
    result = bootstrap_paired_difference(splits, resamples=300)
    assert result == bootstrap_paired_difference(splits, resamples=300)
    assert result != bootstrap_paired_difference(splits, resamples=300, seed=1)
    assert 0 < result.low < result.difference < result.high
    narrow = bootstrap_paired_difference(splits, resamples=300, confidence=0.5)
    assert result.low < narrow.low < narrow.high < result.high
    same = bootstrap_paired_difference([replace(splits[0], second=splits[0].first)], resamples=50)
    assert (same.difference, same.low, same.high, same.note) == (0, 0, 0, "")


def test_bootstrap_paired_difference__notes_an_interval_that_misses_it() -> None:
    result = bootstrap_paired_difference([one_split()], resamples=300, confidence=0.001)
    assert not result.low <= result.difference <= result.high
    assert result.note == "the interval does not contain the difference: repeated videos change the measure"


def test_bootstrap_paired_difference__leaves_out_draws_without_measure() -> None:
    split = one_split(4)
    result = bootstrap_paired_difference([split])
    # 4 of the 256 draws of four from four are one video four times
    assert result.resamples == pytest.approx(2000 * 252 / 256, abs=15)
    assert (
        result.note
        == f"{2000 - result.resamples} of 2000 resamples left out: the measure is not defined in any split"
    )
    two = [split, replace(one_split(40), videos=np.arange(40))]
    estimate, values = by_hand(two, SCIPY["srocc"], resamples=200)
    result = bootstrap_paired_difference(two, resamples=200)
    assert result.difference == pytest.approx(estimate)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert result.note.startswith("in ")
    assert result.note.endswith(" of 200 resamples a split is left out, in which the measure is not defined")
    # a split with a NaN has no value, its videos are drawn all the same
    second = two[1]
    result = bootstrap_paired_difference(
        [split, replace(second, second=np.where(second.videos == 7, nan, second.second))], resamples=200
    )
    assert result.difference == pytest.approx(bootstrap_paired_difference([split]).difference)
    assert (result.videos, result.note.split(";")[0]) == (40, "1 of 2 splits left out: NaN")


def test_bootstrap_paired_difference__says_why_there_is_no_interval() -> None:
    few = PairedSplit(np.array([1.0, 2]), np.array([2.0, 1]), np.array([1.0, 2]), np.array([0, 1]))
    result = bootstrap_paired_difference([few])
    assert (isnan(result.low), result.difference, result.resamples) == (True, 2, 0)
    assert result.note == "2 video(s) are too few, at least 3 are needed"
    constant = PairedSplit(np.ones(3), np.array([2.0, 1, 3]), np.array([1.0, 2, 3]), np.arange(3))
    for measure in ("srocc", "krocc", "plcc"):
        result = bootstrap_paired_difference([constant], measure)
        assert (isnan(result.high), isnan(result.difference)) == (True, True)
        assert result.note == "1 of 1 splits left out: NaN; the measure is not defined in any split"
    # one number computed in two ways is constant too
    assert isnan(bootstrap_paired_difference([replace(constant, first=np.array([0.3, 0.1 + 0.2, 0.3]))]).low)
    assert not isnan(bootstrap_paired_difference([constant], "rmse").low)


def test_bootstrap_paired_difference__refuses_wrong_arguments() -> None:
    split = one_split()
    with pytest.raises(ArgumentError, match=r"^confidence is 1.0; it has to be above 0 and below 1"):
        bootstrap_paired_difference([split], confidence=1.0)
    with pytest.raises(ArgumentError, match=r"^resamples is 0; it has to be at least 1"):
        bootstrap_paired_difference([split], resamples=0)
    with pytest.raises(ArgumentError, match=r"^seed is -1; it has to be at least 0"):
        bootstrap_paired_difference([split], seed=-1)
    with pytest.raises(ArgumentError, match=r"^number of splits is 0; it has to be at least 1"):
        bootstrap_paired_difference([])
    with pytest.raises(UnknownNameError, match=r"unknown measure 'scc': did you mean srcc|srocc"):
        bootstrap_paired_difference([split], "scc")
    with pytest.raises(
        ArgumentError,
        match=r"shapes of a PairedSplit are first \(3,\), second \(40,\), .*: give one value for each video",
    ):
        replace(split, first=np.ones(3))
    for wrong in ({"mos": np.full(40, nan)}, {"second": np.full(40, inf)}):
        with pytest.raises(ArgumentError, match="a PairedSplit has an infinite value or a NaN label"):
            replace(split, **wrong)
