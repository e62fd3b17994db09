"""Run folders: the names of free ones, and the JSON that commands print of them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.recorded_runs import scores_of, write_run
from vqafeat.training.config import RECIPES
from vqafeat.training.frame_sampling import FrameInput
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig

DEFAULT = RECIPES.get("default").as_dict()
VSFA = RECIPES.get("vsfa")
OFFICIAL = "demo-protocol=official-test_part=test-validation_share=0.3"
SAFE = re.compile(r"[A-Za-z0-9_.+=-]+")


@pytest.fixture
def plain(tmp_path: Path) -> Run:
    words = "content, 60/20/20, seed 0; no content shared between training and test"
    settings = {"recipe": DEFAULT, "split_kind": words, "versions": {"python": "3.11", "torch": "2.6.0"}}
    return Run(write_run(tmp_path / "demo", scores_of(0.5, 1, splits=2), **settings))


def opened(plain: Run, config: RunConfig) -> Path:
    """Return the folder of a run without --out, after its configuration is written there."""
    run = Run.open(plain.path, config, overwrite=False, reuse=True)
    run.path.mkdir(exist_ok=True)
    (run.path / "config.json").write_text(json.dumps(config.as_dict()))
    return run.path


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 1}, "demo-seed=1"),
        ({"seed": 1, "recipe": {**DEFAULT, "loss": "mae"}}, "demo-loss=mae-seed=1"),
        ({"recipe": {**DEFAULT, "learning_rate": 3e-4, "standardise": True}}, None),
        ({"recipe": {**DEFAULT, "label_scale": "none"}}, "demo-label_scaling=none"),
        ({"recipe": VSFA.as_dict(), "options": {"reduced": 4}}, "demo-recipe=vsfa"),
        ({"recipe": VSFA.overridden({"epochs": 3}).as_dict()}, "demo-recipe=vsfa-epochs=3"),
        ({"options": {"reduced": 8, "text": "a/b: <c>."}}, "demo-reduced=8-text=a-b-c"),
        ({"frame_input": FrameInput("OS", "sample-4", 3)}, "demo-order=OS-sampling=sample-4-draws=3"),
        ({"split_kind": "content, 80/20, seed 0; up to 2"}, "demo-ratio=80-20"),
        ({"split_kind": "stored, 60/20/20; up to 2"}, "demo-protocol=stored"),
        ({"split_kind": "official, tested on 'test', 0.3 of training for validation; none"}, OFFICIAL),
        ({"versions": {"python": "3.12", "torch": "2.7.1+cpu"}}, "demo-torch=2.7.1+cpu"),
        ({"splits_digest": "s2"}, "demo-{digest}"),
        ({"seed": 1, "options": {"text": "x" * 60}}, "demo-seed=1-{digest}"),
    ],
)
def test_open__names_a_folder_by_what_differs(plain: Run, changes: dict[str, Any], name: str | None) -> None:
    config = replace(plain.config, **changes)
    path = opened(plain, config)
    expected = name or "demo-learning_rate=0.0003-standardise=yes"
    assert path.name == expected.format(digest=config.digest[:8])
    assert SAFE.fullmatch(path.name)
    assert path.parent == plain.path.parent
    assert opened(plain, config) == path, "the same configuration has the same folder"


def test_open__a_name_that_is_taken_gets_a_digest(plain: Run) -> None:
    one, two = (replace(plain.config, seed=1, splits_digest=digest) for digest in ("s2", "s3"))
    assert opened(plain, one).name == "demo-seed=1"
    assert opened(plain, two).name == f"demo-seed=1-{two.digest[:8]}"
    assert opened(plain, one).name == "demo-seed=1"


def test_open__finds_a_folder_that_is_named_by_a_digest(plain: Run) -> None:
    config = replace(plain.config, seed=1)
    folder = plain.path.with_name(f"demo-{config.digest[:8]}")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.as_dict()))
    assert opened(plain, config) == folder


@pytest.mark.parametrize("content", ["{", '{"format_version": 1}'])
def test_open__next_to_a_run_that_cannot_be_read(plain: Run, content: str) -> None:
    config = replace(plain.config, seed=1)
    (plain.path / "config.json").write_text(content)
    assert opened(plain, config).name == f"demo-{config.digest[:8]}"


def test_as_json__counts_videos_and_keeps_the_values_of_splits(plain: Run) -> None:
    values = plain.as_json()
    assert (values["run"], values["head"], values["finished"]) == (str(plain.path), "no-time", True)
    assert values["srocc"] == plain.metrics.srocc.mean
    assert values["medians"]["plcc"] == plain.metrics.plcc.median
    assert values["stds"]["rmse"] == plain.metrics.rmse.std
    assert values["values"]["srocc"] == plain.metrics.srocc.values
    assert values["values"]["n"] == (12, 12)
    assert (values["n"], values["heads"]) == (17, 2)


def test_describe__names_the_values_of_the_recipe_as_the_options_do(plain: Run) -> None:
    assert plain.describe()["Recipe"] == {
        name: value
        for name, value in vars(RECIPES.get("default")).items()
        if name not in ("head_options", "__doc__")
    }


def test_repr__names_head_features_data_set_and_state(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "demo", scores_of(0.5, 1, splits=2)))
    what = f"{run.config.head} on {run.config.feature_sets} of {run.config.dataset}, 2 splits"
    assert repr(run) == f"<Run '{run.path}': {what}, SROCC {run.metrics.srocc.mean:.3f}>"
    assert repr(run.metrics).startswith(f"SROCC {run.metrics.srocc.mean:.3f}, KROCC ")
    (run.path / "metrics.json").unlink()
    assert repr(Run(run.path)) == f"<Run '{run.path}': {what}, not finished>"
