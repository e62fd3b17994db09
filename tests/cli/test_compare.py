"""`vqafeat compare` on run folders, as users see it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_rel

from tests.helpers.command_line import Run
from tests.helpers.recorded_runs import MOS, VIDEOS, scores_of, write_run

SIGNED = re.compile(r"[+-]\d\.\d{3}")


def test_compare__prints_a_table_of_runs_and_of_pairs(run: Run, tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "good", scores_of(0.3, 1)), write_run(tmp_path / "bad", scores_of(2.0, 2))
    ended = run("compare", a, b, "--resamples", 50)
    assert ended.code == 0, ended.err
    values = [json.loads((folder / "metrics.json").read_text())["srocc"]["values"] for folder in (a, b)]
    lines = ended.out.splitlines()
    assert lines[0] == "SROCC on 'tiny', 4 splits"
    assert lines[1].split() == ["mean", "std", "median"]
    assert lines[2].split()[:3] == ["good", "*", f"{sum(values[0]) / 4:.3f}"]
    assert (
        lines[4]
        == "  * measured on only 12 test videos per split: with fewer than 20, one video moves a figure "
        "visibly"
    )
    assert (
        lines[5]
        == "mean difference over 4 split(s), 95 % interval over 27 resampled test videos; paired test: t; 1 "
        "comparison(s)"
    )
    assert lines[6].split("  ")[-1] == "p, Holm"
    p = ttest_rel(values[0], values[1]).pvalue
    difference = (sum(values[0]) - sum(values[1])) / 4
    cells = lines[7].split()
    assert cells[:4] == ["good", "−", "bad", f"{difference:+.3f}"]
    assert cells[6:] == [f"{p:.3g}", f"{p:.3g}"]
    low, high = (float(cell.strip("[,]")) for cell in cells[4:6])
    assert low < difference < high
    assert len(lines) == 8


def test_compare__difference_is_of_splits_and_not_of_mean_predictions(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [(split, int(row)) for split in range(6) for row in rng.choice(VIDEOS, 24, replace=False)]
    # the first run ranks each split well, but its scale differs between splits; the second ranks all splits
    # on one scale, and less well
    noise = rng.normal(scale=0.8, size=VIDEOS)
    better = {(split, row): float(MOS[row] + rng.normal(scale=0.3) + 20 * split) for split, row in rows}
    worse = {(split, row): float(MOS[row] + noise[row]) for split, row in rows}
    means = [
        [np.mean([value for (_, video), value in scores.items() if video == row]) for row in range(VIDEOS)]
        for scores in (better, worse)
    ]
    by_means = spearmanr(means[0], MOS).statistic - spearmanr(means[1], MOS).statistic
    folders = write_run(tmp_path / "better", better), write_run(tmp_path / "worse", worse)
    values = [json.loads((folder / "metrics.json").read_text())["srocc"]["values"] for folder in folders]
    difference = float(np.mean(np.subtract(*values)))
    assert by_means < -0.2 < 0.05 < difference
    line = next(line for line in run("compare", *folders).out.splitlines() if "better − worse" in line)
    shown = [float(number) for number in SIGNED.findall(line)]
    assert len(shown) == 3, line
    assert shown[0] == pytest.approx(difference, abs=5e-4)
    assert 0 < shown[1] < shown[0] < shown[2]
    (pair,) = json.loads(run("compare", *folders, "--json").out)["comparisons"]
    assert pair["interval"]["difference"] == pair["mean_difference"] == pytest.approx(difference)
    assert [pair["interval"]["low"], pair["interval"]["high"]] == pytest.approx(shown[1:], abs=5e-4)


def test_compare__plain_and_calibrated_measures_are_in_the_table(run: Run, tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / name, scores_of(0.5, seed, splits=2))
        for name, seed in (("a", 1), ("b", 2), ("c", 3))
    ]
    result = json.loads(
        run("compare", *folders[:2], "--baseline", folders[2], "--measure", "rmse", "--json").out
    )
    assert [
        (pair["first"], pair["second"], pair["p"], pair["interval"]["measure"])
        for pair in result["comparisons"]
    ] == [("a", "c", None, "rmse"), ("b", "c", None, "rmse")]
    assert (result["measure"], result["test"], result["dataset"], list(result["runs"])) == (
        "rmse",
        "t",
        "tiny",
        ["a", "b", "c"],
    )
    assert result["runs"]["a"]["rmse"] > 0
    assert result["runs"]["a"]["few_videos"]
    output = run("compare", *folders, "--measure", "rmse").out
    lines = output.splitlines()
    assert lines[1].split() == ["mean", "std", "median", "plain", "calibrated"]
    of_a = result["runs"]["a"]
    shown = [of_a["rmse"], of_a["stds"]["rmse"], of_a["medians"]["rmse"]]
    shown += [of_a["rmse_plain"], of_a["rmse_calibrated"]]
    assert lines[2].split() == ["a", "*", *(f"{value:.3f}" for value in shown)]
    assert "  note: a − b: 2 pair(s) are too few, a test needs at least 3" in output
    assert run("compare", *folders, "--measure", "plcc").out.splitlines()[1].split() == [
        "mean",
        "std",
        "median",
        "plain",
    ]
    assert run("compare", *folders, "--measure", "rmse_calibrated").out.startswith(
        "RMSE, calibrated on 'tiny', 2 splits\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [([], 2, "Missing argument"), (["nothing", "nowhere"], 1, "is no run folder")],
)
def test_compare__refuses_what_is_no_run(
    run: Run, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    ended = run("compare", *(tmp_path / name for name in arguments))
    assert (ended.code, words in ended.err) == (code, True)
