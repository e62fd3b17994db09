"""Run folders of version 1: a fit with equal options has the same digest, so it is found and not repeated."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from vqafeat.store import FeatureStore
from vqafeat.training import fit as fitting
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.run import Run

# the recipe "default" had these values when the folders were written
THEN = {"learning_rate": 3e-4, "start_at_mean": False}
RUNS: dict[str, dict[str, Any]] = {
    "sub-gru": {"overrides": {**THEN, "epochs": 6}, "splits": 3},
    "svr": {"ratio": "80/20", "splits": 3},
    "mdtvsfa": {"overrides": {**THEN, "epochs": 6, "loss": "plcc+srcc"}, "splits": 2},
    "no-time": {
        "features": "resnet18@short540@uniform128",
        "overrides": {**THEN, "epochs": 4},
        "splits": 2,
        "order": "SS",
        "sampling": "sample-8",
    },
}
DIGESTS = {
    "sub-gru": "6b4775ed0158860d8569c76ec3f13a0fa93feaeea8b1becf849fe41cf2ab2e18",
    "svr": "76d9425e5eff04d2e66959e9b9b4346bf76f72344169602e416f029f1512988b",
    "mdtvsfa": "d6238c7a227d97e917f1cf545f3c47b5ffcd0039266159bc1dbf491fccc330f9",
    "no-time": "c6b015d1c9ac74b4c5b7a851ec568eca267ab403da1f55a3a46ff8c8e5091674",
}


@pytest.mark.parametrize("head", RUNS)
def test_fit__finds_a_run_of_version_1_by_its_digest(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    folder = tmp_path / head
    shutil.copytree(shared_data / "v1" / "runs" / head, folder)
    written = Run(folder)
    assert written.config.digest == DIGESTS[head]
    monkeypatch.setattr(fitting, "software_versions", lambda: written.config.versions)
    store = FeatureStore.open(shared_data / "v1" / "store" / "small.zarr")
    config = FitConfig(**{"features": "squeezenet1_0", "head": head, "mapping": "logistic", **RUNS[head]})
    run = fit(store, config, folder)
    assert run.found
    assert run.metrics.as_dict() == written.metrics.as_dict()
    assert len(run.predictions) == len(written.predictions) > 0
