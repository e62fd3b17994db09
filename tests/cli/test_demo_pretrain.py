"""The demo of the pre-training from its images to its comparison, with few pairs, short clips and the tiny
network.
"""

from functools import partial
from pathlib import Path

import pytest
from vqafeat_cli import demo_run

from tests.helpers.command_line import Run
from vqafeat.demo import make_demo
from vqafeat.demo.image_set import make_image_demo
from vqafeat.pretraining.config import PRETRAINING_RECIPES

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the demo to a few pairs, a short training and short clips."""
    short = PRETRAINING_RECIPES.get("demo").overridden({"epochs": 2, "learning_rate": 3e-3})
    monkeypatch.setitem(PRETRAINING_RECIPES._entries, "demo", short)
    monkeypatch.setattr(demo_run, "make_demo", partial(make_demo, seconds=0.5))
    monkeypatch.setattr(demo_run, "make_image_demo", partial(make_image_demo, contents=8))
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0})
    for name, value in {"PRETRAINED": "tiny", "PAIRS": 60, "SPLITS": 2}.items():
        monkeypatch.setattr(demo_run, name, value)


class VideosReachedError(Exception):
    """The first half of the demo is done."""


@pytest.mark.usefixtures("small")
def test_demo_pretrain__makes_images_trains_and_repeats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def reached(*arguments: object) -> None:
        raise VideosReachedError

    monkeypatch.setattr(demo_run, "make_demo", reached)
    with pytest.raises(VideosReachedError):
        demo_run.run_demo_pretrain(tmp_path / "out", 0)
    output = capsys.readouterr().out
    for words in (
        "1/5  images: 128 crops of two photographs, 32 of other places held out",
        "before   pairs in order 0.",
        "after    pairs in order 0.",
    ):
        assert words in output
    assert "trained again, the same file; stopped after an epoch and resumed, the same file" in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "images",
        "iqa-tiny.json",
        "iqa-tiny.safetensors",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_demo_pretrain__runs_whole(run: Run, tmp_path: Path) -> None:
    ended = run("demo-pretrain", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    output = " ".join(ended.out.split()).replace("mean -", "mean ")
    assert "tiny without pre-training mean 0." in output
    assert "tiny with pre-training mean 0." in output
