"""A whole fit: the run folder, the same whatever the processes, refusals; then evaluation and prediction from
that folder.
"""

import csv
import json
import resource
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from tests.helpers import fits
from tests.helpers.fits import FAST, SPLITS, files_of, small_fit
from tests.helpers.stores import MakeStore, identity, tiny_dataset, tiny_features
from vqafeat.errors import (
    ArgumentError,
    IdentityError,
    StoreError,
    TrainingError,
    UnknownNameError,
    WeightsError,
)
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model
from vqafeat.heads import HEADS
from vqafeat.registry import load_plugin
from vqafeat.splits import Split
from vqafeat.store import FeatureStore, pack_store
from vqafeat.store.features import load_features
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.training.batching import Batcher
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.parallel import split_seed
from vqafeat.training.run import Run


def test_fit__writes_the_run_folder(make_store: MakeStore, tmp_path: Path) -> None:
    store, seen = make_store(), list[tuple[int, int]]()

    def watch(split: int, record: EpochRecord) -> None:
        seen.append((split, record.epoch))

    run = small_fit(store, tmp_path / "run", progress=watch)
    assert sorted(files_of(run.path)) == [
        "calibration.json",
        "config.json",
        "curve.csv",
        "metrics.json",
        "predictions.csv",
        "splits.json",
        "training-features.safetensors",
        "weights/split-00.safetensors",
        "weights/split-01.safetensors",
    ]
    assert sorted(seen) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_fit__metrics_follow_from_the_predictions(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    with (run.path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["split", "part", "video", "content", "mos", "prediction", "score"]
    assert [(row["split"], row["part"]) for row in rows].count(("0", "test")) == 5
    assert len(rows) == 40
    metrics = json.loads((run.path / "metrics.json").read_text())
    for number in range(2):
        own = [row for row in rows if row["split"] == str(number) and row["part"] == "test"]
        scores, mos = [float(row["prediction"]) for row in own], [float(row["mos"]) for row in own]
        assert metrics["srocc"]["values"][number] == pytest.approx(
            spearmanr(scores, mos).statistic, abs=1e-12
        )
        assert metrics["krocc"]["values"][number] == pytest.approx(
            kendalltau(scores, mos).statistic, abs=1e-12
        )
        assert metrics["rmse"]["values"][number] == pytest.approx(
            np.sqrt(np.mean((np.array(scores) - mos) ** 2)), abs=1e-12
        )
    assert metrics["n"] == [5, 8]
    assert metrics["kept_because"][1] == "last epoch: there is no validation part"
    assert metrics["kept_epochs"] == list(run.kept_epochs)


def test_fit__records_its_configuration(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    run = small_fit(store, tmp_path / "run", splits=SPLITS)
    config = json.loads((run.path / "config.json").read_text())
    assert (
        config["head"],
        config["options"]["hidden"],
        config["options"]["window"],
        config["recipe"]["epochs"],
    ) == ("sub-gru", 3, 12, 3)
    (trained_on,) = config["datasets"]
    assert (trained_on["name"], trained_on["digest"], trained_on["mos_range"], config["split_kind"]) == (
        "tiny",
        "d1",
        [-1.0, 5.0],
        "given",
    )
    assert [line["scale"] for line in trained_on["lines"]] == [
        max(store.dataset.videos[row].mos for row in split.train) for split in SPLITS
    ]
    assert config["identities"]["tiny"]["network"] == "tiny"


def test_fit__records_its_splits(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    splits = json.loads((run.path / "splits.json").read_text())
    assert splits["splits"][0]["test"] == [f"clip,{row}.mp4" for row in range(15, 20)]


def test_fit__records_and_notes_a_leak_of_content(make_store: MakeStore, tmp_path: Path) -> None:
    # two videos a content: 0 and 1, 2 and 3, …
    store = make_store()
    splits = [SPLITS[0], Split((0, 2, 4), (), (1, 3, 6, 7))]
    run = small_fit(store, tmp_path / "run", splits=splits)
    leak = json.loads((run.path / "splits.json").read_text())["leak"]
    assert leak["splits"] == [
        {"test_videos": 5, "seen_videos": 0, "test_contents": 3, "seen_contents": 0},
        {"test_videos": 4, "seen_videos": 2, "test_contents": 3, "seen_contents": 2},
    ]
    assert run.metrics.notes == (leak["note"],)
    assert "in 1 of 2 splits: up to 2 of 4 test videos (2 of 3 contents)" in leak["note"]
    assert evaluate(run.path, store).summary.notes == (leak["note"],)
    assert leak["note"] not in evaluate(run.path, make_store(9, name="other")).summary.notes


def store_of_copies(folder: Path, copies: dict[int, int]) -> FeatureStore:
    """Return a store of 20 videos; the file of each key of `copies` has the bytes of that of its value."""
    store = FeatureStore.create(folder / "copies.zarr", tiny_dataset(20))
    store.add_feature_set("tiny", identity())
    for row, video in enumerate(store.dataset.videos):
        values, digest = tiny_features(copies.get(row, row)), f"{copies.get(row, row):064}"
        store.write_frames(video.name, FrameTable(np.arange(len(values)) / 25, {"sha256": digest}))
        frame = np.arange(len(values), dtype=np.int32)
        store.write_features("tiny", video.name, VideoFeatures(values, frame), digest)
    return store


@pytest.mark.parametrize("packed", [False, True])
def test_fit__warns_of_byte_identical_videos_in_several_parts(tmp_path: Path, packed: bool) -> None:
    # of the copies, 15 is tested and 0 trained in split 0; 10 is validated and 1 trained; 3 and 4 are trained
    store = store_of_copies(tmp_path, {15: 0, 10: 1, 4: 3})
    if packed:
        pack_store(store.path)
        store = FeatureStore.open(store.path)
    message = (
        r"^2 pair\(s\) of byte-identical videos are in training and in another part of a split: "
        r"clip,0\.mp4 = clip,15\.mp4, clip,1\.mp4 = clip,10\.mp4; the metrics are too good, so keep one "
        r"video of each pair$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        run = small_fit(store, tmp_path / "run", splits=SPLITS[:1])
    assert [warning.filename for warning in caught] == [fits.__file__]
    recorded = json.loads((run.path / "splits.json").read_text())
    leak = recorded["leak"]
    pairs = [["clip,0.mp4", "clip,15.mp4"], ["clip,1.mp4", "clip,10.mp4"]]
    assert leak["identical"]["pairs"] == pairs
    assert leak["splits"] == [{"test_videos": 5, "seen_videos": 1, "test_contents": 3, "seen_contents": 1}]
    assert leak["note"].startswith(
        "content leaks in 1 of 1 splits: up to 1 of 5 test videos (1 of 3 contents)"
    )
    assert run.metrics.notes == (leak["note"], leak["identical"]["note"])
    assert evaluate(run.path, store).summary.notes == run.metrics.notes
    assert small_fit(store, tmp_path / "run", splits=SPLITS[:1]).was_finished


def test_fit__copies_leave_the_digest_of_the_splits(make_store: MakeStore, tmp_path: Path) -> None:
    plain = small_fit(make_store(), tmp_path / "plain", splits=SPLITS[:1])
    with pytest.warns(UserWarning, match="byte-identical"):
        run = small_fit(store_of_copies(tmp_path, {15: 0}), tmp_path / "run", splits=SPLITS[:1])
    assert run.config.splits_digest == plain.config.splits_digest


def test_fit__copies_in_one_part_are_no_leak(tmp_path: Path) -> None:
    run = small_fit(store_of_copies(tmp_path, {4: 3, 16: 15}), tmp_path / "run", splits=SPLITS[:1])
    assert "identical" not in json.loads((run.path / "splits.json").read_text())["leak"]
    assert run.metrics.notes == ()


def test_fit__marks_selection_on_the_test_part_everywhere(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    run = small_fit(store, tmp_path / "run", overrides={**FAST["overrides"], "select": "test"}, jobs=2)
    note = "epochs were chosen by the SROCC of the test part (select=test): these metrics are too good"
    assert run.metrics.notes == (note,)
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["notes"] == [note]
    assert all(reason.startswith("highest test SROCC") for reason in metrics["kept_because"])
    assert json.loads((run.path / "config.json").read_text())["recipe"]["select"] == "test"
    with (run.path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["split", "epoch", "loss", "validation_srocc", "test_srocc"]
    kept = {(row["split"], row["epoch"]): float(row["test_srocc"]) for row in rows}
    assert kept["0", str(run.kept_epochs[0])] == max(
        srocc for (split, _), srocc in kept.items() if split == "0"
    )
    assert run.metrics.srocc.values == pytest.approx(
        [kept[str(split), str(epoch)] for split, epoch in enumerate(run.kept_epochs)]
    )
    assert evaluate(run.path, store).summary.notes == (note,)
    assert note not in evaluate(run.path, make_store(9, name="other")).summary.notes
    usual = small_fit(store, tmp_path / "usual")
    assert usual.metrics.notes == ()
    assert (usual.path / "curve.csv").read_text().splitlines()[0] == "split,epoch,loss,validation_srocc"


def test_fit__notes_a_loss_that_leaves_the_scale_open(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run", overrides={**FAST["overrides"], "loss": "plcc+srcc"})
    assert run.metrics.notes == (
        "the loss 'plcc+srcc' leaves the scale of the heads' own output open: only calibrated scores are on "
        "the labels' scale",
    )
    uncalibrated = Model.load(run.path, calibrated=False)
    assert (
        uncalibrated.scale
        == "not calibrated: an arbitrary scale (loss 'plcc+srcc') that rises with MOS of tiny, -1 to 5"
    )


def test_fit__refuses_too_few_test_videos_before_touching_the_folder(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"the test part has 2 video"):
        small_fit(
            make_store(), tmp_path / "run", splits=[Split((0, 1), (), (2, 3))], overrides={"select": "test"}
        )
    assert not (tmp_path / "run").exists()


def test_fit__does_not_depend_on_jobs(make_store: MakeStore, tmp_path: Path) -> None:
    store, seen = make_store(), list[int]()
    small_fit(store, tmp_path / "one")
    small_fit(store, tmp_path / "two", jobs=2, progress=lambda split, record: seen.append(split))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert sorted(seen) == [0, 0, 0, 1, 1, 1]


def test_fit__raises_the_error_of_another_process(make_store: MakeStore, tmp_path: Path) -> None:
    splits = [SPLITS[0], Split(tuple(range(10)), (10, 11), tuple(range(15, 20)))]
    with pytest.raises(TrainingError, match=r"the validation part has 2"):
        small_fit(make_store(), tmp_path / "run", splits=splits, jobs=2)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_fit__splits_depend_on_each_other_by_rounding_alone(make_store: MakeStore, tmp_path: Path) -> None:
    both = small_fit(make_store(), tmp_path / "both")
    first = small_fit(make_store(name="tiny2"), tmp_path / "first", splits=SPLITS[:1])
    together = [row for row in both.predictions if row.split == 0]
    for one, alone in zip(together, first.predictions, strict=True):
        assert replace(one, prediction=0.0, score=0.0) == replace(alone, prediction=0.0, score=0.0)
        assert one.prediction == pytest.approx(alone.prediction, rel=1e-4, abs=1e-6)
    assert len({split_seed(seed, number) for seed in range(5) for number in range(20)}) == 100


@pytest.mark.parametrize("head", ["no-time", "avg-gru", "sub-lstm"])
def test_fit__takes_other_heads_and_fused_features(make_store: MakeStore, tmp_path: Path, head: str) -> None:
    options = {"reduced": 4} if head == "no-time" else {"reduced": 4, "hidden": 3}
    run = small_fit(
        make_store(), tmp_path / "run", head=head, features="tiny+sparse", options=options, splits=SPLITS[:1]
    )
    assert run.config.channels == 8
    assert sorted(run.config.identities) == ["sparse", "tiny"]


def test_fit__stops_at_or_skips_missing_features(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(missing=(3, 16))
    with pytest.raises(StoreError, match=r"2 of 20 videos of 'tiny' have no complete features"):
        small_fit(store, tmp_path / "run")
    run = small_fit(store, tmp_path / "run", skip_missing=True)
    assert run.metrics.n == (4, 7)
    left_out = "2 video(s) without complete features left out: clip,3.mp4, clip,16.mp4"
    assert run.metrics.notes == (left_out,)
    assert json.loads((run.path / "splits.json").read_text())["skipped"] == ["clip,3.mp4", "clip,16.mp4"]
    with pytest.raises(TrainingError, match=r"split 0 has 10 training, 1 test video\(s\) with features"):
        small_fit(make_store(missing=(15, 16, 17, 18), name="gaps"), tmp_path / "other", skip_missing=True)


def test_fit__refuses_wrong_arguments(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    with pytest.raises(ArgumentError, match=r"splits is empty"):
        small_fit(store, tmp_path / "run", splits=[])
    with pytest.raises(ArgumentError, match=r"jobs is 0; it has to be at least 1"):
        small_fit(store, tmp_path / "run", jobs=0)
    with pytest.raises(ArgumentError, match=r"seed is -1; it has to be at least 0"):
        small_fit(store, tmp_path / "run", seed=-1)
    with pytest.raises(
        TrainingError, match=r"a split names video 20, 'tiny' has 0 to 19; use splits of this data set"
    ):
        small_fit(store, tmp_path / "run", splits=[Split((0, 1), (), (2, 20))])
    with pytest.raises(ArgumentError, match=r"device is 'gpu'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'"):
        small_fit(store, tmp_path / "run", device="gpu")
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'vfsa': did you mean vsfa"):
        small_fit(store, tmp_path / "run", recipe="vfsa")
    with pytest.raises(UnknownNameError, match=r"unknown mapping"):
        small_fit(store, tmp_path / "run", mapping="cubic")
    assert not (tmp_path / "run").exists()


def test_fit__refuses_an_absent_device(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(
        ArgumentError, match=r"device is 'cuda', but PyTorch finds no CUDA device here; use 'cpu'\.$"
    ):
        small_fit(make_store(), tmp_path / "run", device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    known = r"PyTorch finds 2 CUDA device\(s\) here, counted from 0; use one of them, or 'cpu'\.$"
    with pytest.raises(ArgumentError, match=f"device is 'cuda:2', but {known}"):
        small_fit(make_store(), tmp_path / "run", device="cuda:2")


def test_fit__replaces_a_finished_run_only_when_requested(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    small_fit(store, tmp_path / "run")
    with pytest.raises(
        ArgumentError,
        match=r"holds a finished run of another configuration; name another folder .* with --overwrite",
    ):
        small_fit(store, tmp_path / "run", seed=6)
    small_fit(store, tmp_path / "run", splits=SPLITS[:1], overwrite=True)
    assert not (tmp_path / "run" / "weights" / "split-01.safetensors").exists()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").touch()
    with pytest.raises(ArgumentError, match=r"holds files that are not of a run"):
        small_fit(store, tmp_path / "else", overwrite=True)
    with pytest.raises(ArgumentError, match=r"thesis.tex' is a file; name a folder"):
        small_fit(store, tmp_path / "else" / "thesis.tex")


def test_model__scores_as_the_fit_did(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    model = Model.load(run.path)
    recorded = {(row.split, row.video): row.score for row in run.predictions}
    for split in range(2):
        assert model.score(tiny_features(17), split) == pytest.approx(
            recorded[split, "clip,17.mp4"], abs=1e-5
        )
    assert model.score(tiny_features(17)) == pytest.approx(
        np.mean([recorded[split, "clip,17.mp4"] for split in range(2)]), abs=1e-5
    )
    pooled, raw = model.frame_scores(tiny_features(17)), model.frame_scores(tiny_features(17), pooled=False)
    assert pooled.shape == raw.shape == (len(tiny_features(17)),)
    assert pooled.mean() == pytest.approx(model.score(tiny_features(17)))
    assert np.abs(pooled - raw).max() > 1e-4
    assert model.scale == "MOS of tiny, -1 to 5, calibrated on validation or training videos"


def test_model__refuses_wrong_features(make_store: MakeStore, tmp_path: Path) -> None:
    model = Model.load(small_fit(make_store(), tmp_path / "run").path)
    with pytest.raises(ArgumentError, match=r"the features have 7 channels, the model needs 6 \('tiny'\)"):
        model.score(tiny_features(0, channels=7))
    with pytest.raises(ArgumentError, match=r"features of 'the video' are float64"):
        model.score(np.zeros((3, 6)))
    with pytest.raises(ArgumentError, match=r"split is 2; the run has 2 \(0 to 1\)"):
        model.score(tiny_features(0), 2)
    with pytest.raises(ArgumentError, match=r"a run with 2 splits needs as many heads, got 1"):
        Model(model.config, model.heads[:1])
    model.check_identity("tiny", identity())
    with pytest.raises(
        IdentityError,
        match=r"computed differently from those of the training \(training against these\): view: "
        r"'full' against 'crop'",
    ):
        model.check_identity("tiny", identity(view="crop"))


@pytest.mark.parametrize(
    "changes", [{}, {"memory_bytes": 1}, {"head": "svr", "overrides": {}, "options": {}}]
)
def test_fit__refuses_features_without_their_checksums(
    make_store: MakeStore, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(make_store().path, tmp_path / "tiny.zarr")
    store = FeatureStore.open(tmp_path / "tiny.zarr")
    run = small_fit(store, tmp_path / "run", **changes)
    (chunk,) = (store.path / "features" / "tiny").glob(f"*{store.dataset.videos[17].name}/values/c/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-5] + b"?" + chunk.read_bytes()[-4:])
    message = r"values/c/0/0' does not have its checksum; run `vqafeat verify`"
    with pytest.raises(StoreError, match=message):
        small_fit(store, tmp_path / "damaged", **changes)
    with pytest.raises(StoreError, match=message):
        evaluate(run, store)
    assert small_fit(store, run.path, **changes).was_finished  # nothing is read for it


def test_model_load__reports_damaged_runs(make_store: MakeStore, tmp_path: Path) -> None:
    folder = small_fit(make_store(), tmp_path / "run").path
    config = json.loads((folder / "config.json").read_text())

    def refuse_with(changes: dict[str, Any], message: str) -> None:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(WeightsError, match=message):
            Model.load(folder)

    refuse_with(
        {"head": "nope"}, "has the head 'nope', which this vqafeat does not have; load its plug-in .*sub-gru"
    )
    refuse_with({"surprise": 1}, "config.json': unknown key 'surprise'")
    refuse_with({"format_version": 1}, "config.json' has format version 1, this vqafeat reads 2; fit again")
    refuse_with(
        {"datasets": []}, "the run needs at least one data set, each with one label line for each split"
    )
    (own,) = config["datasets"]
    refuse_with({"datasets": [{**own, "lines": []}]}, "each with one label line for each split")
    refuse_with({"datasets": [{"name": "tiny"}]}, r"datasets\[0\]: missing key")
    refuse_with({"channels": 0}, "channels of the run is 0")
    refuse_with(
        {"channels": 7},
        r"split-00.safetensors' do not fit the head: .*reduce.linear.weight is \(4, 6\) in place of \(4, 7\)",
    )
    refuse_with(
        {"datasets": [{**own, "lines": own["lines"] + own["lines"][:1]}]}, "split-02.safetensors' is missing"
    )
    (folder / "metrics.json").unlink()
    refuse_with({}, "metrics.json' is missing: .* its fit did not finish")


def test_evaluate__on_the_same_data_set_repeats_the_fit(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    run = small_fit(store, tmp_path / "run")
    evaluation = evaluate(run.path, store)
    assert evaluation.measured_on == "the test parts of the run's 2 splits of 'tiny'"
    assert evaluation.summary.srocc.values == pytest.approx(run.metrics.srocc.values)
    assert evaluation.summary.rmse.values == pytest.approx(run.metrics.rmse.values, abs=1e-5)
    relabelled = evaluate(run.path, make_store(digest="d2"))
    assert relabelled.summary.notes == ("the data set's labels or videos have changed since the fit",)


def test_evaluate__on_another_data_set_takes_all_its_videos(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    other = make_store(9, name="other", missing=(8,))
    with pytest.raises(StoreError, match=r"1 of 9 videos of 'other'"):
        evaluate(run.path, other)
    evaluation = evaluate(run.path, other, skip_missing=True, mapping="logistic")
    assert evaluation.measured_on == "all 9 videos of 'other'"
    assert evaluation.summary.n == (8, 8)
    assert evaluation.summary.notes[0] == "1 video(s) without complete features left out: clip,8.mp4"
    with pytest.raises(
        ArgumentError, match=r"5 test videos of the run are not in .* use the store of the run, or fit again"
    ):
        evaluate(run.path, make_store(15, digest="d3"))


def test_evaluate__a_head_with_one_measured_video_has_no_metrics(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    whole, part = evaluate(run.path, make_store()), make_store(missing=(15, 16, 17, 18))
    summary = evaluate(run.path, part, skip_missing=True).summary
    assert summary.n == (1, 8)
    assert np.isnan(summary.srocc.values[0])
    assert summary.srocc.values[1] == whole.summary.srocc.values[1]
    few = "not measured, as fewer than 2 of the videos are in the test part"
    first, second = summary.notes
    assert first.startswith("4 video(s) without complete features left out: clip,15.mp4, clip,16.mp4, ")
    assert second == f"split 0: {few}"


def test_evaluate__refuses_features_computed_differently_unless_allowed(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    other = make_store(name="other", view="crop")
    with pytest.raises(IdentityError, match=r"view: 'full' against 'crop'.* pass --any-features"):
        evaluate(run.path, other)
    assert evaluate(run.path, other, any_features=True).summary.n == (20, 20)


def test_fit__takes_more_videos_than_file_descriptors(make_store: MakeStore) -> None:
    store = make_store(60)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 12, hard))
    try:
        sequences = load_features(store, "tiny")
        batches = list(Batcher(sequences).batches([range(60)]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    expected = np.concatenate([tiny_features(number) for number in range(60)]).astype(np.float32)
    np.testing.assert_array_equal(batches[0].frames.numpy(), expected)
    assert sequences.lengths == tuple(len(tiny_features(number)) for number in range(60))


def test_fit__one_split_that_fails_ends_the_others(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    chunk = store.path / "features" / "tiny" / "clip,19.mp4" / "values" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    poisoned = np.frombuffer(whole[:-4], dtype=np.float16).copy()
    poisoned[:] = np.nan
    long = Split(tuple(range(10)), tuple(range(10, 15)), (15, 16))
    failing = Split((17, 18, 19), (), (15, 16))
    start = time.monotonic()
    checksum = google_crc32c.value(poisoned.tobytes()).to_bytes(4, "little")
    chunk.write_bytes(poisoned.tobytes() + checksum)
    try:
        with pytest.raises(TrainingError, match=r"clip,19.mp4"):
            small_fit(
                store,
                tmp_path / "run",
                splits=[long, failing],
                overrides={**FAST["overrides"], "epochs": 100_000},
                jobs=2,
            )
    finally:
        chunk.write_bytes(whole)
    assert time.monotonic() - start < 90


def test_fit__an_overwrite_that_cannot_start_keeps_the_finished_run(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    before = files_of(run.path)
    too_small = Split(tuple(range(10)), (10, 11), (15, 16))
    with pytest.raises(TrainingError, match="the validation part has 2 video"):
        small_fit(make_store(), run.path, splits=[SPLITS[0], too_small], overwrite=True)
    assert files_of(run.path) == before


def test_fit__refuses_options_that_head_or_machine_lack(make_store: MakeStore, tmp_path: Path) -> None:
    options = {"head": "no-time", "options": {"reduced": 4}}
    with pytest.raises(ArgumentError, match="pooling"):
        small_fit(
            make_store(), tmp_path / "run", **options, overrides={**FAST["overrides"], "pooling": "paper"}
        )
    for device in ("meta", "mps", "xpu", "cuda:-1"):
        with pytest.raises(
            ArgumentError, match=f"device is '{device}'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'"
        ):
            small_fit(make_store(), tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_evaluate__notes_training_videos_among_the_measured(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    notes = evaluate(run.path, make_store(name="other", digest="d2")).summary.notes
    assert any("20" in note and "training" in note for note in notes)
    with pytest.raises(StoreError):
        evaluate(run.path, make_store(name="empty", missing=tuple(range(20))), skip_missing=True)


@pytest.fixture
def own_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the heads that a test registers."""
    for table in ("_entries", "_added"):
        monkeypatch.setattr(HEADS, table, dict(getattr(HEADS, table)))


def load_head(path: Path, name: str, body: str) -> None:
    path.write_text(
        "from vqafeat.heads import HEADS\nfrom vqafeat.heads.recurrent import NoTime\n\n\n"
        f"@HEADS.register('{name}')\nclass Own(NoTime):\n    {body}\n"
    )
    load_plugin(path)


@pytest.mark.usefixtures("own_heads")
def test_fit__trains_a_head_of_this_process_in_workers(make_store: MakeStore, tmp_path: Path) -> None:
    load_head(tmp_path / "plugin.py", "no-time-again", "'No time.'")
    options = {"head": "no-time-again", "options": {"reduced": 4}}
    one = small_fit(make_store(), tmp_path / "one", **options)
    two = small_fit(make_store(), tmp_path / "two", jobs=2, **options)
    assert files_of(one.path) == files_of(two.path)


@pytest.mark.usefixtures("own_heads")
def test_fit__repeats_a_run_whose_plugin_has_changed(make_store: MakeStore, tmp_path: Path) -> None:
    def fitted(settling: int, **changes: object) -> Run:
        load_head(tmp_path / "changing.py", "changing", f"settling = {settling}")
        return small_fit(
            make_store(), tmp_path / "run", **{"head": "changing", "options": {"reduced": 4}, **changes}
        )

    sources = {name for name in fitted(1).config.versions if name.startswith("source")}
    assert sources == {"source of the head changing"}
    assert fitted(1).was_finished
    with pytest.raises(ArgumentError, match=r"holds a finished run of another configuration; .* --overwrite"):
        fitted(10)
    assert not fitted(10, overwrite=True).was_finished
    assert not [
        name for name in small_fit(make_store(), tmp_path / "own").config.versions if "source" in name
    ]
