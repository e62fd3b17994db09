"""Compared and blended runs against SciPy's tests and measures, and Holm by hand."""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr, ttest_rel, wilcoxon

from tests.helpers.fits import FAST, SPLITS, fit_with, small_fit
from tests.helpers.recorded_runs import MOS, VIDEOS, scores_of, write_run
from tests.helpers.stores import MakeStore
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.evaluation.compare import KAPPAS, ComparedRuns, compare_runs, ensemble
from vqafeat.io import json_text, write_csv
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.metrics import fit_logistic
from vqafeat.splits import Split
from vqafeat.training.joint_store import JointStore, joint_splits
from vqafeat.training.predictions import summarise
from vqafeat.training.results import EVERY_MEASURE
from vqafeat.training.run import Run
from vqafeat.training.run_config import TrainingDataset

Scores = dict[tuple[int, int], float]
Measure = Callable[[np.ndarray, np.ndarray], float]


def quick(folders: list[Path], **changes: Any) -> ComparedRuns:
    return compare_runs(folders, resamples=20, **changes)


def values_of(folder: Path, measure: str) -> list[float]:
    return list(json.loads((folder / "metrics.json").read_text())[measure]["values"])


def measured(folder: Path) -> Path:
    """Write metrics.json as a fit does, from the predictions of a run folder."""
    run = Run(folder)
    config = run.config
    summary = summarise(run.predictions, config.splits, config.mapping, (), config.dataset_names)
    (folder / "metrics.json").write_text(json_text(summary.as_dict()))
    return folder


def drawn_splits(noise: float, seed: int, splits: int = 3, tested: int = 24) -> Scores:
    """Return (split, video) → label plus noise; which videos a split tests does not depend on the seed."""
    rng, own = np.random.default_rng(11), np.random.default_rng(seed)
    rows = [
        (split, int(row))
        for split in range(splits)
        for row in sorted(rng.choice(VIDEOS, tested, replace=False))
    ]
    return {(split, row): float(MOS[row] + own.normal(scale=noise)) for split, row in rows}


def redrawn(
    one: Scores, two: Scores, rule: Measure, resamples: int, named: Callable[[int], str] = "v{}".format
) -> tuple[float, float]:
    """Return the 95 % interval of the mean difference over the splits by lists in which drawn videos
    repeat.
    """
    # videos are drawn by the order of their names, which is not that of the numbers
    videos = sorted({row for _, row in one}, key=named)
    rng, result = np.random.default_rng(0), []
    for _ in range(resamples):
        sampled = [videos[index] for index in rng.integers(0, len(videos), len(videos))]
        differences = []
        for split in sorted({split for split, _ in one}):
            rows = [row for row in sampled if (split, row) in one]
            first, second = (np.array([scores[split, row] for row in rows]) for scores in (one, two))
            differences.append(rule(first, MOS[rows]) - rule(second, MOS[rows]))
        result.append(np.mean(differences))
    low, high = np.quantile(result, [0.025, 0.975])
    return float(low), float(high)


def srocc(predictions: np.ndarray, mos: np.ndarray) -> float:
    return float(spearmanr(predictions, mos).statistic)


def plcc(predictions: np.ndarray, mos: np.ndarray) -> float:
    return float(pearsonr(predictions, mos).statistic)


def rmse(predictions: np.ndarray, mos: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predictions - mos) ** 2)))


def mapped(scores: Scores, mapping: str) -> Scores:
    """Return the scores after the mapping that is fitted to each split's whole test part."""
    result = {}
    for split in {split for split, _ in scores}:
        rows = [row for own, row in scores if own == split]
        values = [scores[split, row] for row in rows]
        fit = fit_logistic(values, MOS[rows], mapping)
        result.update(
            {(split, row): float(value) for row, value in zip(rows, fit.mapped(values), strict=True)}
        )
    return result


def three_runs(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / name, scores_of(noise, seed))
        for name, noise, seed in (("a", 0.3, 1), ("b", 1.5, 2), ("c", 0.6, 3))
    ]


