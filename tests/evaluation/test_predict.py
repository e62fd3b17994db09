"""What is said before a score is trusted: training videos by their digest, heads that disagree, features
outside of training.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.fits import FAST, small_fit
from tests.helpers.stores import tiny_features
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.evaluation.model import Model
from vqafeat.evaluation.predict import ScoreChecks, ScoredVideo, Scorer
from vqafeat.store import FeatureStore
from vqafeat.training.results import read_json
from vqafeat.training.training_features import TrainingFeatures

AGREED, HERE = np.array([3.0, 3.1]), tiny_features(0)


@pytest.fixture
def folder(timed_store: FeatureStore, tmp_path: Path) -> Path:
    return small_fit(timed_store, tmp_path / "run").path


@pytest.fixture
def checks(folder: Path) -> ScoreChecks:
    return ScoreChecks.of(Model.load(folder))


@pytest.fixture
def model(folder: Path) -> Model:
    model = Model.load(folder)
    assert model.calibrations is not None
    model.calibrations = tuple(replace(one, note="") for one in model.calibrations)
    return model


def test_held_out__knows_a_training_video_by_its_digest(checks: ScoreChecks, model: Model) -> None:
    # video 9 trains both heads, 15 is tested by head 0 and trains head 1, 12 validates head 0 and trains head
    # 1
    assert checks.held_out(f"{9:064}", (0, 1)) == ()
    assert checks.held_out(f"{15:064}", (0, 1)) == (0,)
    assert checks.held_out(f"{12:064}", (0, 1)) == ()
    assert checks.held_out("f" * 64, (0, 1)) == (0, 1)
    (warning,) = checks.warnings(f"{15:064}", (0, 1), AGREED, HERE, model)
    assert (
        warning == "it is the training or validation video 'clip,15.mp4': 1 of 2 heads were fitted on it; "
        "--held-out takes the other 1"
    )
    assert checks.warnings(f"{15:064}", (0,), AGREED[:1], HERE, model) == ()
    (warning,) = checks.warnings(f"{9:064}", (0, 1), AGREED, HERE, model)
    assert warning == "it is the training or validation video 'clip,9.mp4': 2 of 2 heads were fitted on it"


def test_warnings__heads_that_differ_by_more_than_their_error(checks: ScoreChecks, model: Model) -> None:
    assert 0 < checks.rmse < 5
    apart = np.array([3.0, 3.0 + 2 * checks.rmse])
    (warning,) = checks.warnings("new", (0, 1), apart, HERE, model)
    assert warning.startswith(
        f"the heads disagree: ± {np.std(apart, ddof=1):.3g}, more than their RMSE on held-out videos"
    )
    assert checks.warnings("new", (0, 1), np.array([3.0, 3.0 + checks.rmse]), HERE, model) == ()
    assert ScoreChecks({}).warnings("new", (0, 1), apart, HERE, model) == ()


def test_warnings__features_outside_of_training(checks: ScoreChecks, model: Model) -> None:
    assert checks.warnings("new", (0, 1), AGREED, HERE, model) == ()
    (warning,) = checks.warnings("new", (0, 1), AGREED, HERE + np.float16(9), model)
    assert warning.startswith("its features are unlike those of the training: ")
    far = TrainingFeatures(np.zeros(6), np.ones(6), 1.0)
    (warning,) = ScoreChecks({}, far).warnings(
        "new", (0,), AGREED[:1], np.full((2, 6), 2.5, np.float32), model
    )
    assert warning.endswith("2.5 times as far from the training videos as the farthest of them")


def test_score_checks__runs_of_version_1_know_no_digests(shared_data: Path) -> None:
    folder = shared_data / "v1" / "runs" / "sub-gru"
    if not folder.is_dir():
        pytest.skip(f"runs of version 1 are absent: {folder}")
    checks = ScoreChecks.of(Model.load(folder))
    assert (dict(checks.fitted_on), checks.features) == ({}, None)
    assert checks.rmse > 0


def test_held_out__one_file_under_two_names_counts_for_both(folder: Path) -> None:
    # video 15 trains head 1 alone, 9 trains both
    recorded = read_json(folder / "splits.json")
    recorded["sha256"]["clip,15.mp4"] = recorded["sha256"]["clip,9.mp4"]
    (folder / "splits.json").write_text(json.dumps(recorded))
    assert ScoreChecks.of(Model.load(folder)).held_out(f"{9:064}", (0, 1)) == ()


def test_held_out__excludes_a_test_part_that_selected_the_epoch(
    timed_store: FeatureStore, tmp_path: Path
) -> None:
    selected = small_fit(
        timed_store, tmp_path / "chosen", overrides={**FAST["overrides"], "select": "test"}
    ).path
    assert ScoreChecks.of(Model.load(selected)).held_out(f"{15:064}", (0, 1)) == ()


def test_warnings__scores_at_an_end_and_heads_that_rank_backwards(checks: ScoreChecks, model: Model) -> None:
    assert model.calibrations is not None
    model.calibrations = tuple(
        replace(one, note="the head's scores run against the labels") for one in model.calibrations
    )
    result = checks.warnings("new", (0, 1), np.array([5.0, 5.0]), HERE, model)
    assert result == (
        "2 of 2 scores are limited to an end of the labels' range, -1 to 5",
        "2 of 2 heads: the head's scores run against the labels",
    )


def test_warnings__uncalibrated_outputs_are_compared_with_the_range_alone(
    checks: ScoreChecks, folder: Path
) -> None:
    plain = Model.load(folder, calibrated=False)
    assert checks.warnings("new", (0, 1), np.array([-90.0, 3.0]), HERE, plain) == (
        "1 of 2 scores are outside of the labels' range, -1 to 5",
    )


def test_scorer__refuses_held_out_of_a_run_that_knows_no_files(model: Model) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"held_out needs a run that knows the files of its videos; .* Leave out --held-out, or fit",
    ):
        Scorer(Model(model.config, model.heads), {}, held_out=True)


def test_scorer__refuses_features_of_no_known_backbone(model: Model) -> None:
    config = replace(model.config, feature_sets="foreign")
    with pytest.raises(
        ArgumentError, match=r"features 'foreign', which are of no known backbone, so it cann"
    ):
        Scorer(Model(config, model.heads), {})


def test_scorer__no_score_without_the_features_of_one_network(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractors = build_extractors(
        ["resnet18", "squeezenet1_0"], dict.fromkeys(["resnet18", "squeezenet1_0"], "random")
    )
    monkeypatch.setattr("vqafeat.evaluation.predict._build_extractors", lambda model, weights: extractors)
    clip = write_clip(tmp_path / "small.mp4", noise_frames(2, 16, 16))
    with pytest.raises(VideoError, match="'squeezenet1_0' takes no side below 21 samples"):
        Scorer(model, {}, any_features=True).score(clip)


def test_scorer__takes_weights_that_were_named_before(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "net.pth"
    torch.save(BACKBONES.get("squeezenet1_0").build().state_dict(), file)
    (extractor,) = build_extractors(["squeezenet1_0"], {"squeezenet1_0": str(file)})
    identities = {"squeezenet1_0": asdict(extractor.identity)}
    trained = Model(replace(model.config, feature_sets="squeezenet1_0", identities=identities), model.heads)
    Scorer(trained, {})
    file.unlink()
    with pytest.raises(
        ArgumentError, match=r"weights from the file net.pth; name it with --weights squeezenet1_0=FILE"
    ):
        Scorer(trained, {})


def test_scored_video__prints_its_score_scale_and_frames() -> None:
    values = np.zeros(5)
    scored = ScoredVideo(
        Path("clips/a.mp4"),
        score=3.14159,
        head_scores=np.array([3.0, 3.28318]),
        splits=(0, 1),
        scale="MOS, 1 to 5",
        calibrated=True,
        frames=np.arange(5, dtype=np.int32),
        seconds=values,
        frame_scores=values,
        warmup=values.astype(bool),
    )
    assert repr(scored) == "clips/a.mp4: 3.142 (MOS, 1 to 5), 5 frames"
