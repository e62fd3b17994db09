"""The loop: seeded, best epoch kept, against a from-scratch step; what goes wrong is named."""

import gc
import weakref
from collections import Counter
from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import (
    RECURRENT_OPTIONS,
    SPLIT,
    TRANSFORMER_OPTIONS,
    config_of,
    finish,
    frame_statistics,
    task_of,
    train,
)
from vqafeat.errors import TrainingError
from vqafeat.heads.base import build_head
from vqafeat.losses.base import LossFunction, build_loss
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training import batching, loop, stacked_heads, trainer
from vqafeat.training.batching import Batcher
from vqafeat.training.checkpoint import TrainingResult
from vqafeat.training.config import Recipe
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput, FrameSampler
from vqafeat.training.trainer import SplitTrainer, predict
from vqafeat.training.training_features import combined_statistics, shared_moments

RECIPE = Recipe(
    "own",
    learning_rate=0.02,
    batch_size=4,
    epochs=8,
    schedule="cosine",
    weight_decay=0.01,
    start_at_mean=True,
)


def run(
    split: Split = SPLIT, recipe: Recipe = RECIPE, seed: int = 3, sequences: FeatureDataset | None = None
) -> TrainingResult:
    return finish(train(sequences or tiny_sequences(), split, "sub-gru", RECURRENT_OPTIONS, recipe, seed))


def test_train__learns() -> None:
    result = run(recipe=replace(RECIPE, epochs=25))
    assert result.curve[-1].loss < 0.5 * result.curve[0].loss


def test_train__the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(7)
    first = run()
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), after)
    second, other = run(), run(seed=4)
    # as text: from Python 3.13 on, records with NaN are never equal
    assert repr(first.curve) == repr(second.curve)
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    assert repr(first.curve) != repr(other.curve)


def test_train__keeps_the_first_epoch_with_the_best_validation_srocc() -> None:
    result = run()
    sroccs = [record.validation_srocc for record in result.curve]
    assert result.kept_epoch == int(np.argmax(sroccs)) + 1
    assert result.kept_because == f"highest validation SROCC ({max(sroccs):.4f})"
    head = build_head("sub-gru", 6, RECURRENT_OPTIONS)
    head.load_state_dict(result.weights)
    sequences = tiny_sequences()
    scores = predict(head, Batcher(sequences), SPLIT.validation)
    assert spearmanr(scores, sequences.mos[10:15]).statistic == pytest.approx(max(sroccs), abs=1e-12)


def test_train__keeps_no_epoch_while_settling() -> None:
    assert run(recipe=replace(RECIPE, warmup_fraction=0.9)).kept_epoch == RECIPE.epochs


def test_train__without_validation_keeps_the_last_epoch_and_says_so() -> None:
    result = run(Split(SPLIT.train, (), SPLIT.test))
    assert (result.kept_epoch, result.kept_because) == (8, "last epoch: there is no validation part")
    assert all(isnan(record.validation_srocc) for record in result.curve)


def test_train__validation_with_more_frames_than_a_training_batch() -> None:
    # the memory that both share must serve training again after it grew in validation
    assert len(run(Split((0, 1), tuple(range(2, 18)), (18, 19)), replace(RECIPE, batch_size=1)).curve) == 8


def test_train__constant_validation_predictions_select_no_epoch() -> None:
    sequences = tiny_sequences()
    features = tuple(
        np.zeros((4, 6), np.float16) if row >= 10 else values for row, values in enumerate(sequences.features)
    )
    assert (
        run(sequences=replace(sequences, features=features)).kept_because
        == "last epoch: validation SROCC was never defined"
    )


def test_train__one_step_is_adam_on_the_l1_loss() -> None:
    sequences = tiny_sequences()
    recipe = Recipe("own", learning_rate=0.01, batch_size=10, epochs=1, label_scaling="largest-of-dataset")
    result = run(Split(SPLIT.train, (), SPLIT.test), recipe, sequences=sequences)
    torch.manual_seed(3)
    head = build_head("sub-gru", 6, RECURRENT_OPTIONS)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    labels = torch.tensor(sequences.mos / sequences.mos.max(), dtype=torch.float32)[:10]
    scores = [
        head(torch.tensor(values, dtype=torch.float32), torch.tensor([len(values)]))[0]
        for values in sequences.features[:10]
    ]
    loss = (torch.stack(scores) - labels).abs().mean()
    loss.backward()
    optimiser.step()
    assert result.curve[0].loss == pytest.approx(loss.item(), abs=1e-6)
    assert task_of(sequences, SPLIT, 3, recipe).label_scalings[0].scale == sequences.mos.max()
    for name, value in head.state_dict().items():
        torch.testing.assert_close(result.weights[name], value, atol=2e-5, rtol=0)