def test_compare_runs__all_pairs_by_the_paired_t_test_with_holm(tmp_path: Path) -> None:
    folders = three_runs(tmp_path)
    result = quick(folders)
    assert [(pair.first, pair.second) for pair in result.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    values = {folder.name: np.array(values_of(folder, "srocc")) for folder in folders}
    p = []
    for pair in result.pairs:
        one, two = values[pair.first], values[pair.second]
        p.append(float(ttest_rel(one, two).pvalue))
        assert pair.test.p == pytest.approx(p[-1])
        assert pair.test.mean_difference == pytest.approx(one.mean() - two.mean())
    # Holm: the smallest of three times 3, the next times 2, the last as it is, never below the one before
    order = np.argsort(p)
    corrected = np.maximum.accumulate(np.minimum(1, np.array(p)[order] * [3, 2, 1]))
    assert [result.pairs[index].p_holm for index in order] == pytest.approx(list(corrected))
    spread = result.runs["b"]
    assert (spread.mean, spread.std, spread.median) == pytest.approx(
        (values["b"].mean(), values["b"].std(ddof=1), np.median(values["b"]))
    )


def test_compare_runs__takes_runs_and_prints_a_line_for_each_pair(tmp_path: Path) -> None:
    one, two, _ = three_runs(tmp_path)
    result = compare_runs([Run(one), str(two)], baseline=Run(two), resamples=20)
    assert result.as_dict() == quick([one, two], baseline=two).as_dict()
    (pair,) = result.pairs
    title, line = str(result).splitlines()
    assert title == "SROCC on 'tiny': difference, 95 % interval, p, p (Holm)"
    difference, low, high = (f"{getattr(pair.interval, name):+.3f}" for name in ("difference", "low", "high"))
    p = f"{pair.test.p:<8.3g}  {pair.test.p:.3g}"
    assert line == f"a − b  {difference}  [{low}, {high}]  {p}"


def test_compare_runs__interval_is_of_the_mean_difference_over_splits(tmp_path: Path) -> None:
    one, two = scores_of(0.3, 1), scores_of(1.5, 2)
    result = compare_runs(
        [write_run(tmp_path / "a", one), write_run(tmp_path / "b", dict(reversed(two.items())))],
        resamples=200,
    )
    (pair,) = result.pairs
    # the first split's 12 videos and 5 new ones of each of the other three
    assert (result.videos, pair.interval.videos) == (27, 27)
    values = [values_of(tmp_path / name, "srocc") for name in "ab"]
    assert (
        pair.interval.difference == pair.test.mean_difference == pytest.approx(np.mean(np.subtract(*values)))
    )
    assert (pair.interval.low, pair.interval.high) == pytest.approx(redrawn(one, two, srocc, 200), abs=1e-12)
    assert (pair.interval.measure, pair.interval.resamples, pair.interval.note) == ("srocc", 200, "")


@pytest.mark.parametrize(
    ("measure", "rule"),
    [("plcc", plcc), ("rmse", rmse), ("plcc_plain", plcc), ("rmse_plain", rmse), ("rmse_calibrated", rmse)],
)
@pytest.mark.parametrize("mapping", ["logistic-increasing", "logistic", "none"])
def test_compare_runs__keeps_the_fitted_mapping(
    tmp_path: Path, measure: str, rule: Measure, mapping: str
) -> None:
    # a curve between predictions and labels, so that the mapping moves both measures
    one, two = (
        {key: float(np.exp(value)) for key, value in drawn_splits(noise, seed).items()}
        for noise, seed in ((0.3, 1), (0.8, 2))
    )
    runs = [
        measured(write_run(tmp_path / name, scores, mapping=mapping))
        for name, scores in (("a", one), ("b", two))
    ]
    (pair,) = compare_runs(runs, measure=measure, resamples=100).pairs
    assert pair.interval.note == ""
    assert pair.interval.difference == pair.test.mean_difference
    shown = (
        [one, two]
        if mapping == "none" or "plain" in measure
        else [mapped(scores, mapping) for scores in (one, two)]
    )
    if measure == "rmse_calibrated":
        # without validation videos the output is taken as it is, on the labels' scale
        shown = [{key: float(np.clip(value, 1, 5)) for key, value in scores.items()} for scores in (one, two)]
    assert (pair.interval.low, pair.interval.high) == pytest.approx(redrawn(*shown, rule, 100), abs=1e-5)


def test_compare_runs__without_a_mapping_uses_what_the_run_recorded(tmp_path: Path) -> None:
    one, two = scores_of(0.3, 1), scores_of(1.5, 2)
    # 12 videos are too few for the increasing logistic, which then leaves predictions as they are
    plain = [
        measured(write_run(tmp_path / name, scores, mapping="logistic-increasing"))
        for name, scores in (("a", one), ("b", two))
    ]
    (pair,) = compare_runs(plain, measure="rmse", resamples=100).pairs
    assert (pair.interval.low, pair.interval.high) == pytest.approx(redrawn(one, two, rmse, 100), abs=1e-12)
    # the other logistic gives no number for a constant
    flat = {key: 2.0 if key[0] == 1 else value for key, value in two.items()}
    none = [
        measured(write_run(tmp_path / name, scores, mapping="logistic"))
        for name, scores in (("c", one), ("d", flat))
    ]
    (pair,) = compare_runs(none, measure="rmse", resamples=100).pairs
    assert (pair.test.pairs, pair.test.note) == (3, "1 of 4 left out: NaN")
    assert pair.interval.note == "1 of 4 splits left out: NaN"
    assert pair.interval.difference == pair.test.mean_difference


def test_compare_runs__calibrated_scores_have_an_interval(tmp_path: Path) -> None:
    one, two = scores_of(0.3, 1), scores_of(1.5, 2)
    runs = [write_run(tmp_path / name, scores) for name, scores in (("a", one), ("b", two))]
    line = {"slope": 0.5, "offset": 1.0, "low": 1.0, "high": 5.0, "part": "train", "videos": 9, "note": ""}
    for folder in runs:
        (folder / "calibration.json").write_text(json.dumps({"tiny": [line] * 4}))
        measured(folder)
    (pair,) = compare_runs(runs, measure="rmse_calibrated", resamples=100).pairs
    shown = [
        {key: float(np.clip(0.5 * value + 1, 1, 5)) for key, value in scores.items()} for scores in (one, two)
    ]
    assert (pair.interval.low, pair.interval.high) == pytest.approx(redrawn(*shown, rmse, 100), abs=1e-12)


def test_compare_runs__computes_measures_that_earlier_versions_lack(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)[:2]
    assert "plcc_plain" not in json.loads((runs[0] / "metrics.json").read_text())
    for measure in EVERY_MEASURE:
        (pair,) = quick(runs, measure=measure).pairs
        assert pair.interval.difference == pair.test.mean_difference
        assert pair.interval.measure == measure
        assert not np.isnan(pair.interval.low)


def mixed_name(row: int) -> str:
    return f"{'one' if row < 16 else 'two'}/v{row}"


def mixed_run(folder: Path, noise: float, seed: int) -> Path:
    """Write a run on two data sets, of 16 and 14 videos."""
    lines = (LabelScaling(1.0),) * 3
    both = [asdict(TrainingDataset(name, "d", "MOS", (1.0, 5.0), lines)) for name in ("one", "two")]
    scores = drawn_splits(noise, seed)
    write_run(folder, scores, datasets=both)
    names = {f"v{row}": mixed_name(row) for row in range(VIDEOS)} | {"t0": "one/t0"}
    lines_of = [line.split(",") for line in (folder / "predictions.csv").read_text().splitlines()]
    changed = [[*line[:2], names.get(line[2], line[2]), *line[3:]] for line in lines_of]
    (folder / "predictions.csv").write_text("\n".join(map(",".join, changed)))
    recorded = json.loads((folder / "splits.json").read_text())
    recorded["splits"] = [
        {part: [names[video] for video in videos] for part, videos in split.items()}
        for split in recorded["splits"]
    ]
    (folder / "splits.json").write_text(json.dumps(recorded))
    return measured(folder)


def test_compare_runs__measures_each_of_several_data_sets_by_itself(tmp_path: Path) -> None:
    runs = [mixed_run(tmp_path / name, noise, seed) for name, noise, seed in (("a", 0.3, 1), ("b", 1.5, 2))]
    one, two = drawn_splits(0.3, 1), drawn_splits(1.5, 2)
    for measure, rule in (("srocc", srocc), ("plcc", plcc)):
        (pair,) = compare_runs(runs, measure=measure, resamples=100).pairs
        assert pair.interval.difference == pair.test.mean_difference
        assert (pair.interval.note, pair.interval.videos) == ("", len({row for _, row in one}))

        def weighted(predictions: np.ndarray, mos: np.ndarray, rule: Measure = rule) -> float:
            parts = [np.isin(mos, own) for own in (MOS[:16], MOS[16:])]
            return float(sum(part.sum() * rule(predictions[part], mos[part]) for part in parts) / mos.size)

        assert (pair.interval.low, pair.interval.high) == pytest.approx(
            redrawn(one, two, weighted, 100, mixed_name), abs=1e-12
        )
    for measure in ("rmse", "rmse_plain", "rmse_calibrated"):
        (pair,) = quick(runs, measure=measure).pairs
        assert np.isnan([pair.interval.difference, pair.interval.low, pair.interval.high, pair.test.p]).all()
        assert pair.interval.note == "there is no mean over data sets whose label scales differ"
        assert (pair.interval.videos, pair.interval.resamples) == (len({row for _, row in one}), 0)


def test_compare_runs__a_baseline_is_compared_with_each_other_run(tmp_path: Path) -> None:
    a, b, c = three_runs(tmp_path)
    result = quick([a, b], test="wilcoxon", measure="krocc", baseline=c)
    assert [(pair.first, pair.second) for pair in result.pairs] == [("a", "c"), ("b", "c")]
    assert result.pairs[1].test.p == pytest.approx(
        float(wilcoxon(values_of(b, "krocc"), values_of(c, "krocc")).pvalue)
    )
    assert "never below 0.125" in result.pairs[1].test.note
    among = quick([a, b, tmp_path / "." / "c"], test="wilcoxon", measure="krocc", baseline=c)
    assert among.pairs == result.pairs


def test_compare_runs__leaves_out_a_split_without_a_number(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", scores_of(0.3, 1))
    constant = {key: 2.0 if key[0] == 1 else value for key, value in scores_of(1.0, 5).items()}
    b = write_run(tmp_path / "b", constant)
    result = quick([a, b], measure="plcc")
    rest = [0, 2, 3]
    expected = ttest_rel(
        np.array(values_of(a, "plcc"))[rest], [values_of(b, "plcc")[split] for split in rest]
    )
    assert result.pairs[0].test.p == pytest.approx(float(expected.pvalue))
    assert result.pairs[0].test.note == "1 of 4 left out: NaN"
    json_values = result.as_dict()["comparisons"][0]
    assert (json_values["first"], json_values["pairs"], json_values["interval"]["measure"]) == (
        "a",
        3,
        "plcc",
    )
    assert json_values["interval"]["difference"] == json_values["mean_difference"]
    assert (result.as_dict()["n"], json_values["interval"]["n"]) == (27, 27)
    own = result.as_dict()["runs"]["a"]
    assert set(own) > {*EVERY_MEASURE, "medians", "stds", "values", "few_videos", "notes"}
    assert (own["plcc"], own["n"], own["heads"]) == (result.runs["a"].mean, 27, 4)


def test_compare_runs__one_split_gives_no_p_and_says_why(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / name, scores_of(0.5, seed, splits=1)) for name, seed in (("a", 1), ("b", 2))
    ]
    pair = quick(folders).pairs[0]
    assert np.isnan(pair.test.p)
    assert pair.test.note == "1 pair(s) are too few, a test needs at least 3"
    assert pair.interval.low <= pair.interval.difference <= pair.interval.high


def test_compare_runs__keeps_notes_and_takes_scores_on_any_scale(tmp_path: Path) -> None:
    scores = scores_of(0.3, 1)
    a = write_run(tmp_path / "a", scores, recipe={"loss": "plcc"})
    # the same order in each split, on another scale in each
    b = write_run(
        tmp_path / "b",
        {(split, row): 10.0**split * score for (split, row), score in scores.items()},
        recipe={"loss": "plcc"},
    )
    metrics = json.loads((b / "metrics.json").read_text())
    (b / "metrics.json").write_text(json.dumps({**metrics, "notes": ["epochs were chosen by the test part"]}))
    result = quick([a, b])
    assert {name: summary.notes for name, summary in result.summaries.items()} == {
        "a": (),
        "b": ("epochs were chosen by the test part",),
    }
    interval = result.pairs[0].interval
    assert (interval.difference, interval.low, interval.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_compare_runs__notes_metrics_that_differ_from_the_predictions(tmp_path: Path) -> None:
    a, b, _ = three_runs(tmp_path)
    metrics = json.loads((a / "metrics.json").read_text())
    metrics["srocc"]["values"][0] -= 0.4
    (a / "metrics.json").write_text(json.dumps(metrics))
    (pair,) = quick([a, b]).pairs
    own = pair.test.mean_difference
    assert pair.interval.difference == own
    assert (
        f"the difference is {own:.6g} in metrics.json, but {own + 0.1:.6g} in predictions.csv"
        in pair.interval.note
    )


def test_compare_runs__refuses_runs_that_are_not_comparable(tmp_path: Path) -> None:
    a, b, _ = three_runs(tmp_path)
    other = write_run(tmp_path / "other", scores_of(0.3, 1), dataset="konvid")
    with pytest.raises(
        ArgumentError,
        match=r"data set of '.*a' is 'tiny', of '.*other' 'konvid'; compare runs on one data set and label",
    ):
        quick([a, other])
    fewer = write_run(tmp_path / "fewer", scores_of(0.3, 1, splits=3))
    with pytest.raises(
        ArgumentError, match=r"'.*a' has 4 splits, '.*fewer' 3; fit both with the same splits"
    ):
        quick([a, fewer])
    moved = {
        (split, (row + 1) % 30 if split == 2 else row): score
        for (split, row), score in scores_of(0.3, 1).items()
    }
    with pytest.raises(
        ArgumentError,
        match=r"split 2 has other test videos in '.*moved' than in '.*b'; fit both with the same splits",
    ):
        quick([a, b, write_run(tmp_path / "moved", moved)])
    mapped = write_run(tmp_path / "mapped", scores_of(0.3, 1), mapping="logistic")
    with pytest.raises(
        ArgumentError,
        match=r"plcc of '.*a' is computed after the mapping 'none', of '.*mapped' after 'logistic'; compare "
        r"srocc",
    ):
        quick([a, mapped], measure="plcc")
    assert quick([a, mapped]).videos == 27


def test_compare_runs__names_runs_by_as_much_of_the_path_as_differs(tmp_path: Path) -> None:
    paths = ("one/x/a", "two/x/a", "x/b", "c")
    folders = [write_run(tmp_path / path, scores_of(0.3, seed)) for seed, path in enumerate(paths)]
    result = quick(folders[:3], baseline=folders[3])
    assert list(result.runs) == ["one/x/a", "two/x/a", "b", "c"]
    assert [pair.second for pair in result.pairs] == ["c", "c", "c"]
    among = quick(folders, baseline=folders[1])
    assert {(pair.first, pair.second) for pair in among.pairs} == {
        ("one/x/a", "two/x/a"),
        ("b", "two/x/a"),
        ("c", "two/x/a"),
    }


def test_compare_runs__refuses_wrong_arguments(tmp_path: Path) -> None:
    a, b, _ = three_runs(tmp_path)
    with pytest.raises(ArgumentError, match=r"the run '.*/a' is given several times; give each run once\."):
        quick([a, b, a.parent / "b" / ".." / "a"])
    with pytest.raises(ArgumentError, match=r"1 run\(s\) were given \(a\); a comparison takes at least two"):
        quick([a], baseline=a)
    with pytest.raises(
        ArgumentError, match=r"measure is 'mae'; it has to be one of srocc, krocc, plcc, rmse, plcc_plain"
    ):
        quick([a, b], measure="mae")
    with pytest.raises(
        ArgumentError, match=r"runs is the text 'runs/a'; give a list of runs or of their folders\."
    ):
        compare_runs("runs/a")
    with pytest.raises(UnknownNameError, match=r"unknown paired test 'z'"):
        quick([a, b], test="z")
    with pytest.raises(ArgumentError, match="resamples is 0"):
        compare_runs([a, b], resamples=0)


def test_compare_runs__reports_damaged_runs(tmp_path: Path) -> None:
    a, b, c = three_runs(tmp_path)
    metrics = json.loads((a / "metrics.json").read_text())
    (a / "metrics.json").write_text(json.dumps({"srocc": {"values": [0.5]}}))
    with pytest.raises(
        WeightsError, match=r"'.*metrics.json' is damaged \(KeyError: 'krocc'\); run `vqafeat fit` again"
    ):
        quick([a, b])
    (a / "metrics.json").write_text(json.dumps({**metrics, "srocc": {"values": [0.5]}}))
    with pytest.raises(
        WeightsError,
        match=r"'.*metrics.json' has no values of 'srocc' for the 4 splits of the run; run `vqafeat fit` "
        r"again",
    ):
        quick([a, b])
    lines = (b / "predictions.csv").read_text().splitlines()
    (b / "predictions.csv").write_text("\n".join(lines[:-2]))
    with pytest.raises(
        WeightsError,
        match=r"'.*predictions.csv' lacks 2 of 48 scores that 'splits.json' names \(first: v\d+, test part "
        r"of",
    ):
        quick([c, b])
    video = lines[-1].split(",")[2]
    (b / "predictions.csv").write_text("\n".join([*lines[:-1], f"3,test,{video},c1,3.0,"]))
    with pytest.raises(
        WeightsError,
        match=rf"'.*predictions.csv' has no score of '{video}', split 3; run `vqafeat fit` again",
    ):
        quick([c, b])
    (b / "predictions.csv").write_text("\n".join([*lines[:-1], "0,test,v1,c1,3.0,much"]))
    with pytest.raises(
        WeightsError,
        match=r"'.*predictions.csv' is damaged \(ValueError: could not convert string to float: 'much'\)",
    ):
        quick([c, b])


WITH_VALIDATION = [SPLITS[0], Split(tuple(range(8, 18)), tuple(range(8)), (18, 19))]


def rows_of(folder: Path, split: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    with (folder / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["part"]) == (str(split), part)]
    return np.array([float(row["prediction"]) for row in rows]), np.array([float(row["mos"]) for row in rows])


def two_runs(make_store: MakeStore, tmp_path: Path) -> tuple[Path, Path]:
    one = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).path
    options = {"reduced": 4, "layers": 1, "feed_forward": 5}
    return one, small_fit(
        make_store(), tmp_path / "two", head="transformer", options=options, splits=WITH_VALIDATION
    ).path


def test_ensemble__kappa_is_selected_on_validation_and_measured_on_test(
    make_store: MakeStore, tmp_path: Path
) -> None:
    one, two = two_runs(make_store, tmp_path)
    result = ensemble(one, two)
    for split in range(2):
        (first, mos), (second, _) = rows_of(one, split, "validation"), rows_of(two, split, "validation")
        sroccs = {kappa: spearmanr(kappa * first + (1 - kappa) * second, mos).statistic for kappa in KAPPAS}
        best = max(sroccs.values())
        assert sroccs[result.kappas[split]] == pytest.approx(best, abs=1e-12)
        assert all(
            abs(result.kappas[split] - 0.5) <= abs(kappa - 0.5)
            for kappa, value in sroccs.items()
            if value > best - 1e-12
        )
        (first, mos), (second, _) = rows_of(one, split, "test"), rows_of(two, split, "test")
        blended = result.kappas[split] * first + (1 - result.kappas[split]) * second
        assert result.summary.srocc.values[split] == pytest.approx(
            spearmanr(blended, mos).statistic, abs=1e-12
        )
        assert result.summary.rmse.values[split] == pytest.approx(
            np.sqrt(np.mean((blended - mos) ** 2)), abs=1e-12
        )
    assert result.selection == "highest SROCC on each split's validation part"


def test_ensemble__a_given_kappa_of_1_is_the_first_run(make_store: MakeStore, tmp_path: Path) -> None:
    one, two = two_runs(make_store, tmp_path)
    result = ensemble(one, two, kappa=1.0, mapping="none")
    np.testing.assert_allclose(
        [row.prediction for row in result.predictions if row.split == 0], rows_of(one, 0, "test")[0]
    )
    assert (result.kappas, result.selection) == ((1.0, 1.0), "given")
    with pytest.raises(ArgumentError, match=r"kappa is 1.5; it has to be between 0 and 1"):
        ensemble(one, two, kappa=1.5)


def test_ensemble__of_several_data_sets_measures_each_by_itself(
    make_store: MakeStore, tmp_path: Path
) -> None:
    source = JointStore([make_store(), make_store(9, name="other")])
    small = Split((0, 1, 2), (3, 4, 5), (6, 7, 8))
    values = {"features": "tiny", "splits": joint_splits([SPLITS[:1], [small]], (20, 9)), **FAST}
    one, two = (fit_with(source, tmp_path / f"{seed}", {**values, "seed": seed}) for seed in (0, 1))
    first = ensemble(one.path, two.path, kappa=1.0)
    assert first.summary.srocc.values == one.metrics.srocc.values
    assert first.summary.datasets["other"].rmse.values == one.metrics.datasets["other"].rmse.values
    assert isnan(first.summary.rmse.mean)
    assert first.tested_videos == {"tiny": 5, "other": 3}
    (kappa,) = ensemble(one.path, two.path).kappas
    sroccs = []
    for name in ("tiny", "other"):
        rows = [(key, row) for key, row in one.held_out.items() if key[1] == "validation" and name in key[2]]
        outputs = np.array([(row.prediction, two.held_out[key].prediction, row.mos) for key, row in rows]).T
        sroccs.append(
            [spearmanr(k * outputs[0] + (1 - k) * outputs[1], outputs[2]).statistic for k in KAPPAS]
        )
    means = np.mean(sroccs, axis=0)
    assert means[KAPPAS.index(kappa)] == pytest.approx(means.max())


def test_ensemble__keeps_what_flatters_its_runs(make_store: MakeStore, tmp_path: Path) -> None:
    leaking = [Split(tuple(range(1, 12)), (12, 13, 14, 15), (0, 16, 17, 18))]
    overrides = {**FAST["overrides"], "select": "test"}
    one = small_fit(make_store(), tmp_path / "one", splits=leaking)
    two = small_fit(make_store(), tmp_path / "two", splits=leaking, overrides=overrides)
    notes = ensemble(one.path, two.path, kappa=0.5).summary.notes
    assert [note[:13] for note in notes] == ["content leaks", "epochs were c"]


def test_ensemble__of_equal_kappas_takes_the_one_closest_to_a_half(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).path
    assert ensemble(run, run).kappas == (0.5, 0.5)


def test_ensemble__refuses_runs_that_do_not_fit_together(make_store: MakeStore, tmp_path: Path) -> None:
    one, _ = two_runs(make_store, tmp_path)
    other = small_fit(make_store(), tmp_path / "other", splits=SPLITS).path
    with pytest.raises(
        ArgumentError, match=r"split 1 has other training videos in '.*other' than in '.*one'; fit both with"
    ):
        ensemble(one, other)
    with pytest.raises(
        ArgumentError,
        match=r"split 1 has 0 validation video\(s\), too few to choose kappa on; .* or give --kappa",
    ):
        ensemble(other, other)
    fewer = small_fit(make_store(), tmp_path / "fewer", splits=SPLITS[:1]).path
    with pytest.raises(
        ArgumentError, match=r"'.*one' has 2 splits, '.*fewer' 1; fit both with the same splits"
    ):
        ensemble(one, fewer)
    foreign = small_fit(make_store(name="foreign"), tmp_path / "foreign", splits=WITH_VALIDATION).path
    with pytest.raises(
        ArgumentError,
        match=r"data set of '.*one' is 'tiny', of '.*foreign' 'foreign'; blend runs on one data set and",
    ):
        ensemble(one, foreign)
    with pytest.raises(WeightsError, match=r"is no run folder"):
        ensemble(one, tmp_path / "nothing")


def test_ensemble__refuses_constant_scores_and_imported_heads(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).path
    with (run / "predictions.csv").open(newline="") as file:
        rows = [{**row, "prediction": "1.0"} for row in csv.DictReader(file)]
    write_csv(run / "predictions.csv", list(rows[0]), [list(row.values()) for row in rows])
    with pytest.raises(
        ArgumentError,
        match=r"the validation scores of split 0 are constant in both runs, so no kappa is best",
    ):
        ensemble(run, run)
    (run / "predictions.csv").unlink()
    with pytest.raises(WeightsError, match=r"has no test predictions, as an imported or a final head; give"):
        ensemble(run, run)
