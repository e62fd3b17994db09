"""The final head of a run: trained on all videos as a plain loop trains it, and used on new ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from tests.helpers.fits import FAST, SPLITS, files_of, small_fit
from tests.helpers.stores import MakeStore, tiny_dataset, tiny_features
from vqafeat.errors import ArgumentError, StoreError, WeightsError
from vqafeat.evaluation.compare import compare_runs
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model, load_model
from vqafeat.evaluation.predict import ScoreChecks
from vqafeat.heads.base import build_head
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.training import checkpoint
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.joint_store import JointStore
from vqafeat.training.parallel import split_seed
from vqafeat.training.run import Run

# a batch holds all videos, so that their order moves a step by rounding alone
OVERRIDES = {"epochs": 5, "learning_rate": 0.02, "batch_size": 20, "schedule": "step", "decay_every": 1}


@pytest.fixture
def run(make_store: MakeStore, tmp_path: Path) -> Run:
    return small_fit(make_store(), tmp_path / "run", overrides=OVERRIDES, final=True)


def plain_loop(epochs: int) -> dict[str, torch.Tensor]:
    """Train on all videos with PyTorch alone."""
    torch.manual_seed(split_seed(5, 0))
    head = build_head("sub-gru", 6, FAST["options"])
    mos = torch.tensor([video.mos for video in tiny_dataset(20).videos], dtype=torch.float64)
    labels = (mos / mos.max()).float()
    head.init_output_bias(float(labels.mean()))
    optimiser = torch.optim.Adam(head.parameters())
    for epoch in range(epochs):
        optimiser.param_groups[0]["lr"] = 0.02 * 0.8**epoch
        frames = [torch.tensor(tiny_features(number)).float() for number in range(20)]
        scores = torch.cat([head(values, torch.tensor([len(values)])) for values in frames])
        optimiser.zero_grad()
        (scores - labels).abs().mean().backward()
        optimiser.step()
    return head.state_dict()


def test_fit__final_head_has_the_weights_of_a_plain_loop(run: Run) -> None:
    assert run.final is not None
    (stop,) = run.final.kept_epochs
    assert stop == min(run.kept_epochs) < 5  # the lower one of two
    weights = load_file(run.path / "final" / "weights" / "split-00.safetensors")
    for name, value in plain_loop(stop).items():
        torch.testing.assert_close(weights[name], value, atol=2e-5, rtol=0)
    kind = "all 20 videos train one head, for {} epoch(s): the median of those that 2 split(s) kept"
    assert run.final.config.split_kind == kind.format(stop)
    assert run.final.splits == [
        {"train": [video.name for video in tiny_dataset(20).videos], "validation": [], "test": []}
    ]


def test_fit__final_head_changes_nothing_of_its_run(run: Run, make_store: MakeStore, tmp_path: Path) -> None:
    plain = small_fit(make_store(), tmp_path / "plain", overrides=OVERRIDES)
    assert plain.final is None
    own = {name: text for name, text in files_of(run.path).items() if not name.startswith("final/")}
    assert own == files_of(plain.path)
    # a finished run gets its final head later
    added = small_fit(make_store(), plain.path, overrides=OVERRIDES, final=True, jobs=2)
    assert added.was_finished
    assert files_of(added.path) == files_of(run.path)
    assert small_fit(make_store(), plain.path, overrides=OVERRIDES, overwrite=True).final is None


def test_model__is_the_final_head_calibrated_on_all_videos(run: Run) -> None:
    assert run.final is not None
    model, of_splits = load_model(run.path), load_model(run.path, final=False)
    assert (len(model.heads), len(of_splits.heads)) == (1, 2)
    assert model.scale == "MOS of tiny, -1 to 5, calibrated on training videos"
    head = build_head("sub-gru", 6, FAST["options"])
    head.load_state_dict(load_file(run.path / "final" / "weights" / "split-00.safetensors"))
    scale = max(video.mos for video in tiny_dataset(20).videos)
    with torch.no_grad():
        outputs = [
            scale * float(head(torch.tensor(values).float(), torch.tensor([len(values)])))
            for values in map(tiny_features, range(20))
        ]
    line = json.loads((run.path / "final" / "calibration.json").read_text())["tiny"][0]
    assert (line["part"], line["videos"]) == ("train", 20)
    for number in (3, 17):
        score = line["slope"] * outputs[number] + line["offset"]
        assert model.predict_features(tiny_features(number)) == pytest.approx(score, abs=1e-5)
        assert of_splits.predict_features(tiny_features(number)) != pytest.approx(score, abs=1e-5)


def test_fit__final_head_has_no_metrics_and_says_so(run: Run, make_store: MakeStore) -> None:
    assert run.final is not None
    assert (run.final.metrics.n, np.isnan(run.final.metrics.srocc.mean)) == ((), True)
    assert run.final.metrics.notes == (
        "this head is trained on all videos, so none is left to measure it; the metrics of the splits of its "
        "run estimate how good it is",
    )
    assert repr(run.final).endswith("1 splits, not measured>")
    store = make_store()
    assert evaluate(run.path, store).summary.srocc.values == run.metrics.srocc.values
    with pytest.raises(ArgumentError, match=r"final' is trained on all videos of 'tiny', so none is left"):
        evaluate(run.path / "final", store)
    other = evaluate(run.path / "final", make_store(9, name="other")).summary
    assert other.n == (9,)
    assert "9 of the 9 measured videos have names of videos in the run's training parts" in other.notes[1]
    with pytest.raises(WeightsError, match=r"has no test predictions, as an imported or a final head"):
        compare_runs([run.path, run.path / "final"])


def test_score_checks__of_a_final_head_know_all_videos(timed_store: FeatureStore, tmp_path: Path) -> None:
    run = small_fit(timed_store, tmp_path / "run", final=True)
    checks, model = ScoreChecks.of(Model.load(run.path)), Model.load(run.path)
    assert checks.features is not None
    for number in range(20):
        assert checks.held_out(f"{number:064}", (0,)) == ()
    (warning, *_) = checks.warnings(f"{9:064}", (0,), np.array([3.0]), tiny_features(9), model)
    assert warning == "it is the training or validation video 'clip,9.mp4': the head was fitted on it"
    assert checks.held_out("f" * 64, (0,)) == (0,)


class StoppedError(Exception):
    """The fit ends here."""


def test_fit__final_head_resumes(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    changes: dict[str, Any] = {"overrides": {**FAST["overrides"], "epochs": 5}, "splits": SPLITS[1:]}
    whole = small_fit(make_store(), tmp_path / "whole", final=True, **changes)
    seen: list[tuple[int, int]] = []

    def stop(split: int, record: EpochRecord) -> None:
        seen.append((split, record.epoch))
        if seen[-1] == (1, 3):
            raise StoppedError

    with pytest.raises(StoppedError):
        small_fit(make_store(), tmp_path / "run", final=True, progress=stop, **changes)
    assert seen == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2), (1, 3)]
    with pytest.raises(WeightsError, match=r"final/metrics.json' is missing.*run `vqafeat fit` again"):
        load_model(tmp_path / "run")
    assert len(load_model(tmp_path / "run", final=False).heads) == 1
    run = small_fit(make_store(), tmp_path / "run", final=True, **changes)
    assert files_of(run.path) == files_of(whole.path)


def test_fit__final_head_refuses_missing_features_before_training(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store(missing=(19,))
    first = Split(tuple(range(10)), (), tuple(range(10, 15)))
    with pytest.raises(StoreError, match=r"1 of 20 videos of 'tiny' have no complete features"):
        small_fit(store, tmp_path / "run", splits=[first], final=True)
    assert not (tmp_path / "run").exists()
    run = small_fit(store, tmp_path / "run", splits=[first], final=True, skip_missing=True)
    assert run.final is not None
    assert run.metrics.notes == ()
    assert run.final.metrics.notes[0] == "1 video(s) without complete features left out: clip,19.mp4"
    assert len(run.final.splits[0]["train"]) == 19


def test_fit__final_svr_is_scikit_learns_on_all_videos(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run", head="svr", options={}, overrides={}, final=True)
    assert run.final is not None
    assert run.final.config.split_kind == "all 20 videos train one head"
    because = json.loads((run.path / "final" / "metrics.json").read_text())["kept_because"][0]
    c, gamma = (float(part.split(" = ")[1]) for part in because.split(":")[0].split(", "))
    means = np.stack([tiny_features(number).mean(axis=0, dtype=np.float64) for number in range(20)])
    mos = [video.mos for video in tiny_dataset(20).videos]
    scaled = MinMaxScaler().fit_transform(means)
    expected = SVR(C=c, gamma=gamma, epsilon=0.1, tol=1e-9).fit(scaled, mos).predict(scaled)
    model = Model.load(run.path, calibrated=False)
    outputs = [model.predict_features(tiny_features(number)) for number in range(20)]
    np.testing.assert_allclose(outputs, expected, atol=2e-3)


def test_fit__final_head_of_several_data_sets(make_store: MakeStore, tmp_path: Path) -> None:
    store = JointStore([make_store(), make_store(12, name="second")])
    overrides = {"epochs": 2, "batch_size": 4}
    options = {"reduced": 4, "hidden": 3}
    config = FitConfig("tiny", "mdtvsfa", options, "mdtvsfa", overrides, splits=1, ratio="40/30/30")
    run = fit(store, config, tmp_path / "run", final=True)
    assert run.final is not None
    assert len(run.final.splits[0]["train"]) == 32
    for name in ("tiny", "second"):
        model = load_model(run.path, scale_of=name)
        assert len(model.heads) == 1
        assert np.isfinite(model.predict_features(tiny_features(3)))