def test_train__a_mixture_trains_on_its_scale_and_options() -> None:
    recipe = replace(RECIPE, loss="plcc+srcc", soft_rank_strength=0.05, label_scaling="none", epochs=25)
    result = run(recipe=recipe)
    assert task_of(tiny_sequences(), SPLIT, 3, recipe).label_scalings[0].scale == 1
    assert result.curve[-1].loss < 0.5 * result.curve[0].loss
    assert result.curve[0].loss != run(recipe=replace(recipe, soft_rank_strength=1.0)).curve[0].loss


def test_train__leaves_out_an_incomplete_batch_if_the_recipe_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(name: str, options: dict[str, Any]) -> LossFunction:
        loss = build_loss(name, options)
        return lambda outputs, labels: sizes.append(len(labels)) or loss(outputs, labels)

    monkeypatch.setattr(trainer, "build_loss", counted)
    run(recipe=replace(RECIPE, epochs=1))
    run(recipe=replace(RECIPE, epochs=1, drop_last=True))
    assert sizes == [4, 4, 2, 4, 4]


def test_train__selects_on_the_test_part_only_if_the_recipe_says_so() -> None:
    recipe = replace(RECIPE, select="test")
    result, usual = run(recipe=recipe), run()
    assert [record.validation_srocc for record in result.curve] == [
        record.validation_srocc for record in usual.curve
    ]
    assert all(isnan(record.test_srocc) for record in usual.curve)
    sroccs = [record.test_srocc for record in result.curve]
    assert result.kept_epoch == int(np.argmax(sroccs)) + 1
    assert result.kept_because == f"highest test SROCC ({max(sroccs):.4f})"
    head, sequences = build_head("sub-gru", 6, RECURRENT_OPTIONS), tiny_sequences()
    head.load_state_dict(result.weights)
    scores = predict(head, Batcher(sequences), SPLIT.test)
    assert spearmanr(scores, sequences.mos[15:20]).statistic == pytest.approx(max(sroccs), abs=1e-12)
    assert run(Split(SPLIT.train, (), SPLIT.test), recipe).kept_epoch == result.kept_epoch
    with pytest.raises(
        TrainingError, match=r"the test part has 2 video\(s\); choosing an epoch by SROCC takes at least 3"
    ):
        run(Split(SPLIT.train, (), (15, 16)), recipe)


def test_combined_statistics__equal_numpy_over_the_training_frames() -> None:
    sequences = tiny_sequences()
    frames = np.concatenate([values.astype(np.float64) for values in sequences.features[:10]])
    mean, deviation = frame_statistics(sequences, range(10))
    np.testing.assert_allclose(mean.numpy(), frames.mean(0), atol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), frames.std(0), rtol=1e-5)


def test_combined_statistics__do_not_blow_up_nearly_constant_channels() -> None:
    sequences = tiny_sequences()
    for values in sequences.features:
        values[:, 1] = 3
    mean, deviation = frame_statistics(sequences, range(10))
    others = deviation[[0, 2, 3, 4, 5]]
    assert mean[1] == 3
    assert deviation[1] == pytest.approx(0.1 * float(others.double().median()), rel=1e-6)
    for values in sequences.features:
        values[:] = 3
    assert frame_statistics(sequences, range(10))[1].tolist() == [1.0] * 6


def test_train__statistics_are_part_of_the_weights() -> None:
    result = run(recipe=replace(RECIPE, standardise=True))
    mean, deviation = frame_statistics(tiny_sequences(), SPLIT.train)
    assert torch.equal(result.weights["reduce.mean"], mean)
    assert torch.equal(result.weights["reduce.deviation"], deviation)


def test_train__a_loss_that_is_not_finite_names_step_and_videos() -> None:
    sequences = tiny_sequences()
    sequences.features[4][0, 0] = np.inf
    with pytest.raises(
        TrainingError,
        match=r"the loss became nan in epoch 1, step 1, on the videos .*clip,4\.mp4.*lower --learning-rate "
        r"\(0.02\)",
    ):
        run(recipe=replace(RECIPE, batch_size=16), sequences=sequences)


def test_train__refuses_parts_that_do_not_fit() -> None:
    refused = r"the validation part has 2 video\(s\); choosing an epoch by SROCC takes at least 3. "
    helpful = (
        refused
        + "Use more videos, a larger validation share, as --ratio 40/30/30, or --ratio 80/20 for none, which "
    )
    helpful += "keeps the last epoch; --validation-share is that of an official split."
    with pytest.raises(TrainingError, match=helpful):
        run(Split(SPLIT.train, (10, 11), SPLIT.test))


