"""The Transformer head against its equations, written out; positions, dropout from the training's seed,
refusals.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import SPLIT, TRANSFORMER_OPTIONS, finish, train
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.heads.base import build_head
from vqafeat.heads.pooling import frame_mask
from vqafeat.heads.transformer import bernoulli, sinusoids
from vqafeat.training.checkpoint import TrainingResult
from vqafeat.training.config import Recipe

RECIPE = Recipe("own", learning_rate=0.02, batch_size=4, epochs=3)


def normalised(values: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = values - values.mean(1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def layer(x: Tensor, w: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """One encoder layer of Vaswani et al. 2017: add and normalise after attention and after the feed-forward
    network.
    """
    query, key, value = (
        x @ w[f"{name}.self_attn.in_proj_weight"].T + w[f"{name}.self_attn.in_proj_bias"]
    ).chunk(3, dim=1)
    width = x.shape[1] // heads
    seen = []
    for number in range(heads):
        own = slice(number * width, (number + 1) * width)
        attention = torch.softmax(query[:, own] @ key[:, own].T / math.sqrt(width), dim=1)
        seen.append(attention @ value[:, own])
    x = (
        x
        + torch.cat(seen, 1) @ w[f"{name}.self_attn.out_proj.weight"].T
        + w[f"{name}.self_attn.out_proj.bias"]
    )
    x = normalised(x, w, f"{name}.norm1")
    hidden = torch.relu(x @ w[f"{name}.linear1.weight"].T + w[f"{name}.linear1.bias"])
    return normalised(
        x + hidden @ w[f"{name}.linear2.weight"].T + w[f"{name}.linear2.bias"], w, f"{name}.norm2"
    )


@pytest.mark.parametrize("positions", ["sinusoidal", "none"])
def test_transformer__equals_the_equations_next_to_a_longer_video(positions: str) -> None:
    torch.manual_seed(1)
    head = build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "positions": positions}).double().eval()
    weights = dict(head.state_dict())
    frames = torch.randn(16, 6, dtype=torch.float64)
    result = head.raw_frame_scores(frames, torch.tensor([5, 11]))[0, :5]
    x = frames[:5] @ weights["reduce.linear.weight"].T + weights["reduce.linear.bias"]
    if positions == "sinusoidal":
        waves = [[math.sin(t), math.cos(t), math.sin(t / 100), math.cos(t / 100)] for t in range(5)]
        x = x + torch.tensor(waves, dtype=torch.float64)
    for number in range(2):
        x = layer(x, weights, f"encoder.layers.{number}", heads=2)
    expected = (x @ weights["score.weight"].T + weights["score.bias"])[:, 0]
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


def test_sinusoids__of_an_odd_width_and_of_long_videos() -> None:
    waves = sinusoids(4096, 5)
    assert waves.shape == (4096, 5)
    assert waves[4095, 4].item() == pytest.approx(math.sin(4095 / 10000**0.8), abs=1e-12)


def test_transformer__without_positions_follows_permuted_frames() -> None:
    head = build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "positions": "none"}).double().eval()
    frames, length = torch.randn(9, 6, dtype=torch.float64), torch.tensor([9])
    torch.testing.assert_close(
        head.raw_frame_scores(frames.flip(0), length), head.raw_frame_scores(frames, length).flip(1)
    )


def test_transformer__dropout_follows_the_training_seed_alone() -> None:
    def trained(seed: int, dropout: float = 0.2) -> TrainingResult:
        return finish(
            train(
                tiny_sequences(),
                SPLIT,
                "transformer",
                {**TRANSFORMER_OPTIONS, "dropout": dropout},
                RECIPE,
                seed,
            )
        )

    torch.manual_seed(7)
    first = trained(3)
    after = torch.rand(1)
    torch.manual_seed(8)
    second = trained(3)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), after)
    # as text: from Python 3.13 on, records with NaN are never equal
    assert repr(first.curve) == repr(second.curve)
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    assert repr(first.curve) != repr(trained(3, dropout=0.0).curve)


def test_transformer__dropout_differs_between_epochs() -> None:
    still = Recipe("own", learning_rate=1e-12, batch_size=10, epochs=3)
    losses = [
        record.loss
        for record in finish(
            train(tiny_sequences(), SPLIT, "transformer", {**TRANSFORMER_OPTIONS, "dropout": 0.5}, still, 3)
        ).curve
    ]
    assert len(np.unique(np.round(losses, 6))) == 3


def test_transformer__refuses_wrong_options() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"layers = 2, attention_heads = 3, reduced = 4: .* share the reduced channels evenly",
    ):
        build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "attention_heads": 3})
    with pytest.raises(ArgumentError, match=r"dropout is 1.0; it has to be at least 0 and below 1"):
        build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "dropout": 1.0})
    with pytest.raises(UnknownNameError, match=r"unknown kind of positions 'sinus': did you mean sinusoidal"):
        build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "positions": "sinus"})


@pytest.mark.parametrize("lengths", [[5, 11, 1], [6, 6]])
def test_transformer__trains_as_the_layers_of_pytorch(lengths: list[int]) -> None:
    torch.manual_seed(2)
    head = build_head("transformer", 6, {**TRANSFORMER_OPTIONS, "dropout": 0.4, "positions": "none"})
    frames, counts = torch.randn(sum(lengths), 6, requires_grad=True), torch.tensor(lengths)
    outer = torch.randn(len(lengths), max(lengths)) * frame_mask(counts, max(lengths))
    values = [frames, *(value for name, value in head.named_parameters())]

    def by_pytorch() -> Tensor:
        reduced = pad_sequence(list(head.reduce(frames).split(lengths)), batch_first=True)
        states = reduced
        for own in head.encoder.layers:
            states = own(states, src_key_padding_mask=~frame_mask(counts, max(lengths)))
        return head.score(states)[:, :, 0]

    results = []
    for scores in (lambda: head.raw_frame_scores(frames, counts), by_pytorch):
        torch.manual_seed(5)
        frame_scores = scores() * frame_mask(counts, max(lengths))
        results.append((frame_scores, *torch.autograd.grad(frame_scores, values, outer)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("probability", [0.8, 0.6, 1.0, 1e-3])
def test_bernoulli__draws_what_pytorch_draws(probability: float) -> None:
    size = (3, 5, 7001)
    torch.manual_seed(4)
    expected, following = torch.empty(size, dtype=torch.bool).bernoulli_(probability), torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(bernoulli(size, probability, torch.device("cpu")), expected)
    assert torch.equal(torch.rand(1), following)
