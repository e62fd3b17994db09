"""The demo of the pre-training from its images to its comparison, with few pairs, short clips and the tiny network."""

from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.pretraining.conftest import tiny_backbone
from vqafeat.demo import make_demo
from vqafeat.demo.images import make_image_demo
from vqafeat.pretraining.recipes import PRETRAINING_RECIPES

__all__ = ["tiny_backbone"]


def test_the_demo_runs_whole_and_its_repeats_are_the_same(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "vqafeat_cli.demo_pretrain_run"
    short = PRETRAINING_RECIPES.get("demo").overridden({"epochs": 2, "learning_rate": 3e-3})
    monkeypatch.setitem(PRETRAINING_RECIPES._entries, "demo", short)
    monkeypatch.setattr(f"{module}.make_demo", partial(make_demo, seconds=0.5))
    monkeypatch.setattr(f"{module}.make_image_demo", partial(make_image_demo, contents=8))
    monkeypatch.setattr(f"{module}.usual_workers", lambda: 1)
    for name, value in {"BACKBONE": "tiny", "PAIRS": 60, "SPLITS": 2}.items():
        monkeypatch.setattr(f"{module}.{name}", value)
    ended = run("demo-pretrain", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    for words in (
        "1/5  images: 88 crops of two photographs, 22 of other places held out",
        "before   pairs in order 0.",
        "after    pairs in order 0.",
    ):
        assert words in ended.out
    assert "trained again, the same file; stopped after an epoch and resumed, the same file" in ended.out
    said = " ".join(ended.out.split())
    assert "tiny without pre-training mean 0." in said.replace("mean -", "mean ")
    assert "tiny with pre-training mean 0." in said.replace("mean -", "mean ")
    assert (tmp_path / "out" / "iqa-tiny.safetensors").is_file()
    assert not (tmp_path / "out" / "repeated").exists()
