"""Several data sets in one training: batches, scales, metrics of each, against what each would give by
itself.
"""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.helpers.fits import FAST, SPLITS, fit_with, small_fit
from tests.helpers.stores import MakeStore, tiny_features
from tests.helpers.train_alone import config_of, task_of, train
from vqafeat.errors import ArgumentError, IdentityError, TrainingError
from vqafeat.evaluation.compare import compare_runs
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model
from vqafeat.heads.base import build_head
from vqafeat.losses.base import build_loss
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.features import load_features
from vqafeat.training.config import FitConfig, Recipe
from vqafeat.training.joint_store import JointStore, joint_splits
from vqafeat.training.run import Run
from vqafeat.training.trainer import SplitTrainer

OPTIONS = {"reduced": 4, "hidden": 3}
SIZES = (20, 9)
SMALL = Split((0, 1, 2), (3, 4, 5), (6, 7, 8))
RECIPE = Recipe(
    "own", 0.02, 4, 3, loss="plcc+srcc+l1", soft_rank_strength=0.1, label_scaling="range-of-dataset"
)


def mixture(make_store: MakeStore) -> JointStore:
    return JointStore([make_store(), make_store(9, name="other")])


def splits() -> list[Split]:
    return joint_splits([SPLITS[:1], [SMALL]], SIZES)


def mixed_fit(source: JointStore, out: Path, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "features": "tiny",
        "head": "mdtvsfa",
        "splits": splits(),
        "seed": 5,
        **FAST,
        **changes,
    }
    return fit_with(source, out, values)


def test_joint_store__reads_as_one_store(make_store: MakeStore) -> None:
    both = pickle.loads(pickle.dumps(mixture(make_store)))
    assert (both.dataset.name, len(both.dataset.videos), both.dataset.mos_range) == (
        "tiny+other",
        29,
        (-1.0, 5.0),
    )
    assert [member.name for member in both.datasets] == ["tiny", "other"]
    np.testing.assert_array_equal(both.member_numbers, [0] * 20 + [1] * 9)
    assert both.feature_sets() == ["sparse", "tiny"]
    video = both.dataset.videos[22]
    assert (video.name, video.content) == ("other/clip,2.mp4", "other/scene 1")
    np.testing.assert_array_equal(both.read("tiny", video.name).values, tiny_features(2))
    assert both.complete_videos("tiny")[19:21] == ["tiny/clip,19.mp4", "other/clip,0.mp4"]
    assert both.seconds(video.name) is None


def test_joint_store__refuses_what_cannot_be_mixed(make_store: MakeStore) -> None:
    with pytest.raises(
        ArgumentError, match=r"the data sets to be mixed are tiny, tiny; name at least two different ones"
    ):
        JointStore([make_store(), make_store()])
    with pytest.raises(
        IdentityError,
        match=r"'tiny' was computed differently for 'other' than for 'tiny': .*view.* pass --any-features",
    ):
        JointStore([make_store(), make_store(name="other", view="crop")]).identity("tiny")
    allowed = JointStore([make_store(), make_store(name="other", view="crop")], any_features=True)
    assert pickle.loads(pickle.dumps(allowed)).identity("tiny") == make_store().identity("tiny")
    with pytest.raises(ArgumentError, match=r"the data sets have 2, 1 splits; each needs as many"):
        joint_splits([SPLITS, [SMALL]], SIZES)


def test_joint_splits__are_joined_part_by_part() -> None:
    (joint,) = splits()
    assert joint.train == (*range(10), 20, 21, 22)
    assert joint.validation == (*range(10, 15), 23, 24, 25)
    assert joint.test == (*range(15, 20), 26, 27, 28)


