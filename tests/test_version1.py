"""What version 1 wrote keeps working: stores, packed stores, run folders and their digests."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqafeat.evaluation.evaluate import evaluate
from vqafeat.store import FeatureStore, content_digest, verify_store
from vqafeat.training.config import RECIPES, FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.run import Run

HEADS = ("sub-gru", "svr", "mdtvsfa", "no-time")
DIGESTS = {
    "sub-gru": "6b4775ed0158860d8569c76ec3f13a0fa93feaeea8b1becf849fe41cf2ab2e18",
    "svr": "76d9425e5eff04d2e66959e9b9b4346bf76f72344169602e416f029f1512988b",
    "mdtvsfa": "d6238c7a227d97e917f1cf545f3c47b5ffcd0039266159bc1dbf491fccc330f9",
    "no-time": "c6b015d1c9ac74b4c5b7a851ec568eca267ab403da1f55a3a46ff8c8e5091674",
}
# the logistic of no-time's PLCC ends 1.7e-6 away on another processor, with version 1's own code as well
TOLERANCE = {"sub-gru": 1e-6, "svr": 1e-6, "mdtvsfa": 1e-6, "no-time": 2e-6}


@pytest.fixture
def version1(shared_data: Path) -> Path:
    return shared_data / "v1"


def open_version1(version1: Path) -> FeatureStore:
    return FeatureStore.open(version1 / "store" / "small.zarr")


def config_of(recorded: dict[str, Any]) -> FitConfig:
    """The options that version 1 was given, spelled out: its default recipe and mapping were others."""
    recipe = dict(recorded["recipe"])
    name = recipe.pop("name", "default")
    present = RECIPES.get(name).as_dict()
    return FitConfig(
        features=recorded["feature_sets"],
        head=recorded["head"],
        options=recorded["options"],
        recipe=name,
        overrides={key: value for key, value in recipe.items() if value != present[key]},
        splits=len(recorded["datasets"][0]["lines"]),
        ratio=recorded["split_kind"].split(", ")[1],
        seed=recorded["seed"],
        mapping=recorded["mapping"],
        **{key: recorded["frame_input"][key] for key in ("order", "sampling", "draws")},
    )


@pytest.mark.parametrize("folder", ["store", "packed"])
def test_store__of_version_1_opens_and_verifies(version1: Path, folder: str) -> None:
    store = FeatureStore.open(version1 / folder / "small.zarr")
    assert list(verify_store(store)) == []
    assert content_digest(store) == content_digest(open_version1(version1))
    assert len(store.dataset.videos) == 28


@pytest.mark.parametrize("head", HEADS)
def test_fit__finds_a_run_of_version_1_by_its_digest(
    version1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    folder = tmp_path / head
    shutil.copytree(version1 / "runs" / head, folder)
    recorded = json.loads((folder / "config.json").read_text())
    # numbers depend on the software, so that a run of other versions is another run
    monkeypatch.setattr("vqafeat.training.fit.software_versions", lambda: recorded["versions"])
    run = fit(open_version1(version1), config_of(recorded), folder)
    assert run.was_finished
    assert run.config.digest == DIGESTS[head]
    assert json.loads((folder / "config.json").read_text()) == recorded


@pytest.mark.parametrize("head", HEADS)
def test_evaluate__measures_a_run_of_version_1_as_it_did(version1: Path, head: str) -> None:
    recorded = json.loads((version1 / f"eval-{head}.json").read_text())
    metrics = evaluate(version1 / "runs" / head, open_version1(version1), mapping="logistic").summary
    for name in ("srocc", "krocc", "plcc", "rmse"):
        assert getattr(metrics, name).mean == pytest.approx(recorded[name], abs=TOLERANCE[head])
        assert getattr(metrics, name).median == pytest.approx(recorded["medians"][name], abs=TOLERANCE[head])


@pytest.mark.parametrize("head", HEADS)
def test_run__of_version_1_has_predictions_and_scores(version1: Path, head: str) -> None:
    run = Run(version1 / "runs" / head)
    assert run.finished
    assert all(np.isfinite(row.score) for row in run.predictions)
    assert run.metrics.srocc.values
