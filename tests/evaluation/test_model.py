"""A loaded model: scores of features and draws, curves of frames, and videos with the checks of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.fits import small_fit
from tests.helpers.stores import tiny_features
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.evaluation import predict
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model, load_model
from vqafeat.store import FeatureStore
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.frame_sampling import FrameInput
from vqafeat.training.run import Run


@pytest.fixture
def folder(timed_store: FeatureStore, tmp_path: Path) -> Path:
    return small_fit(timed_store, tmp_path / "run").path


@pytest.fixture
def model(folder: Path) -> Model:
    return Model.load(folder)


def test_model__repr_names_head_features_and_data_set(folder: Path) -> None:
    assert repr(load_model(str(folder))) == "sub-gru on tiny of tiny, 2 heads"


def test_run__stands_for_its_folder_and_a_path_for_a_store(folder: Path, timed_store: FeatureStore) -> None:
    run, path = Run(folder), str(timed_store.path)
    assert repr(load_model(run)) == repr(load_model(folder))
    assert repr(evaluate(run, path)).startswith(
        "<Evaluation on the test parts of the run's 2 splits of 'tiny': "
    )
    again = fit(path, FitConfig(features="tiny", splits=1, overrides={"epochs": 1}), folder.parent / "again")
    assert again.finished


def test_predict_features__takes_an_array_or_a_tensor(model: Model) -> None:
    features = tiny_features(3)
    score = model.predict_features(features)
    assert score == model.score(features) == model.predict_features(torch.from_numpy(features.copy()))
    assert model.predict_features(features, splits=1) == model.score(features, 1)
    features[1, 0] = np.nan
    with pytest.raises(ArgumentError, match="features of the video have values that are not finite"):
        model.predict_features(features)


def test_predict_features__samples_as_in_testing(timed_store: FeatureStore, tmp_path: Path) -> None:
    frame_input = FrameInput("OS", "sample-2", 3)
    run = small_fit(timed_store, tmp_path / "sampled", frame_input=frame_input)
    model, row = Model.load(run.path), run.predictions[-1]
    features = timed_store.read("tiny", row.video).values
    assert model.predict_features(features, name=row.video, splits=row.split) == pytest.approx(row.score)


def test_predict_features__needs_times_to_sample_by_rate(timed_store: FeatureStore, tmp_path: Path) -> None:
    run = small_fit(timed_store, tmp_path / "rate", frame_input=FrameInput(sampling="rate-10"))
    model, features = Model.load(run.path), tiny_features(3)
    with pytest.raises(StoreError, match="the times of the frames of 'features' are not known"):
        model.predict_features(features)
    seconds = np.arange(len(features)) / 10
    assert model.predict_features(features, seconds) == pytest.approx(model.score(features))


def test_frame_curve__has_a_frame_that_two_draws_take_twice(model: Model) -> None:
    features = tiny_features(3)
    rows, scores, _ = model.frame_curve(features, (0, 1), [np.array([2, 0]), None])
    assert rows.tolist() == sorted([2, 0, *range(len(features))])
    whole, two = model.frame_scores(features), model.frame_scores(features[[2, 0]])
    np.testing.assert_allclose(sorted(scores), sorted([*whole, *two]))
    outputs = model.outputs(features, None, [np.array([2, 0]), None])
    expected = (model.outputs(features[[2, 0]]) + model.outputs(features)) / 2
    np.testing.assert_allclose(outputs, expected)


def test_frame_curve__marks_the_warm_up_of_each_draw(model: Model) -> None:
    features = np.tile(tiny_features(3), (10, 1))
    draws = [np.arange(len(features))[::-1], None]
    rows, _, warmup = model.frame_curve(features, (0, 1), draws)
    last = len(features) - 1
    assert sorted(rows[warmup]) == [*range(20), *range(last - 19, last + 1)]


def test_predict__passes_its_options_to_the_scorer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class FakeScorer:
        def __init__(self, *arguments: Any) -> None:
            calls.append(arguments)

        def score(self, path: Path, raw: object) -> Path:
            return path

    monkeypatch.setattr(predict, "Scorer", FakeScorer)
    model = load_model(folder)
    assert model.predict("clip.mp4", {"tiny": "random"}, split=1, held_out=True) == Path("clip.mp4")
    assert calls == [(model, {"tiny": "random"}, 1, False, True)]
