"""Fits on sampled and shuffled frames: what each stage really sees, whatever the processes, and again from
the run folder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from tests.helpers.fits import FAST, SPLITS, files_of, small_fit
from tests.helpers.stores import MakeStore, identity, tiny_features, tiny_sequences
from tests.helpers.train_alone import RECURRENT_OPTIONS, SPLIT, finish, frame_statistics, train
from vqafeat.datasets import Dataset, Video
from vqafeat.errors import ArgumentError, StoreError, VideoError, WeightsError
from vqafeat.evaluation import predict
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model
from vqafeat.evaluation.predict import ScoredVideo, Scorer
from vqafeat.extraction.pipeline import ExtractedVideo
from vqafeat.heads.recurrent import NoTime
from vqafeat.io import json_text
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.training.config import FitConfig, Recipe
from vqafeat.training.fit import fit
from vqafeat.training.frame_sampling import FrameInput, VideoRows, indices_in_testing
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig

RANDOM = FrameInput("SS", "sample-4", 3)
ROWS, EPOCHS = 18, 3
PARTS = Split((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))

# what went into a head at once: in training or not, the video, and its rows in the order in which they came
Seen = tuple[bool, int, tuple[int, ...]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    values: list[Seen] = []
    scores = NoTime.raw_frame_scores

    def spy(head: NoTime, frames: Tensor, lengths: Tensor) -> Tensor:
        for video in torch.split(frames, lengths.tolist()):
            assert len(set(video[:, 1].tolist())) == 1
            values.append((head.training, int(video[0, 1]), tuple(map(int, video[:, 0].tolist()))))
        return scores(head, frames, lengths)

    monkeypatch.setattr(NoTime, "raw_frame_scores", spy)
    return values


@pytest.fixture
def numbered(tmp_path: Path) -> FeatureStore:
    """Return a store whose features are the number of the row and the number of the video."""
    videos = tuple(Video(f"{number}.mp4", float(number), str(number)) for number in range(10))
    dataset = Dataset("numbered", "Numbered", "MOS", (0.0, 9.0), videos, label_list="made", digest="d")
    store = FeatureStore.create(tmp_path / "numbered.zarr", dataset)
    store.add_feature_set("tiny", identity(channels=2))
    for number, video in enumerate(videos):
        frame = np.arange(ROWS, dtype=np.int32)
        values = np.stack([frame, np.full(ROWS, number)], axis=1).astype(np.float16)
        store.write_features("tiny", video.name, VideoFeatures(values, frame), "")
    return FeatureStore.open(store.path)


def numbered_fit(store: FeatureStore, out: Path, frame_input: FrameInput) -> Run:
    frames = {"order": frame_input.order, "sampling": frame_input.sampling, "draws": frame_input.draws}
    overrides = {"epochs": EPOCHS, "batch_size": 2}
    config = FitConfig("tiny", "no-time", {"reduced": 4}, overrides=overrides, mapping="none", **frames)
    return fit(store, config, out, splits=[PARTS])


@pytest.mark.parametrize(
    ("order", "shuffled_parts"),
    [
        ("OO", set()),
        ("OS", {"test"}),
        ("SO", {"train", "validation"}),
        ("SS", {"train", "validation", "test"}),
    ],
)
def test_order__first_letter_is_training_and_validation_second_is_testing(
    numbered: FeatureStore, tmp_path: Path, seen: list[Seen], order: str, shuffled_parts: set[str]
) -> None:
    numbered_fit(numbered, tmp_path / "run", FrameInput(order))
    in_order = tuple(range(ROWS))
    assert all(sorted(rows) == list(in_order) for _, _, rows in seen)
    for part, members in (("train", PARTS.train), ("validation", PARTS.validation), ("test", PARTS.test)):
        orders = [rows for _, video, rows in seen if video in members]
        assert len(orders) == (EPOCHS + 1 if part != "test" else 1) * len(members)
        assert (in_order in orders) == (part not in shuffled_parts)
        assert (set(orders) == {in_order}) == (part not in shuffled_parts)
    seen.clear()
    evaluate(tmp_path / "run", numbered)
    assert {video for _, video, _ in seen} == set(PARTS.test)
    assert all((rows == in_order) == ("test" not in shuffled_parts) for _, _, rows in seen)


def test_fit__samples_training_each_epoch_and_validation_once(
    numbered: FeatureStore, tmp_path: Path, seen: list[Seen]
) -> None:
    numbered_fit(numbered, tmp_path / "run", FrameInput("SS", "sample-4", 2))
    for video in PARTS.train:
        trained = [rows for training, number, rows in seen if number == video and training]
        assert len(set(trained)) == len(trained) == EPOCHS
        assert len([rows for training, number, rows in seen if number == video and not training]) == 1
    for video in PARTS.validation:
        validated = [rows for training, number, rows in seen if number == video]
        assert len(validated) == EPOCHS + 1
        assert len(set(validated)) == 1
    for video in PARTS.test:
        tested = [rows for training, number, rows in seen if number == video]
        assert len(set(tested)) == len(tested) == 2
    assert {len(rows) for _, _, rows in seen} == {5}
    different = {video: next(rows for _, number, rows in seen if number == video) for video in range(10)}
    assert len(set(different.values())) == 10


def test_fit__sampling_all_in_order_equals_the_fit_without_sampling(
    make_store: MakeStore, tmp_path: Path
) -> None:
    before = small_fit(make_store(), tmp_path / "before")
    after = small_fit(make_store(), tmp_path / "after", frame_input=FrameInput("OO", "sample-0"))
    assert before.predictions == after.predictions
    mine, theirs = files_of(before.path), files_of(after.path)
    assert {name for name in mine if mine[name] != theirs[name]} == {"config.json"}


def test_fit__random_frames_do_not_depend_on_jobs(make_store: MakeStore, tmp_path: Path) -> None:
    small_fit(make_store(), tmp_path / "one", frame_input=RANDOM)
    small_fit(make_store(), tmp_path / "two", frame_input=RANDOM, jobs=2)
    small_fit(make_store(), tmp_path / "other", frame_input=RANDOM, seed=6)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert files_of(tmp_path / "one")["predictions.csv"] != files_of(tmp_path / "other")["predictions.csv"]


def test_fit__kept_validation_srocc_equals_the_recorded_predictions(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run", frame_input=RANDOM)
    kept = [row for row in run.predictions if row.split == 0 and row.part == "validation"]
    because = json.loads((run.path / "metrics.json").read_text())["kept_because"][0]
    values = spearmanr([row.prediction for row in kept], [row.mos for row in kept]).statistic
    assert because == f"highest validation SROCC ({values:.4f})"


def test_fit__a_test_score_is_the_mean_over_draws(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run", frame_input=RANDOM)
    model = Model.load(run.path, calibrated=False)
    for row in run.predictions:
        if row.part != "test":
            continue
        features = tiny_features(int(row.video.split(",")[1].removesuffix(".mp4")))
        draws = indices_in_testing(RANDOM, VideoRows(row.video, len(features), lambda: None), 5)
        scores = []
        for rows in draws:
            assert rows is not None
            scores.append(model.score(np.stack([features[index] for index in rows]), row.split))
        assert len(set(scores)) == 3 or len(features) <= 4
        assert row.prediction == pytest.approx(sum(scores) / 3, abs=1e-5)


def test_evaluate__repeats_the_fit_and_can_test_on_other_frames(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run", frame_input=FrameInput("OS", "sample-2", 2))
    again = evaluate(run.path, make_store())
    tested = [row.prediction for row in run.predictions if row.part == "test"]
    assert [row.prediction for row in again.predictions] == pytest.approx(tested, abs=1e-5)
    assert again.summary.notes == ()
    other = evaluate(run.path, make_store(), frame_changes={"order": "OO", "sampling": "all", "draws": 1})
    model = Model.load(run.path, calibrated=False)
    for row in other.predictions:
        features = tiny_features(int(row.video.split(",")[1].removesuffix(".mp4")))
        assert row.prediction == pytest.approx(model.score(features, row.split), abs=1e-6)
    assert other.summary.notes == (
        "tested on other frames than in the fit: order OO (trained and tested on frames in their "
        "original order), sampling all",
    )
    with pytest.raises(ArgumentError, match=r"order is 'SO', but the run was trained in order 'OS'"):
        evaluate(run.path, make_store(), frame_changes={"order": "SO"})
    with pytest.raises(ArgumentError, match=r"draws is 2, but nothing is drawn in testing"):
        evaluate(run.path, make_store(), frame_changes={"order": "OO", "sampling": "all"})


def test_fit__frame_rates_need_times(
    make_store: MakeStore, timed_store: FeatureStore, tmp_path: Path
) -> None:
    clock = FrameInput(sampling="rate-10")
    with pytest.raises(
        StoreError, match=r"sampling is 'rate-10', but the times of the frames of 'clip,0.mp4' are not known"
    ):
        small_fit(make_store(), tmp_path / "run", frame_input=clock)
    assert not (tmp_path / "run").exists()
    run = small_fit(timed_store, tmp_path / "run", frame_input=clock)
    small_fit(timed_store, tmp_path / "two", frame_input=clock, jobs=2)
    assert files_of(tmp_path / "run") == files_of(tmp_path / "two")
    assert evaluate(run.path, timed_store).summary.srocc.values == pytest.approx(run.metrics.srocc.values)
    with pytest.raises(
        StoreError, match=r"sampling is 'rate-10', but the times of the frames of 'clip,0.mp4' are not known"
    ):
        evaluate(run.path, make_store(name="other"))
    assert evaluate(run.path, make_store(name="other"), frame_changes={"sampling": "rate-own"}).summary.n == (
        20,
        20,
    )


def test_frame_statistics__are_of_the_frames_that_can_be_sampled() -> None:
    sequences, recipe = (
        tiny_sequences(),
        Recipe("own", learning_rate=0.02, batch_size=4, epochs=1, standardise=True),
    )
    for sampling, step in (("stride-3", 3), ("sample-3", 1)):
        loop = train(sequences, SPLIT, "sub-gru", RECURRENT_OPTIONS, recipe, 3, FrameInput("SO", sampling))
        frames = np.concatenate([values[::step].astype(np.float64) for values in sequences.features[:10]])
        np.testing.assert_allclose(finish(loop).weights["reduce.mean"].numpy(), frames.mean(0), atol=1e-6)
    mean, _ = frame_statistics(sequences, range(10), lambda row: np.array([0]))
    firsts = np.array([values[0] for values in sequences.features[:10]], dtype=np.float64)
    np.testing.assert_allclose(mean.numpy(), firsts.mean(0), atol=1e-6)


def test_fit__records_its_frames(make_store: MakeStore, tmp_path: Path) -> None:
    folder = small_fit(make_store(), tmp_path / "run", frame_input=RANDOM, splits=SPLITS[:1]).path
    values: dict[str, Any] = json.loads((folder / "config.json").read_text())
    assert values["frame_input"] == RANDOM.as_dict()
    assert Model.load(folder).config.frame_input == RANDOM
    assert json.loads(json_text(RunConfig.from_dict(values, "there").as_dict())) == values
    stored = values["frame_input"]
    for frame_input, message in (
        ({"order": "SS"}, "frame_input is {'order': 'SS'}; its order_reading has to be 'first letter"),
        ({**stored, "order_reading": "first letter: testing"}, "its order_reading has to be"),
        ({**stored, "surprise": 1}, "config.json': frame_input: unknown key 'surprise'"),
    ):
        (folder / "config.json").write_text(json.dumps({**values, "frame_input": frame_input}))
        with pytest.raises(WeightsError, match=message):
            Model.load(folder)


class OneVideo:
    """A pipeline whose only video has just been decoded."""

    def __init__(self, extracted: ExtractedVideo) -> None:
        self.task = SimpleNamespace(name="0", file=Path("new.mp4"))
        self.extracted, self.refusal = lambda: extracted, None

    def __enter__(self) -> "OneVideo":
        return self

    def __exit__(self, *error: object) -> None:
        return

    def results(self, tasks: object) -> "list[OneVideo]":
        return [self]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScoredVideo]:
    """Return what scores a decoded video with a run, without decoding any."""

    def score(folder: Path, features: VideoFeatures, seconds: list[float]) -> ScoredVideo:
        decoded = ExtractedVideo(FrameTable(np.array(seconds), {"sha256": "0"}), {"tiny": features})
        monkeypatch.setattr(predict, "Pipeline", lambda *arguments: OneVideo(decoded))
        extractors = [SimpleNamespace(feature_set="tiny")]
        monkeypatch.setattr(predict.feature_sets, "build_extractors", lambda *arguments: extractors)
        monkeypatch.setattr(predict, "BACKBONES", {"tiny": None})
        scorer = Scorer(Model.load(folder), {"tiny": "random"}, 0, any_features=True)
        return scorer.score(Path("new.mp4"))

    return score


def test_predict__a_curve_names_the_decoded_frames(
    timed_store: FeatureStore, tmp_path: Path, scored: Callable[..., ScoredVideo]
) -> None:
    folder = small_fit(
        timed_store, tmp_path / "run", frame_input=FrameInput("OS", "sample-2", 2), splits=SPLITS[:1]
    ).path
    rows = VideoFeatures(tiny_features(1)[:3].copy(), np.array([0, 4, 8], np.int32))
    seconds = [number**2 / 100 for number in range(10)]
    video = scored(folder, rows, seconds)
    model, expected = Model.load(folder), []
    for draw in indices_in_testing(FrameInput("OS", "sample-2", 2), VideoRows("new.mp4", 3, lambda: None), 5):
        assert draw is not None
        curve = model.frame_scores(np.stack([rows.values[row] for row in draw]), 0)
        expected += [(int(row) * 4, value) for row, value in zip(draw, curve, strict=True)]
    assert video.frames.tolist() == sorted(frame for frame, _ in expected)
    assert sorted(zip(video.frames.tolist(), video.frame_scores.tolist(), strict=True)) == sorted(expected)
    assert video.seconds.tolist() == [seconds[frame] for frame in video.frames]
    assert video.score == pytest.approx(sum(value for _, value in expected) / 4)


def test_predict__reports_a_video_whose_clock_goes_back(
    timed_store: FeatureStore, tmp_path: Path, scored: Callable[..., ScoredVideo]
) -> None:
    folder = small_fit(
        timed_store, tmp_path / "run", frame_input=FrameInput(sampling="rate-10"), splits=SPLITS[:1]
    ).path
    rows = VideoFeatures(tiny_features(1)[:3].copy(), np.arange(3, dtype=np.int32))
    with pytest.raises(
        VideoError, match=r"the times of the frames of 'new.mp4' go back behind row 0"
    ) as refused:
        scored(folder, rows, [0.1, 0.0, 0.2])
    assert refused.value.kind == "cannot-sample"


def test_fit__shuffled_frames_do_not_change_a_head_without_time(
    make_store: MakeStore, tmp_path: Path
) -> None:
    runs = [
        small_fit(
            make_store(),
            tmp_path / order,
            head="no-time",
            options={"reduced": 4},
            frame_input=FrameInput(order),
            splits=SPLITS[:1],
        )
        for order in ("OO", "SS")
    ]
    first, second = ([row.prediction for row in run.predictions] for run in runs)
    assert first == pytest.approx(second, abs=1e-4)
    longer: dict[str, Any] = {"splits": SPLITS[:1], "overrides": {**FAST["overrides"], "epochs": 8}}
    recurrent = [
        small_fit(make_store(), tmp_path / f"gru {order}", frame_input=FrameInput(order), **longer)
        for order in ("OO", "SS")
    ]
    first, second = ([row.prediction for row in run.predictions] for run in recurrent)
    assert first != pytest.approx(second, abs=1e-4)
