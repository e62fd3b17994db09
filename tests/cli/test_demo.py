"""The demo from its first frame to its plot, with short clips and a tiny network."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.command_line import Run
from vqafeat.demo import make_demo
from vqafeat.training.config import FitConfig

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, tiny_backbone: None) -> None:
    monkeypatch.setattr("vqafeat_cli.demo_run.make_demo", partial(make_demo, seconds=0.5))
    monkeypatch.setattr("vqafeat_cli.demo_run.BACKBONE", "tiny")
    monkeypatch.setattr("vqafeat_cli.demo_run.FEATURES", "tiny")
    monkeypatch.setattr("vqafeat_cli.demo_run.SPLITS", 3)
    short = partial(FitConfig, overrides={"epochs": 2})
    monkeypatch.setattr("vqafeat.FitConfig", short, raising=False)


@pytest.mark.usefixtures("small_demo")
def test_demo__runs_whole_and_scores_by_heads_that_did_not_see_the_video(run: Run, tmp_path: Path) -> None:
    ended = run("demo", "--out", tmp_path / "out", "--weights", "random")
    assert ended.code == 0, ended.err
    for word in (
        "156 videos extracted",
        "SROCC",
        "KROCC",
        "PLCC, plain",
        "RMSE, calibrated",
        "mean     std",
        "proxy score of demo, 0 to 100",
    ):
        assert word in ended.out
    assert "opinion" not in ended.out
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    heads, name = re.search(
        r"scored by the (\d+) of 3 heads that were not fitted on it: .*/(videos/\S+)", ended.out
    ).groups()  # type: ignore[union-attr]
    splits = json.loads((tmp_path / "out" / "runs" / "mdtvsfa" / "splits.json").read_text())["splits"]
    assert sum(name in split["test"] for split in splits) == int(heads) >= 1
    assert "warning" not in ended.err
    again = run("demo", "--out", tmp_path / "out", "--weights", "random")
    assert "0 videos extracted (0 frames), 156 already done" in again.out
    assert again.out.splitlines()[-6:] == ended.out.splitlines()[-6:]


def test_demo__names_the_extra_where_its_weights_are_absent(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    ended = run("demo", "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (1, "")
    assert "vqafeat[demo]" in ended.err
    assert not (tmp_path / "out").exists()
