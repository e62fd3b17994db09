"""What is said before a score is trusted: training videos by their digest, heads that disagree, features outside of training."""

from pathlib import Path

import numpy as np
import pytest

from vqafeat.modeling.score_checks import ScoreChecks
from vqafeat.modeling.training_features import TrainingFeatures
from vqafeat.store import FeatureStore

from .conftest import tiny_features
from .test_fitting import small_fit

AGREED, HERE = np.array([3.0, 3.1]), tiny_features(0)


@pytest.fixture
def checks(timed_store: FeatureStore, tmp_path: Path) -> ScoreChecks:
    run = small_fit(timed_store, tmp_path / "run")
    return ScoreChecks.read(run.folder, run.config, "tiny")


def test_a_training_video_is_known_by_its_digest(checks: ScoreChecks) -> None:
    # video 9 trains both heads, 15 is tested by head 0 and trains head 1, 12 validates head 0 and trains head 1
    assert checks.held_out(f"{9:064}", (0, 1)) == ()
    assert checks.held_out(f"{15:064}", (0, 1)) == (0,)
    assert checks.held_out(f"{12:064}", (0, 1)) == ()
    assert checks.held_out("f" * 64, (0, 1)) == (0, 1)
    (warning,) = checks.warnings(f"{15:064}", (0, 1), AGREED, HERE)
    assert warning == "it is the training video 'clip,15.mp4': 1 of 2 heads were fitted on it; --held-out takes the other 1"
    assert checks.warnings(f"{15:064}", (0,), AGREED[:1], HERE) == ()
    (warning,) = checks.warnings(f"{9:064}", (0, 1), AGREED, HERE)
    assert warning == "it is the training video 'clip,9.mp4': 2 of 2 heads were fitted on it"


def test_heads_disagree_where_they_differ_by_more_than_their_error(checks: ScoreChecks) -> None:
    assert 0 < checks.rmse < 5
    apart = np.array([3.0, 3.0 + 2 * checks.rmse])
    (warning,) = checks.warnings("new", (0, 1), apart, HERE)
    assert warning.startswith(f"the heads disagree: ± {np.std(apart, ddof=1):.3g}, more than their RMSE on held-out videos")
    assert checks.warnings("new", (0, 1), np.array([3.0, 3.0 + checks.rmse]), HERE) == ()
    assert ScoreChecks({}).warnings("new", (0, 1), apart, HERE) == ()


def test_features_outside_of_training_are_reported(checks: ScoreChecks) -> None:
    assert checks.warnings("new", (0, 1), AGREED, HERE) == ()
    (warning,) = checks.warnings("new", (0, 1), AGREED, HERE + np.float16(9))
    assert warning.startswith("its features are outside of what training saw: ")
    far = TrainingFeatures(np.zeros(6), np.ones(6), 1.0)
    (warning,) = ScoreChecks({}, far).warnings("new", (0,), AGREED[:1], np.full((2, 6), 2.5, np.float32))
    assert warning.endswith("2.5 times as far from the training videos as the farthest of them")


def test_runs_of_version_1_know_no_digests(shared_data: Path) -> None:
    from vqafeat.modeling.run_config import RunConfig
    from vqafeat.modeling.run_files import CONFIG, read_json

    folder = shared_data / "v1" / "runs" / "sub-gru"
    if not folder.is_dir():
        pytest.skip(f"runs of version 1 are absent: {folder}")
    checks = ScoreChecks.read(folder, RunConfig.from_dict(read_json(folder / CONFIG), "run"), "demo")
    assert (dict(checks.fitted_on), checks.features) == ({}, None)
    assert checks.rmse > 0