def test_split_trainer__batches_take_as_many_of_each_data_set(make_store: MakeStore) -> None:
    sequences = load_features(mixture(make_store), "tiny")
    task = task_of(sequences, splits()[0], 1, RECIPE)
    run = SplitTrainer(sequences, task, config_of("sub-gru", OPTIONS, RECIPE))
    batches = [batch.rows for batch in run.batches(1)]
    assert [len(rows) for rows in batches] == [8, 8, 4]
    large = [row for rows in batches for row in rows[: len(rows) // 2]]
    small = [row for rows in batches for row in rows[len(rows) // 2 :]]
    assert sorted(large) == list(range(10))
    # VQADataset.__getitem__ takes place modulo the size of each data set
    assert small == [20 + row % 3 for row in large]
    as_one = config_of("sub-gru", OPTIONS, replace(RECIPE, multi_dataset="pooled"))
    pooled = SplitTrainer(sequences, task, as_one)
    assert sorted(row for batch in pooled.batches(1) for row in batch.rows) == list(splits()[0].train)


def test_split_trainer__one_step_is_adam_on_the_combined_loss(make_store: MakeStore) -> None:
    sequences = load_features(mixture(make_store), "tiny")
    split = Split((*range(3), 20, 21, 22), (), splits()[0].test)
    options = {**OPTIONS, "datasets": "tiny+other"}
    loop = train(sequences, split, "mdtvsfa", options, replace(RECIPE, epochs=1), 3)
    loss = next(loop).loss
    with pytest.raises(StopIteration) as end:
        next(loop)
    torch.manual_seed(3)
    head = build_head("mdtvsfa", 6, options)
    ranges = [np.ptp(sequences.mos[:20]), np.ptp(sequences.mos[20:])]
    losses = []
    for number, rows in enumerate((range(3), range(20, 23))):
        labels = torch.tensor(sequences.mos[list(rows)] / ranges[number], dtype=torch.float32)
        with torch.no_grad():
            head.slopes[number], head.offsets[number] = labels.max() - labels.min(), labels.min()
        values = [torch.tensor(sequences.features[row]).float() for row in rows]
        quality = torch.stack([head.inner(value, torch.tensor([len(value)]))[0] for value in values])
        outputs = head.outputs(quality, torch.full((3,), number))
        losses.append(build_loss(RECIPE.loss, RECIPE.loss_options())(outputs, labels))
    weights = [value.exp() for value in losses]
    expected = sum(weight * value for weight, value in zip(weights, losses, strict=True)) / sum(weights)
    assert loss == pytest.approx(expected.item(), abs=1e-5)
    torch.optim.Adam(head.parameters(), lr=0.02)
    expected.backward()
    result = end.value.value
    for name, parameter in head.named_parameters():
        if parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-4:
            moved = result.weights[name] - parameter.detach()
            # Adam's first step has the size of the rate, against the gradient's sign
            large = parameter.grad.abs() > 1e-4
            torch.testing.assert_close(moved[large], -0.02 * parameter.grad[large].sign(), atol=1e-4, rtol=0)


def test_li_rescaled_released__is_the_released_linear_scale(make_store: MakeStore) -> None:
    sequences = load_features(mixture(make_store), "tiny")
    split = Split((*range(3), 20, 21, 22), (), splits()[0].test)
    options = {**OPTIONS, "datasets": "tiny+other"}
    config = FitConfig("tiny", "mdtvsfa", options, "li-rescaled-released", {"epochs": 1})
    assert (config.resolved_recipe.batch_size, config.resolved_recipe.multi_dataset) == (32, "losses")
    loop = train(sequences, split, "mdtvsfa", config.head_options, config.resolved_recipe, 3)
    loss = next(loop).loss
    torch.manual_seed(3)
    head, losses = build_head("mdtvsfa", 6, options), list[float]()
    # VQAloss.py: the L1 of each data set over its range; VQAmodel.py: frozen lines to its own labels
    for everything, rows in ((sequences.mos[:20], range(3)), (sequences.mos[20:], range(20, 23))):
        values = [torch.tensor(sequences.features[row]).float() for row in rows]
        quality = torch.stack([head.inner(value, torch.tensor([len(value)]))[0] for value in values])
        mapped = 1 / (1 + np.exp(-(2 / (1 + np.exp(-quality.detach().numpy())) - 1) * np.sqrt(3)))
        aligned = np.ptp(everything) * mapped + everything.min()
        losses.append(float(np.abs(aligned - sequences.mos[list(rows)]).mean() / np.ptp(everything)))
    assert loss == pytest.approx(np.average(losses, weights=np.exp(losses)), abs=1e-6)
    with pytest.raises(StopIteration) as end:
        next(loop)
    weights = end.value.value.weights
    assert (weights["slopes"].tolist(), weights["offsets"].tolist()) == ([1, 1], [0, 0])


def test_fit__scores_and_measures_each_data_set_on_its_scale(make_store: MakeStore, tmp_path: Path) -> None:
    source = mixture(make_store)
    run = mixed_fit(source, tmp_path / "run", jobs=1)
    assert run.config.options["datasets"] == "tiny+other"
    sroccs = {}
    for name, count in (("tiny", 5), ("other", 3)):
        rows = [row for row in run.predictions if row.part == "test" and row.video.startswith(f"{name}/")]
        assert len(rows) == count
        sroccs[name] = spearmanr([row.prediction for row in rows], [row.mos for row in rows]).statistic
        assert run.metrics.datasets[name].srocc.values == pytest.approx((sroccs[name],))
        model = Model.load(run.path, scale_of=name)
        assert model.scale == f"MOS of {name}, -1 to 5, calibrated on validation videos"
        own = source.read("tiny", rows[0].video).values
        assert model.score(own, 0) == pytest.approx(rows[0].score, abs=1e-5)
        result = evaluate(run.path, make_store(SIZES[name == "other"], name=name))
        assert result.measured_on == f"the test parts of the run's 1 splits of '{name}'"
        assert result.summary.srocc.values == pytest.approx((sroccs[name],))
    assert run.metrics.srocc.values == pytest.approx(((5 * sroccs["tiny"] + 3 * sroccs["other"]) / 8,))
    assert np.isnan(run.metrics.rmse.mean)
    assert any("weighted by their test videos" in note for note in run.metrics.notes)
    assert set(json.loads((run.path / "metrics.json").read_text())["datasets"]) == {"tiny", "other"}


def test_fit__takes_data_sets_with_a_plus_in_their_names(make_store: MakeStore, tmp_path: Path) -> None:
    plus, plain = (
        mixed_fit(JointStore([make_store(), make_store(9, name=name)]), tmp_path / name)
        for name in ("a+b", "other")
    )
    assert plus.metrics.srocc.values == plain.metrics.srocc.values
    for run, name in ((plus, "a+b"), (plain, "other")):
        summary = evaluate(run.path, make_store(9, name=name)).summary
        assert summary.rmse_plain.mean == pytest.approx(run.metrics.datasets[name].rmse_plain.mean)


def test_evaluate__on_a_third_data_set_has_no_label_scale(make_store: MakeStore, tmp_path: Path) -> None:
    run = mixed_fit(mixture(make_store), tmp_path / "run", jobs=1)
    # both sets hold the same clips under the same names, of a third one nothing was seen
    third = evaluate(run.path, make_store(9, name="third"))
    assert third.measured_on == "all 9 videos of 'third'"
    # scores are on the scale of 'tiny', labels on that of 'third'
    assert all(np.isnan(getattr(third.summary, name).mean) for name in ("rmse_plain", "rmse_calibrated"))
    assert any("RMSE without a mapping is left out" in note for note in third.summary.notes)
    assert any(
        note.startswith("9 of the 9 measured videos have names of videos in the run's training parts")
        for note in third.summary.notes
    )
    with pytest.raises(
        ArgumentError, match=r"the run has no label scale of 'third'; it was trained on tiny, other"
    ):
        Model.load(run.path, scale_of="third")


def test_fit__validation_is_the_mean_over_the_data_sets(make_store: MakeStore, tmp_path: Path) -> None:
    run = mixed_fit(mixture(make_store), tmp_path / "run", head="sub-gru", jobs=1)
    parts = [
        [row for row in run.predictions if row.part == "validation" and row.video.startswith(f"{name}/")]
        for name in ("tiny", "other")
    ]
    own = [spearmanr([row.prediction for row in rows], [row.mos for row in rows]).statistic for rows in parts]
    text = (run.path / "curve.csv").read_text().splitlines()
    kept = text[run.kept_epochs[0]].split(",")
    assert float(kept[3]) == pytest.approx(np.mean(own), abs=1e-9)


def test_fit__mixed_sets_do_not_depend_on_jobs(make_store: MakeStore, tmp_path: Path) -> None:
    twice = joint_splits([SPLITS, [SMALL, Split((0, 1, 3), (), (2, 4, 5))]], SIZES)
    one = mixed_fit(
        mixture(make_store), tmp_path / "one", splits=twice, head="mdtvsfa-transformer", options={}, jobs=1
    )
    two = mixed_fit(
        mixture(make_store), tmp_path / "two", splits=twice, head="mdtvsfa-transformer", options={}, jobs=2
    )
    assert one.predictions == two.predictions


def test_fit__li_rescaled_trains_as_on_one_data_set(make_store: MakeStore, tmp_path: Path) -> None:
    changes = {"recipe": "li-rescaled", "overrides": {"epochs": 2, "batch_size": 4, "drop_last": False}}
    run = mixed_fit(mixture(make_store), tmp_path / "run", head="mdtvsfa", jobs=1, **changes)
    assert run.config.options["datasets"] == ""
    mos = [[video.mos for video in member.videos] for member in mixture(make_store).datasets]
    lines = [one.lines[0] for one in run.config.datasets]
    assert [(line.scale, line.shift) for line in lines] == [
        pytest.approx((np.ptp(own), min(own))) for own in mos
    ]
    model = Model.load(run.path, scale_of="other")
    rows = [row for row in run.predictions if row.video == "other/clip,7.mp4" and row.part == "test"]
    assert model.score(tiny_features(7), 0) == pytest.approx(rows[0].score, abs=1e-5)


def test_fit__li_rescaled_released_stores_the_frozen_lines(make_store: MakeStore, tmp_path: Path) -> None:
    changes = {"recipe": "li-rescaled-released", "overrides": {"epochs": 2, "batch_size": 4}}
    run = mixed_fit(mixture(make_store), tmp_path / "run", jobs=1, **changes)
    assert (run.config.options["datasets"], run.config.options["learn_lines"]) == ("tiny+other", False)
    model = Model.load(run.path, scale_of="other")
    rows = [row for row in run.predictions if row.video == "other/clip,7.mp4" and row.part == "test"]
    assert model.score(tiny_features(7), 0) == pytest.approx(rows[0].score, abs=1e-5)
    (head,) = model.heads
    assert (head.state_dict()["slopes"].tolist(), head.state_dict()["offsets"].tolist()) == ([1, 1], [0, 0])


def test_fit__refuses_what_several_data_sets_do_not_allow(make_store: MakeStore, tmp_path: Path) -> None:
    source = mixture(make_store)
    with pytest.raises(
        ArgumentError,
        match=r"option 'datasets' of head 'mdtvsfa' is 'a\+b', but the data sets are tiny\+other",
    ):
        mixed_fit(source, tmp_path / "run", options={**OPTIONS, "datasets": "a+b"})
    with pytest.raises(
        ArgumentError, match=r"head 'svr' knows one label scale, but the videos are from tiny and other"
    ):
        mixed_fit(source, tmp_path / "run", head="svr", options={}, overrides={}, jobs=1)
    with pytest.raises(TrainingError, match=r"no video of the data set 'other' is in the training part"):
        mixed_fit(source, tmp_path / "run", splits=[Split(tuple(range(10)), (), tuple(range(10, 29)))])
    few = [Split((*range(10), 20, 21), (*range(10, 15), 22), (*range(15, 20), 23, 24))]
    with pytest.raises(
        TrainingError,
        match=r"the validation part of 'other' has 1 video\(s\); choosing an epoch by SROCC takes at least 3",
    ):
        mixed_fit(source, tmp_path / "run", splits=few)
    with pytest.raises(ArgumentError, match="multi_dataset is 'pooled', but there is one data set, 'tiny'"):
        small_fit(make_store(), tmp_path / "run", overrides={"multi_dataset": "pooled"})
    one = [Split((*range(10), 20, 21, 22), (), (*range(15, 20), 28))]
    with pytest.raises(
        TrainingError, match=r"test part of 'other' has 1 video\(s\); metrics take at least 2. Use"
    ):
        mixed_fit(source, tmp_path / "run", splits=one)
    assert not (tmp_path / "run").exists()


def test_compare_runs__on_several_data_sets(make_store: MakeStore, tmp_path: Path) -> None:
    source = mixture(make_store)
    twice = joint_splits(
        [
            [SPLITS[0]] * 3,
            [SMALL, Split((0, 1, 3), (2, 7, 8), (4, 5, 6)), Split((2, 3, 4), (0, 1, 8), (5, 6, 7))],
        ],
        SIZES,
    )
    runs = [
        mixed_fit(source, tmp_path / name, head=name, splits=twice, options={}, jobs=1)
        for name in ("no-time", "avg-gru")
    ]
    result = compare_runs([run.path for run in runs])
    (pair,) = result.pairs
    expected = np.mean(np.subtract(runs[0].metrics.srocc.values, runs[1].metrics.srocc.values))
    assert pair.test.mean_difference == pytest.approx(expected)
    assert pair.interval is not None
    assert pair.interval.difference == pair.test.mean_difference


def test_joint_store__is_printed_and_replaced_store_by_store(make_store: MakeStore) -> None:
    joint = mixture(make_store)
    assert repr(joint).startswith("<JointStore of tiny: 20 videos; ")
    names: list[str] = []

    def noted(store: FeatureStore) -> FeatureStore:
        names.append(store.dataset_name)
        return store

    assert (
        [one.name for one in joint.replaced(noted).datasets] == names == [one.name for one in joint.datasets]
    )
