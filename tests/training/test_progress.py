"""Event files hold what TensorBoard reads: each epoch once, with the metrics of the run's own files."""

import csv
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress

from tests.helpers.fits import FAST, MORE, SPLITS, StoppedError, files_of, small_fit, stopping_after
from tests.helpers.stores import MakeStore, tiny_dataset, tiny_features
from vqafeat.errors import ArgumentError
from vqafeat.evaluation.model import Model
from vqafeat.training import checkpoint, parallel
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.progress import EventFiles
from vqafeat.training.run import Run

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="TensorBoard is not installed: pip install vqafeat[tensorboard]",
)
DECAY = {**FAST["overrides"], "schedule": "step", "decay": 0.5, "decay_every": 2}


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return tag → (epoch, value) pairs, in the order in which they were written."""
    reader = accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(own.step, own.value) for own in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def curve(run: Run, split: int, column: str) -> list[tuple[int, float]]:
    with (run.path / "curve.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["split"]) == split]
    return [(int(row["epoch"]), float(row[column])) for row in rows]


def test_event_files__equal_the_recorded_curve(make_store: MakeStore, tmp_path: Path) -> None:
    plain = small_fit(make_store(), tmp_path / "plain", overrides=DECAY)
    run = small_fit(make_store(), tmp_path / "run", overrides=DECAY, tensorboard=True, jobs=2)
    first, second = (events(run.path / "tensorboard" / f"split-0{number}") for number in range(2))
    assert first["training/loss"] == pytest.approx(np.array(curve(run, 0, "loss")))
    assert first["validation/srocc"] == pytest.approx(np.array(curve(run, 0, "validation_srocc")))
    assert second["training/loss"] == pytest.approx(np.array(curve(run, 1, "loss")))
    # without a validation part
    assert sorted(second) == ["training/learning_rate", "training/loss"]
    assert first["training/learning_rate"] == pytest.approx(np.array([(1, 0.02), (2, 0.02), (3, 0.01)]))
    shutil.rmtree(run.path / "tensorboard")
    assert files_of(run.path) == files_of(plain.path)


def test_event_files__validation_metrics_are_those_of_a_line(make_store: MakeStore, tmp_path: Path) -> None:
    overrides = {**FAST["overrides"], "epochs": 1, "select": "test"}
    run = small_fit(make_store(), tmp_path / "run", overrides=overrides, splits=SPLITS[:1], tensorboard=True)
    metrics = events(run.path / "tensorboard" / "split-00")
    model = Model.load(run.path, calibrated=False)
    scores = np.array([model.predict_features(tiny_features(number)) for number in range(10, 15)])
    mos = np.array([video.mos for video in tiny_dataset(20).videos[10:15]])
    line = linregress(scores, mos)
    rmse = np.sqrt(np.mean((line.slope * scores + line.intercept - mos) ** 2))
    assert metrics["validation/plcc"][0] == pytest.approx((1, line.rvalue), abs=1e-5)
    assert metrics["validation/rmse"][0] == pytest.approx((1, rmse), abs=1e-5)
    assert metrics["test/srocc"][0] == pytest.approx((1, run.metrics.srocc.mean))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("records", [2, 4, 5])
def test_event_files__of_a_resumed_fit_have_each_epoch_once(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int, before: bool
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(parallel, "SPLITS_PER_GROUP", 1)
    stop = stopping_after(records)
    with pytest.raises(StoppedError):
        small_fit(make_store(), tmp_path / "run", splits=MORE, progress=stop, tensorboard=before)
    assert (tmp_path / "run" / "tensorboard").exists() == before
    run = small_fit(make_store(), tmp_path / "run", splits=MORE, tensorboard=True)
    for number in range(3):
        folder = run.path / "tensorboard" / f"split-0{number}"
        assert len(list(folder.iterdir())) == 1
        metrics = events(folder)
        assert metrics["training/loss"] == pytest.approx(np.array(curve(run, number, "loss")))
        assert all([epoch for epoch, _ in own] == [1, 2, 3] for own in metrics.values())


def test_event_files__of_the_final_head_are_in_its_folder(make_store: MakeStore, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"splits": SPLITS[1:], "final": True, "tensorboard": True}
    run = small_fit(make_store(), tmp_path / "run", **changes)
    assert run.final is not None
    losses = events(run.final.path / "tensorboard" / "split-00")["training/loss"]
    assert losses == pytest.approx(np.array(curve(run.final, 0, "loss")))
    before = files_of(run.path)
    assert small_fit(make_store(), run.path, **changes).was_finished
    assert files_of(run.path) == before


def test_event_files__of_a_finished_fit_need_another_one(make_store: MakeStore, tmp_path: Path) -> None:
    small_fit(make_store(), tmp_path / "run")
    message = r"run' was finished without event files; fit it again with --overwrite to write them\.$"
    with pytest.warns(UserWarning, match=message):
        small_fit(make_store(), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run" / "tensorboard").exists()
    run = small_fit(make_store(), tmp_path / "run", tensorboard=True, overwrite=True)
    assert len(events(run.path / "tensorboard" / "split-01")["training/loss"]) == 3
    small_fit(make_store(), run.path, splits=SPLITS[:1], tensorboard=True, overwrite=True)
    assert [path.name for path in (run.path / "tensorboard").iterdir()] == ["split-00"]


def test_event_files__leave_out_values_that_are_not_defined(tmp_path: Path) -> None:
    seen: list[int] = []
    files = EventFiles(tmp_path, 2, lambda split, record: seen.append(split))
    files(3, EpochRecord(1, float("inf"), 0.5))
    assert events(tmp_path / "split-03") == {"validation/srocc": [(1, 0.5)]}
    assert seen == [3]


def test_fit__tensorboard_is_refused_without_epochs_or_package(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError, match=r"head 'svr' is not trained in epochs, which event files desc"):
        small_fit(make_store(), tmp_path / "run", head="svr", options={}, overrides={}, tensorboard=True)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ArgumentError, match=r"--tensorboard needs .*`pip install 'vqafeat\[tensorb"):
        small_fit(make_store(), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
