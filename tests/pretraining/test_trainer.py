"""The loop: it learns, repeats itself, resumes bit for bit, and stops with names where something is wrong."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.image_sets import MakeSet
from tests.helpers.operations import Operations
from vqafeat.errors import ArgumentError, DatasetError, TrainingError, WeightsError
from vqafeat.pretraining import trainer
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.image_sets import load_image_set
from vqafeat.pretraining.images import ImageLoader, PairBatch, PairLoader
from vqafeat.pretraining.network import start_network
from vqafeat.pretraining.pairs import DrawnPairs, draw_pairs
from vqafeat.pretraining.trainer import (
    ComputeOptions,
    PretrainingRecord,
    Step,
    TrainingState,
    mean_srocc,
    pair_accuracy,
    predict,
    train,
)

CPU = torch.device("cpu")
PLAIN = ComputeOptions()
Sets = tuple[DrawnPairs, ...]


class Stop(Exception):  # noqa: N818
    """Ends a training as an interruption would."""


def run(
    sets: Sets,
    recipe: PretrainingRecipe,
    computing: ComputeOptions = PLAIN,
    checkpoint: Path | None = None,
    stop_after: int = 0,
    seed: int = 0,
    config: dict[str, object] | None = None,
) -> tuple[TrainingState | None, list[Step], list[PretrainingRecord]]:
    """Train the tiny network; with `stop_after`, abandon it after that many epochs."""
    steps: list[Step] = []
    records: list[PretrainingRecord] = []

    def note(event: Step | PretrainingRecord) -> None:
        if isinstance(event, Step):
            steps.append(event)
        else:
            records.append(event)
            if len(records) == stop_after:
                raise Stop

    network, _ = start_network("tiny", "random:1", 0)
    try:
        return train(network, sets, recipe, seed, computing, checkpoint, config, note), steps, records
    except Stop:
        return None, steps, records


def assert_same(first: TrainingState | None, second: TrainingState | None) -> None:
    assert first is not None
    assert second is not None
    assert first.best_weights.keys() == second.best_weights.keys()
    for key, value in first.best_weights.items():
        assert torch.equal(value, second.best_weights[key]), key
    assert first.curve == second.curve
    assert (first.best_epoch, first.kept_because) == (second.best_epoch, second.kept_because)


@pytest.fixture
def long(recipe: PretrainingRecipe) -> PretrainingRecipe:
    return recipe.overridden({"epochs": 10, "learning_rate": 1e-2, "decay": 0.8})


def test_trainer__learns_to_rank_held_out_images(pair_sets: Sets, long: PretrainingRecipe) -> None:
    result, _, records = run(pair_sets, long)
    assert result is not None
    assert records[-1].fidelity < 0.6 * records[0].fidelity
    start, _ = start_network("tiny", "random:1", 0)
    trained, _ = start_network("tiny", "random:1", 0)
    trained.load_state_dict(result.best_weights)
    images = pair_sets[0].validation_images
    mos = [image.mos for image in images]
    accuracy = [
        pair_accuracy(predict(DataParallel(item, CPU, "fp32"), ImageLoader(images, long, 0))[:, 0], mos)
        for item in (start, trained)
    ]
    assert accuracy[1] > 0.85 > accuracy[0]
    assert result.kept_because.startswith("highest mean validation SROCC over the sets (")
    best = max(records, key=lambda record: record.validation_srocc["mine"])
    assert result.best_epoch == best.epoch


def test_trainer__deviations_separate_noisy_labels_from_clean_ones(
    make_set: MakeSet, long: PretrainingRecipe
) -> None:
    sets = draw_pairs([load_image_set(f"mine={make_set(40)}")], {"mine": 200}, 25, 0)
    result, _, _ = run(sets, long.overridden({"margin": 0.3}))
    assert result is not None
    network, _ = start_network("tiny", "random:1", 0)
    network.load_state_dict(result.best_weights)
    images = sets[0].validation_images
    deviation = predict(DataParallel(network, CPU, "fp32"), ImageLoader(images, long, 0))[:, 1]
    noisy = np.array([image.std > 0.5 for image in images])
    assert deviation[noisy].min() > deviation[~noisy].max()


def test_trainer__repeats_itself_with_any_number_of_workers(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    first, steps, _ = run(pair_sets, recipe)
    assert_same(first, run(pair_sets, recipe)[0])
    assert_same(first, run(pair_sets, recipe, ComputeOptions(workers=2))[0])
    other, _, _ = run(pair_sets, recipe, seed=1)
    assert other is not None
    assert first is not None
    assert any(not torch.equal(value, other.best_weights[key]) for key, value in first.best_weights.items())
    # 40 pairs: three steps of the head alone, then five of 8 an epoch
    assert [(step.epoch, step.number, step.steps) for step in steps[:4]] == [
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
        (2, 1, 5),
    ]


@pytest.mark.parametrize("stop_after", [1, 2])
def test_trainer__resumes_a_stopped_run_to_the_same_weights(
    pair_sets: Sets, recipe: PretrainingRecipe, tmp_path: Path, stop_after: int
) -> None:
    whole, _, _ = run(pair_sets, recipe)
    run(pair_sets, recipe, checkpoint=tmp_path / "c", stop_after=stop_after)
    resumed, _, records = run(pair_sets, recipe, checkpoint=tmp_path / "c")
    assert [record.epoch for record in records] == list(range(stop_after + 1, 4))
    assert_same(whole, resumed)


def test_trainer__refuses_a_checkpoint_of_another_run_or_a_damaged_one(
    pair_sets: Sets, recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors.checkpoint"
    run(pair_sets, recipe, checkpoint=path, stop_after=1, config={"seed": 0, "recipe": {"epochs": 3}})
    with pytest.raises(
        WeightsError,
        match=r"another configuration: seed 0 there, 1 here; recipe epochs 3 there, 4 here. Continue with "
        r"that one",
    ):
        run(pair_sets, recipe, checkpoint=path, config={"seed": 1, "recipe": {"epochs": 4}})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        WeightsError, match=r"net.safetensors.checkpoint' is damaged .*; start anew with --overwrite"
    ):
        run(pair_sets, recipe, checkpoint=path)


def test_trainer__first_phase_moves_the_head_and_statistics_alone(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    start = start_network("tiny", "random:1", 0)[0].state_dict()
    result, _, _ = run(pair_sets, recipe.overridden({"epochs": 1}))
    assert result is not None
    moved = {key for key, value in result.best_weights.items() if not torch.equal(value, start[key])}
    assert {"fc.weight", "fc.bias"} <= moved
    assert all(key.startswith("fc.") or "running" in key or "num_batches" in key for key in moved)


def test_trainer__without_validation_keeps_the_last_epoch(
    small_set: object, recipe: PretrainingRecipe, make_set: MakeSet
) -> None:
    sets = draw_pairs([load_image_set(f"other={make_set(9, 'other')}")], {}, 0, 0)
    result, _, records = run(sets, recipe)
    assert result is not None
    assert (result.best_epoch, result.kept_because) == (
        3,
        "last epoch: there is no validation part, or its SROCC was never defined",
    )
    assert records[0].validation_srocc == {}
    assert np.isnan(mean_srocc({}))
    assert np.isnan(mean_srocc({"a": 0.5, "b": float("nan")}))


def test_trainer__a_loss_that_is_not_finite_names_step_and_images(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    with pytest.raises(
        TrainingError,
        match=r"the loss became nan in epoch 1, step [23], on the images .*\d\d.png.*lower --learning-rate",
    ):
        run(pair_sets, recipe.overridden({"head_epochs": 1, "learning_rate": 1e30}))


def test_trainer__names_an_image_that_breaks_during_the_training(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    image = pair_sets[0].image_set.images[pair_sets[0].training[0]]
    image.path.write_bytes(image.path.read_bytes()[:60])
    for workers in (0, 1):
        with pytest.raises(
            DatasetError, match=rf"^'.*{image.path.name}' is a damaged image or cannot be read \([^\n]*\)\.$"
        ):
            run(pair_sets, recipe, ComputeOptions(workers=workers))


def one_batch(pair_sets: Sets, recipe: PretrainingRecipe) -> PairBatch:
    return next(PairLoader(pair_sets, recipe, 0, 0).batches(1))


def test_pair_loader__gives_its_pairs_in_a_new_order_each_epoch(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    loader = PairLoader(pair_sets, recipe, 0, 0)
    orders = [[pair for batch in loader.batches(epoch) for pair in batch.pairs.tolist()] for epoch in (1, 2)]
    assert [sorted(order) for order in orders] == [list(range(40))] * 2
    assert orders[0] != orders[1]
    batch = one_batch(pair_sets, recipe)
    assert batch.first.shape == batch.second.shape == (16, 16, 16, 3)
    pairs = batch.pairs.tolist()
    np.testing.assert_allclose(batch.probability, pair_sets[0].probability[pairs], rtol=1e-6)
    np.testing.assert_array_equal(batch.std_order, pair_sets[0].std_order[pairs])
    paths = loader.images.names(pairs)
    first, second = pair_sets[0].rows[pairs[0]]
    assert paths[:2] == [str(pair_sets[0].image_set.images[row].path) for row in (first, second)]


def test_pair_loader__several_sets_keep_their_images(make_set: MakeSet, recipe: PretrainingRecipe) -> None:
    sets = draw_pairs(
        [load_image_set(f"{name}={make_set(count, name)}") for name, count in (("a", 20), ("b", 24))],
        {},
        20,
        0,
    )
    loader = PairLoader(sets, recipe, 0, 0)
    folders = [
        [Path(name).parent.name for name in loader.images.names([pair])] for pair in range(len(loader.images))
    ]
    assert folders == [["a", "a"]] * len(sets[0].rows) + [["b", "b"]] * len(sets[1].rows)
    _, _, records = run(sets, recipe.overridden({"epochs": 1}))
    assert records[0].validation_srocc.keys() == {"a", "b"}


def test_compute_options__refuse_wrong_values() -> None:
    with pytest.raises(ArgumentError, match=r"devices are missing; name at least one"):
        ComputeOptions(())
    with pytest.raises(ArgumentError, match=r"devices are cpu, cuda; name .* devices of one kind"):
        ComputeOptions((CPU, torch.device("cuda")))
    with pytest.raises(ArgumentError, match=r"workers is -1; it has to be at least 0"):
        ComputeOptions(workers=-1)


def test_pair_accuracy__counts_pairs_in_the_order_of_the_labels() -> None:
    mos = [1.0, 2.0, 3.0, 3.0]
    means = [0.1, 0.3, 0.2, 0.3]
    right = [
        np.sign(mos[a] - mos[b]) == np.sign(means[a] - means[b]) for a, b in ((0, 1), (0, 2), (0, 3), (1, 2))
    ]
    assert pair_accuracy(means, mos) == pytest.approx((sum(right) + 0.5) / 5)
    assert all(pair_accuracy(scores, mos) == 0.5 for scores in ([0, 0, 0, 0], [float(x) * 0 for x in mos]))


def test_trainer__steps_report_their_speed(pair_sets: Sets, recipe: PretrainingRecipe) -> None:
    _, steps, records = run(pair_sets, recipe)
    assert all(step.images_per_second > 0 for step in steps)
    assert [record.pairs for record in records] == [40] * 3
    assert all(earlier.learning_rate >= later.learning_rate for earlier, later in pairwise(records))


def test_trainer__reads_losses_every_few_steps_with_the_same_result(
    pair_sets: Sets, recipe: PretrainingRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each reading waits for the device; epochs of 3, 5 and 5 steps take 1, 2 and 2."""
    each, each_steps, _ = run(pair_sets, recipe)
    readings: list[torch.Size] = []
    to_list = torch.Tensor.tolist

    def noted(tensor: torch.Tensor) -> object:
        readings.append(tensor.shape)
        return to_list(tensor)

    with monkeypatch.context() as patch:
        patch.setitem(trainer._STEPS_A_READING, "cpu", 4)
        with pytest.raises(TrainingError) as late:
            run(pair_sets, recipe.overridden({"learning_rate": 1e30}))
        patch.setattr(torch.Tensor, "tolist", noted)
        with Operations() as operations:
            few, few_steps, _ = run(pair_sets, recipe)
    assert [shape[0] for shape in readings] == [3, 4, 1, 4, 1]
    # on the host: in each epoch, the loaders of pairs and of validation images draw a seed
    assert operations.waiting == ["_local_scalar_dense"] * 2 * len(few.curve if few else [])
    assert_same(each, few)
    losses = [[(step.epoch, step.number, step.loss) for step in steps] for steps in (each_steps, few_steps)]
    assert losses[0] == losses[1]
    with pytest.raises(TrainingError) as at_once:
        run(pair_sets, recipe.overridden({"learning_rate": 1e30}))
    assert str(late.value) == str(at_once.value)


def test_trainer__fp32_excludes_tf32(pair_sets: Sets, recipe: PretrainingRecipe) -> None:
    """Convolutions round to TF32 by default; the settings of the process come back."""
    flags: list[tuple[bool, bool]] = []

    def current() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = current()
    train(
        start_network("tiny", "random:1", 0)[0],
        pair_sets,
        recipe.overridden({"epochs": 1}),
        0,
        PLAIN,
        progress=lambda _event: flags.append(current()),
    )
    assert set(flags) == {(False, False)}
    assert current() == before


def test_trainer__resumes_on_a_cpu_what_a_gpu_computed(
    pair_sets: Sets, recipe: PretrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = run(pair_sets, recipe)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:0")
        run(pair_sets, recipe, checkpoint=tmp_path / "c", stop_after=2)
    with pytest.raises(RuntimeError, match=r"CUDA"):
        torch.load(tmp_path / "c", weights_only=True)
    resumed, _, records = run(pair_sets, recipe, checkpoint=tmp_path / "c")
    assert [record.epoch for record in records] == [3]
    assert_same(whole, resumed)