# operations that launch nothing on a GPU
VIEWS = {
    *("view", "_unsafe_view", "t", "transpose", "unsqueeze", "expand", "slice", "select", "split"),
    *("split_with_sizes", "unbind", "detach", "as_strided", "alias", "permute", "unfold", "reshape"),
    *("lift_fresh", "empty", "new_empty", "empty_like", "is_pinned"),
}


class CountedOperations(TorchDispatchMode):
    """Counts the operations that launch a kernel on a GPU, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name.startswith("aten::") and name.removeprefix("aten::") not in VIEWS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class OneOperation(torch.autograd.Function):
    """Stands for the kernels of the recurrence: one operation each way."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> Tensor:
        ctx.save_for_backward(*values)
        return values[0][..., : values[2].shape[2]].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.zeros_like, ctx.saved_tensors))


@pytest.mark.parametrize(
    ("head", "options", "limit"),
    [
        ("sub-gru", RECURRENT_OPTIONS, 190),
        ("no-time", {"reduced": 4}, 130),
        ("transformer", TRANSFORMER_OPTIONS, 400),
    ],
)
def test_train_epoch__of_ten_splits_launches_little_and_waits_never(
    monkeypatch: pytest.MonkeyPatch, head: str, options: dict[str, Any], limit: int
) -> None:
    monkeypatch.setattr(batching, "fits_on", lambda *_: True)
    monkeypatch.setattr(stacked_heads, "_kernel", lambda *_: OneOperation.apply)
    data, recipe = tiny_sequences(), replace(RECIPE, batch_size=2)
    config = config_of(head, options, recipe)
    trainers = [SplitTrainer(data, task_of(data, SPLIT, seed, recipe), config) for seed in range(10)]
    counted = list[int]()
    original = SplitTrainer.step

    with CountedOperations() as operations:

        def step(trainer: SplitTrainer) -> None:
            original(trainer)
            counted.append(operations.counts.total())

        monkeypatch.setattr(SplitTrainer, "step", step)
        monkeypatch.setattr(SplitTrainer, "finite_losses", lambda *_: [0.0])  # it waits, once an epoch
        loop._train_epoch(trainers, 1)
    # from the second step on, since the optimiser makes its state in the first
    assert np.diff(counted[9::10])[1:].max() <= limit
    waiting = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::masked_select"}
    assert not waiting & set(operations.counts)


@pytest.mark.parametrize("head", ["sub-gru", "mdtvsfa"])
def test_train_splits__with_resident_features_and_the_kernel(
    monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    gru_kernel = pytest.importorskip("vqafeat.training.gru_kernel", reason="triton is absent")
    data, recipe = tiny_sequences(), replace(RECIPE, epochs=1, batch_size=5, standardise=True)
    splits = (SPLIT, Split(tuple(range(4, 16)), (0, 1, 2), (3, 16, 17)))
    tasks = [
        replace(task_of(data, split, number, recipe), number=number) for number, split in enumerate(splits)
    ]
    config = config_of(head, RECURRENT_OPTIONS, recipe)
    alone = [result for task in tasks for result in loop.train_splits(data, [task], config)]
    monkeypatch.setattr(batching, "fits_on", lambda *_: True)
    monkeypatch.setattr(stacked_heads, "_kernel", lambda *_: gru_kernel.KernelGRU.apply)
    for one, other in zip(alone, loop.train_splits(data, tasks, config), strict=True):
        assert one.curve[0].loss == pytest.approx(other.curve[0].loss, rel=1e-5)
        for name, value in one.weights.items():
            torch.testing.assert_close(other.weights[name], value, rtol=1e-5, atol=1e-5)


def test_shared_moments__are_computed_once_a_video() -> None:
    data, batcher = tiny_sequences(), Batcher(tiny_sequences())
    sampler = FrameSampler(WHOLE_VIDEOS, data)
    moments = shared_moments(Batcher(data), sampler)
    assert shared_moments(Batcher(data), sampler) is moments
    assert shared_moments(batcher, FrameSampler(WHOLE_VIDEOS, batcher.data)) is not moments
    assert moments(3) is moments(3)
    assert shared_moments(Batcher(data), FrameSampler(FrameInput("OO", "stride-2"), data)) is not moments
    for one, other in zip(
        combined_statistics(map(moments, SPLIT.train)), frame_statistics(data, SPLIT.train), strict=True
    ):
        assert torch.equal(one, other)


def test_shared_moments__let_go_of_the_data_of_an_earlier_fit() -> None:
    data, other = tiny_sequences(), tiny_sequences()
    earlier = weakref.ref(data)
    shared_moments(Batcher(data), FrameSampler(WHOLE_VIDEOS, data))(0)
    shared_moments(Batcher(other), FrameSampler(WHOLE_VIDEOS, other))
    del data
    gc.collect()
    assert earlier() is None
