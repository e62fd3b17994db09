"""The demo from its first frame to its plot, with short clips and a tiny network."""

from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.pretraining.conftest import tiny_backbone
from vqafeat.demo import make_demo
from vqafeat.errors import WeightsError

__all__ = ["tiny_backbone"]


def test_the_demo_runs_whole_and_says_what_its_weights_mean(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(backbone: object) -> None:
        raise WeightsError("published weights cannot be fetched")

    monkeypatch.setattr("vqafeat_cli.demo_run.make_demo", partial(make_demo, seconds=0.5))
    monkeypatch.setattr("vqafeat_cli.demo_run.BACKBONE", "tiny")
    monkeypatch.setattr("vqafeat_cli.demo_run.SPLITS", 2)
    monkeypatch.setattr("vqafeat_cli.demo_run.published_state", unavailable)
    ended = run("demo", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "weights random, seed 0: ImageNet weights cannot be had here" in ended.out
    for word in ("84 videos extracted", "SROCC", "KROCC", "PLCC", "RMSE", "mean     std", "proxy score of demo, 0 to 100"):
        assert word in ended.out
    assert "opinion" not in ended.out
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "runs" / "sub-gru" / "metrics.json").is_file()
    assert run("demo", "--out", tmp_path / "out", "--weights", "random:1").code == 0
    again = run("demo", "--out", tmp_path / "out")
    assert "0 videos extracted (0 frames), 84 already done" in again.out
