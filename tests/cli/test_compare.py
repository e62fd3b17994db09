"""`vqafeat compare` on run folders, as users see it."""

import json
from math import isnan
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from tests.cli.conftest import Run
from tests.modeling.recorded_runs import scores_of, write_run


def test_a_table_of_runs_and_of_pairs(run: Run, tmp_path: Path) -> None:
    a = write_run(tmp_path / "good", scores_of(0.3, 1))
    b = write_run(tmp_path / "bad", scores_of(2.0, 2), recipe={"loss": "plcc"})
    ended = run("compare", a, b, "--resamples", 50)
    assert ended.code == 0, ended.err
    values = [json.loads((folder / "metrics.json").read_text())["srocc"]["values"] for folder in (a, b)]
    lines = ended.out.splitlines()
    assert lines[0] == "SROCC on 'tiny', 4 splits"
    assert lines[2].split()[:2] == ["good", f"{sum(values[0]) / 4:.3f}"]
    assert lines[4].startswith("  note: bad: the interval's means over splits mix scales")
    assert lines[5] == "paired test: t; 1 comparison(s); interval over 27 videos"
    p = ttest_rel(values[0], values[1]).pvalue
    difference = (sum(values[0]) - sum(values[1])) / 4
    assert lines[7].split()[:6] == ["good", "−", "bad", f"{difference:+.3f}", f"{p:.3g}", f"{p:.3g}"]
    assert "[+" in lines[7]


def test_json_and_measures_without_an_interval(run: Run, tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, scores_of(0.5, seed, splits=2)) for name, seed in (("a", 1), ("b", 2), ("c", 3))]
    found = json.loads(run("compare", *folders[:2], "--baseline", folders[2], "--measure", "rmse", "--json").out)
    assert [(pair["first"], pair["second"], pair["p"], pair["interval"]) for pair in found["comparisons"]] == [
        ("a", "c", None, None),
        ("b", "c", None, None),
    ]
    assert (found["measure"], found["test"], found["dataset"], list(found["runs"])) == ("rmse", "t", "tiny", ["a", "b", "c"])
    assert not isnan(found["runs"]["a"]["mean"])
    told = run("compare", *folders, "--measure", "rmse").out
    assert "interval" not in told
    assert "  note: a − b: 2 pair(s) are too few, a test takes at least 3" in told


@pytest.mark.parametrize(("arguments", "code", "words"), [([], 2, "Missing argument"), (["nothing", "nowhere"], 1, "is no run folder")])
def test_what_is_no_run_is_told(run: Run, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    ended = run("compare", *(tmp_path / name for name in arguments))
    assert (ended.code, words in ended.err) == (code, True)
