"""Runs held against each other: SciPy's tests on SciPy's measures, Holm by hand, and what cannot be compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr, ttest_rel, wilcoxon

from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.modeling.comparing import ComparedRuns, compare_runs

from .recorded_runs import MOS, scores_of, write_run


def quick(folders: list[Path], **changes: Any) -> ComparedRuns:
    return compare_runs(folders, resamples=20, **changes)


def values_of(folder: Path, measure: str) -> list[float]:
    return list(json.loads((folder / "metrics.json").read_text())[measure]["values"])


def means_of(scores: dict[tuple[int, int], float]) -> dict[int, float]:
    return {row: float(np.mean([score for (_, own), score in scores.items() if own == row])) for _, row in scores}


def three_runs(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / name, scores_of(noise, seed)) for name, noise, seed in (("a", 0.3, 1), ("b", 1.5, 2), ("c", 0.6, 3))]


def test_all_pairs_by_the_paired_t_test_with_holm(tmp_path: Path) -> None:
    folders = three_runs(tmp_path)
    found = quick(folders)
    assert [(pair.comparison.first, pair.comparison.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    values = {folder.name: np.array(values_of(folder, "srocc")) for folder in folders}
    p = []
    for pair in found.pairs:
        one, two = values[pair.comparison.first], values[pair.comparison.second]
        p.append(float(ttest_rel(one, two).pvalue))
        assert pair.comparison.test.p == pytest.approx(p[-1])
        assert pair.comparison.test.mean_difference == pytest.approx(one.mean() - two.mean())
    # Holm: the smallest of three times 3, the next times 2, the last as it is, never below the one before
    order = np.argsort(p)
    corrected = np.maximum.accumulate(np.minimum(1, np.array(p)[order] * [3, 2, 1]))
    assert [found.pairs[place].comparison.p_holm for place in order] == pytest.approx(list(corrected))
    spread = found.runs["b"]
    assert (spread.mean, spread.std, spread.median) == pytest.approx((values["b"].mean(), values["b"].std(ddof=1), np.median(values["b"])))


def test_the_interval_is_of_mean_predictions_on_the_same_videos(tmp_path: Path) -> None:
    one, two = scores_of(0.3, 1), scores_of(1.5, 2)
    found = compare_runs([write_run(tmp_path / "a", one), write_run(tmp_path / "b", dict(reversed(two.items())))])
    first, second = means_of(one), means_of(two)
    videos = sorted(first)
    # the first split's 12 videos and 5 new ones of each of the other three: more than once tested are 21 of them
    assert (found.videos, len(videos)) == (27, 27)
    arrays = [np.array([mean[row] for row in videos]) for mean in (first, second)] + [MOS[videos]]

    def difference(one: np.ndarray, two: np.ndarray, mos: np.ndarray) -> float:
        return float(spearmanr(one, mos).statistic - spearmanr(two, mos).statistic)

    interval = found.pairs[0].interval
    assert interval is not None
    assert interval.difference == pytest.approx(difference(*arrays))
    other = bootstrap(arrays, difference, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=1).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((other.low, other.high), abs=0.03)


def test_a_baseline_takes_each_other_run_and_need_not_be_named_twice(tmp_path: Path) -> None:
    a, b, c = three_runs(tmp_path)
    found = quick([a, b], test="wilcoxon", measure="krocc", baseline=c)
    assert [(pair.comparison.first, pair.comparison.second) for pair in found.pairs] == [("a", "c"), ("b", "c")]
    assert found.pairs[1].comparison.test.p == pytest.approx(float(wilcoxon(values_of(b, "krocc"), values_of(c, "krocc")).pvalue))
    assert "never below 0.125" in found.pairs[1].comparison.test.note
    among = quick([a, b, tmp_path / "." / "c"], test="wilcoxon", measure="krocc", baseline=c)
    assert [pair.comparison for pair in among.pairs] == [pair.comparison for pair in found.pairs]


def test_rmse_has_no_interval_and_a_split_without_a_number_is_left_out(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", scores_of(0.3, 1))
    constant = {key: 2.0 if key[0] == 1 else value for key, value in scores_of(1.0, 5).items()}
    b = write_run(tmp_path / "b", constant)
    assert quick([a, b], measure="rmse").pairs[0].interval is None
    found = quick([a, b], measure="plcc")
    rest = [0, 2, 3]
    expected = ttest_rel(np.array(values_of(a, "plcc"))[rest], [values_of(b, "plcc")[split] for split in rest])
    assert found.pairs[0].comparison.test.p == pytest.approx(float(expected.pvalue))
    assert found.pairs[0].comparison.test.note == "1 of 4 left out: NaN"
    json_values = found.as_dict()["comparisons"][0]
    assert (json_values["first"], json_values["pairs"], json_values["interval"]["measure"]) == ("a", 3, "plcc")


def test_one_split_gives_no_p_and_says_why(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, scores_of(0.5, seed, splits=1)) for name, seed in (("a", 1), ("b", 2))]
    pair = quick(folders).pairs[0]
    assert np.isnan(pair.comparison.test.p)
    assert pair.comparison.test.note == "1 pair(s) are too few, a test takes at least 3"
    assert pair.interval is not None
    assert pair.interval.low <= pair.interval.difference <= pair.interval.high


def test_scores_on_a_scale_of_their_own_are_noted(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", scores_of(0.3, 1), recipe={"loss": "plcc"})
    b = write_run(tmp_path / "b", scores_of(0.3, 2))
    note = "the interval's means over splits mix scales: the loss 'plcc' leaves each split's scores on a scale of its own"
    assert quick([a, b]).notes == {"a": (note,), "b": ()}
    metrics = json.loads((b / "metrics.json").read_text())
    (b / "metrics.json").write_text(json.dumps({**metrics, "notes": ["epochs were chosen by the test part"]}))
    assert quick([a, b], measure="rmse").notes == {"a": (), "b": ("epochs were chosen by the test part",)}


def test_runs_that_are_not_comparable_are_told(tmp_path: Path) -> None:
    a, b, _ = three_runs(tmp_path)
    other = write_run(tmp_path / "other", scores_of(0.3, 1), dataset="konvid")
    with pytest.raises(ArgumentError, match=r"dataset of '.*a' is 'tiny', of '.*other' 'konvid'; compare runs on one data set and label"):
        quick([a, other])
    fewer = write_run(tmp_path / "fewer", scores_of(0.3, 1, splits=3))
    with pytest.raises(ArgumentError, match=r"'.*a' has 4 splits, '.*fewer' 3; fit both with the same splits"):
        quick([a, fewer])
    moved = {(split, (row + 1) % 30 if split == 2 else row): score for (split, row), score in scores_of(0.3, 1).items()}
    with pytest.raises(ArgumentError, match=r"split 2 has other test videos in '.*moved' than in '.*b'; fit both with the same splits"):
        quick([a, b, write_run(tmp_path / "moved", moved)])
    mapped = write_run(tmp_path / "mapped", scores_of(0.3, 1), mapping="logistic")
    with pytest.raises(
        ArgumentError, match=r"plcc of '.*a' is read after the mapping 'none', of '.*mapped' after 'logistic'; compare srocc"
    ):
        quick([a, mapped], measure="plcc")
    assert quick([a, mapped]).videos == 27


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    a, b, _ = three_runs(tmp_path)
    twin = write_run(tmp_path / "elsewhere" / "a", scores_of(0.3, 1))
    with pytest.raises(ArgumentError, match=r"'.*a', '.*elsewhere/a' go by one name, 'a'; give each run once, and rename folders"):
        quick([a, b, twin])
    with pytest.raises(ArgumentError, match=r"1 run\(s\) were given \(a\); a comparison takes at least two"):
        quick([a], baseline=a)
    with pytest.raises(ArgumentError, match=r"measure is 'mae'; it has to be one of srocc, krocc, plcc, rmse"):
        quick([a, b], measure="mae")
    with pytest.raises(UnknownNameError, match=r"unknown paired test 'z'"):
        quick([a, b], test="z")


def test_damaged_runs_are_told(tmp_path: Path) -> None:
    a, b, c = three_runs(tmp_path)
    (a / "metrics.json").write_text(json.dumps({"srocc": {"values": [0.5]}}))
    with pytest.raises(
        WeightsError, match=r"'.*metrics.json' has no values of 'srocc' for the 4 splits of the run; run `vqafeat fit` again"
    ):
        quick([a, b])
    lines = (b / "predictions.csv").read_text().splitlines()
    (b / "predictions.csv").write_text("\n".join(lines[:-2]))
    with pytest.raises(
        WeightsError, match=r"'.*predictions.csv' lacks 2 of 48 scores that 'splits.json' names \(first: v\d+, test part of"
    ):
        quick([c, b])
    (b / "predictions.csv").write_text("\n".join([*lines[:-1], "0,test,v1,c1,3.0,much"]))
    with pytest.raises(WeightsError, match=r"'.*predictions.csv' is damaged \(ValueError: could not convert string to float: 'much'\)"):
        quick([c, b])
