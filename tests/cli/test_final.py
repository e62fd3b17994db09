"""`vqafeat fit --final` up to the scores of its head, and event files by option."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.command_line import WEIGHTS, Run

FIT = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 1, "--out", "runs/x")
KIND = "all 20 videos train one head, for 2 epoch(s): the median of those that 2 split(s) kept"


@pytest.fixture
def final(run: Run, here: Path, data: Path) -> Path:
    """Return a run folder with a final head, in the working directory."""
    kept = data.with_suffix(".kept")
    if not kept.exists():
        extract = ("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
        assert run(*extract).code == 0
        ended = run(*FIT, "--ratio", "60/40", "--final")
        assert ended.code == 0
        assert (
            f"final head: {KIND}; the metrics above, of the other heads, estimate how good it is" in ended.out
        )
        kept.mkdir()
        for folder in ("features", "runs"):
            shutil.copytree(folder, kept / folder)
    else:
        shutil.copytree(kept, here, dirs_exist_ok=True)
    return here / "runs" / "x"


def test_predict__scores_with_the_final_head(run: Run, final: Path, data: Path) -> None:
    clip, folders = data / "v3.mp4", (final, final / "final")
    by_run, by_folder = (
        json.loads(run("predict", folder, clip, *WEIGHTS, "--json").out)[0] for folder in folders
    )
    assert list(by_run["heads"]) == ["0"]
    assert by_run == by_folder
    assert by_run["scale"].endswith(", calibrated on training videos")
    assert any("the head was fitted on it" in warning for warning in by_run["warnings"])
    scored = json.loads(run("score", clip, "--model", final, *WEIGHTS, "--json").out)[0]
    assert scored == by_run
    of_split = json.loads(run("predict", final, clip, *WEIGHTS, "--split", 1, "--json").out)[0]
    assert list(of_split["heads"]) == ["1"]
    assert of_split["score"] != by_run["score"]
    held_out = run("predict", final, clip, *WEIGHTS, "--held-out", "--json")
    split = json.loads((final / "splits.json").read_text())["splits"]
    unseen = [str(number) for number, own in enumerate(split) if "v3.mp4" in own["test"]]
    if unseen:
        assert list(json.loads(held_out.out)[0]["heads"]) == unseen
    else:
        assert "every head was fitted on this video" in held_out.err


def test_show__names_the_final_head(run: Run, final: Path) -> None:
    lines = run("show", final).out
    assert f"final head                   {KIND}; in final/" in lines
    own = run("show", final / "final").out
    assert "none is left to measure it; the metrics of the splits of its run estimate how good it is" in own
    assert f"splits                       1, {KIND}" in own
    rows = json.loads(run("runs", "runs", "--json").out)
    assert [row["run"] for row in rows] == ["runs/x"]


def test_evaluate__measures_the_splits_of_a_run_with_a_final_head(run: Run, final: Path) -> None:
    metrics = json.loads((final / "metrics.json").read_text())
    measured = json.loads(run("evaluate", final, "--store", "features", "--json").out)
    assert measured["srocc"] == metrics["srocc"]["mean"]
    refused = run("evaluate", final / "final", "--store", "features")
    assert (refused.code, "so none is left to measure it" in refused.err) == (1, True)


@pytest.mark.filterwarnings("default")
def test_fit__writes_event_files_by_option(run: Run, final: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is absent: pip install vqafeat[tensorboard]")
    ended = run(*FIT, "--ratio", "60/40", "--final", "--tensorboard")
    assert "Warning: 'runs/x' was finished without event files; fit it again with --overwrite" in ended.err
    assert run(*FIT, "--final", "--tensorboard", "--overwrite").code == 0
    folders = sorted(path.parent.relative_to(final).as_posix() for path in final.rglob("events.*"))
    assert folders == ["final/tensorboard/split-00", "tensorboard/split-00", "tensorboard/split-01"]
