"""Stacked heads against each head alone, values and gradients."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import SPLIT, TRANSFORMER_OPTIONS, config_of, task_of
from vqafeat.heads import transformer
from vqafeat.heads.base import build_head
from vqafeat.heads.recurrent import SubGRU
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training.batching import Batcher
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.config import Recipe
from vqafeat.training.loop import train_splits
from vqafeat.training.stacked_heads import batched_scores, can_be_stacked, padded_together, stacked_states


def recurrences(
    count: int, width: int = 5, hidden: int = 4, dtype: torch.dtype = torch.float64
) -> list[nn.GRU]:
    torch.manual_seed(0)
    return [nn.GRU(width, hidden).to(dtype) for _ in range(count)]


@pytest.mark.parametrize("sizes", [[(7, 3)], [(7, 3), (7, 3)], [(9, 2), (4, 5), (1, 1)]])
def test_stacked_states__equal_each_gru_alone_with_gradients(sizes: list[tuple[int, int]]) -> None:
    networks = recurrences(len(sizes))
    inputs = [torch.randn(*size, 5, dtype=torch.float64, requires_grad=True) for size in sizes]
    weights = [torch.randn(*size, 4, dtype=torch.float64) for size in sizes]
    expected = [network(item)[0] for network, item in zip(networks, inputs, strict=True)]
    torch.stack(
        [(states * weight).sum() for states, weight in zip(expected, weights, strict=True)]
    ).sum().backward()
    gradients = [item.grad for item in inputs] + [
        value.grad for network in networks for value in network.parameters()
    ]
    for value in [*inputs, *(value for network in networks for value in network.parameters())]:
        value.grad = None
    flat = [item.transpose(0, 1).flatten(0, 1) for item in inputs]
    states = stacked_states(networks, padded_together(flat, [[time] * batch for time, batch in sizes]))
    results = [own[:time, :batch] for own, (time, batch) in zip(states, sizes, strict=True)]
    torch.stack(
        [(states * weight).sum() for states, weight in zip(results, weights, strict=True)]
    ).sum().backward()
    again = [item.grad for item in inputs] + [
        value.grad for network in networks for value in network.parameters()
    ]
    for one, other in zip([*expected, *gradients], [*results, *again], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_stacked_states__take_inputs_without_gradients() -> None:
    (network,) = recurrences(1)
    states = stacked_states([network], torch.randn(1, 3, 2, 5, dtype=torch.float64))
    states.sum().backward()
    assert network.weight_ih_l0.grad is not None


NO_DROPOUT = {**TRANSFORMER_OPTIONS, "dropout": 0.0}


@pytest.mark.parametrize(
    ("head", "options"),
    [
        *((head, {}) for head in ("sub-gru", "avg-gru", "mdtvsfa", "sub-lstm", "no-time")),
        ("transformer", NO_DROPOUT),
        ("transformer", {**NO_DROPOUT, "positions": "none"}),
        ("mdtvsfa-transformer", NO_DROPOUT),
    ],
)
def test_train_splits__together_end_as_each_alone(head: str, options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    features = [random.normal(size=(length, 6)).astype(np.float32) for length in random.integers(3, 20, 24)]
    mos = np.array([float(values.mean()) for values in features]) * 4 + 3
    names = tuple(f"v{index}" for index in range(24))
    sequences = FeatureDataset(names, names, mos, features)
    orders = [np.random.default_rng(seed).permutation(24).tolist() for seed in range(3)]
    # parts of different sizes: the runs have one, two and three steps an epoch
    splits = [
        Split(tuple(order[:cut]), tuple(order[18:21]), tuple(order[21:]))
        for order, cut in zip(orders, (4, 7, 18), strict=True)
    ]
    recipe = Recipe("short", learning_rate=1e-2, batch_size=7, epochs=6, schedule="cosine")
    config, seeds = config_of(head, options, recipe), (0, 1, 2, 9)
    tasks = [
        replace(task_of(sequences, split, seed, recipe), number=number)
        for number, (split, seed) in enumerate(zip([*splits, splits[2]], seeds, strict=True))
    ]
    records: list[tuple[int, EpochRecord]] = []
    own: list[tuple[int, EpochRecord]] = []
    together = train_splits(sequences, tasks, config, progress=lambda *record: records.append(record))
    for number, task in enumerate(tasks):
        own.clear()
        (alone,) = train_splits(sequences, [task], config, progress=lambda *record: own.append(record))
        assert together[number].kept_epoch == alone.kept_epoch
        for name, value in alone.weights.items():
            if name.endswith("in_proj_bias"):  # a softmax ignores the bias of keys: its gradient is rounding
                value[4:8] = together[number].weights[name][4:8]
            # Adam makes whole steps of gradients that the bounded score leaves near rounding
            torch.testing.assert_close(
                together[number].weights[name], value, rtol=1e-3, atol=1e-3 if "mdtvsfa" in head else 1e-5
            )
        curve = [record.loss for index, record in records if index == number]
        np.testing.assert_allclose(curve, [record.loss for _, record in own], rtol=1e-4)


def test_batched_scores__drop_where_a_transformer_alone_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(size: tuple[int, ...], *_: object) -> torch.Tensor:
        return (torch.arange(size[-1]) % 2 == 0).expand(size)

    attention, rates = torch.nn.functional.scaled_dot_product_attention, list[float]()

    def without_dropout(*values: Any) -> torch.Tensor:
        rates.append(values[4])
        return attention(*values[:4])

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", without_dropout)
    monkeypatch.setattr(transformer, "bernoulli", kept)
    monkeypatch.setattr(
        nn.Dropout, "forward", lambda self, values: values * kept(values.shape) / (1 - self.p)
    )
    torch.manual_seed(0)
    heads = [build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "dropout": 0.4}) for _ in range(2)]
    batcher = Batcher(tiny_sequences())
    batches = [replace(own, source=own.source.clone()) for own in map(batcher.batch, ([0, 1, 2], [3, 4]))]
    alone = [head(batch.frames, batch.lengths) for head, batch in zip(heads, batches, strict=True)]
    together = batched_scores(list(zip(heads, batches, strict=True)))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert rates == [0.4] * 6


def test_train_splits__together_drop_independently_and_by_the_seed() -> None:
    data, recipe = tiny_sequences(), Recipe("own", learning_rate=1e-2, batch_size=5, epochs=2)
    config = config_of("transformer", {**TRANSFORMER_OPTIONS, "dropout": 0.5}, recipe)
    tasks = [replace(task_of(data, SPLIT, 3, recipe), number=number) for number in range(2)]
    first, again = train_splits(data, tasks, config), train_splits(data, tasks, config)
    # as text: from Python 3.13 on, records with NaN are never equal
    one, other = ([repr(result.curve) for result in results] for results in (first, again))
    assert one == other
    assert one[0] != one[1]


def test_can_be_stacked__not_a_subclass_which_may_compute_something_else() -> None:
    class Own(SubGRU):
        pass

    assert can_be_stacked(SubGRU(6))
    assert not can_be_stacked(Own(6))
