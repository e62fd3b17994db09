"""A2INet's parts against its equations, its switches, its branches filled in by the fit, refusals."""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.fits import small_fit
from tests.helpers.stores import MakeStore
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.evaluation.model import Model
from vqafeat.heads.a2inet import FUSIONS, TemporalGates
from vqafeat.heads.base import Head, build_head

WIDTH = 4
SMALL: dict[str, Any] = {"first_channels": 2, "width": WIDTH, "gate_reduction": 2, "reduced": 4, "hidden": 3}
Weights = dict[str, Tensor]


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def guided(x: Tensor, y: Tensor, w: Weights, kept: float, name: str = "guided") -> Tensor:
    """Equation 2, and with `kept` equation 3."""
    scale, shift = (linear(y, w, f"fusion.{name}.{key}") for key in ("scale", "shift"))
    return scale * norm(x) + shift + kept * norm(x)


def to_style(x: Tensor, y: Tensor) -> Tensor:
    """Equation 1."""
    return (y.var(0, correction=0) + 1e-5).sqrt() * norm(x) + y.mean(0)


EXPECTED: dict[str, Callable[[Tensor, Tensor, Weights], tuple[Tensor, Tensor]]] = {
    "concat": lambda q, s, w: (q, s),
    "concat-mlp": lambda q, s, w: tuple(
        torch.relu(linear(torch.cat([q, s], 1), w, "fusion.mix.0")).chunk(2, 1)
    ),
    "adain": lambda q, s, w: (q, to_style(s, q)),
    "adain-reverse": lambda q, s, w: (to_style(q, s), s),
    "fgin": lambda q, s, w: (q, guided(s, q, w, 0)),
    "fgin-reverse": lambda q, s, w: (guided(q, s, w, 0), s),
    "cgin": lambda q, s, w: (guided(q, s, w, 1), guided(s, q, w, 1)),
    "cgin-separate": lambda q, s, w: (guided(q, s, w, 1), guided(s, q, w, 1, "second_guided")),
}


def attended(x: Tensor, w: Weights) -> Tensor:
    """Equation 5 and the residual."""
    query, key, value = (x @ w[f"attention.{name}.weight"].T for name in ("query", "key", "value"))
    return x + torch.softmax(query @ key.T / math.sqrt(2 * WIDTH), dim=1) @ value


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each frame and its two neighbours, zeros beyond the ends."""
    zero = torch.zeros_like(x[:1])
    padded = torch.cat([zero, x, zero])
    return torch.stack(
        [sum(padded[t + k] @ weight[:, :, k].T for k in range(3)) + bias for t in range(len(x))]
    )


def gated(x: Tensor, w: Weights) -> Tensor:
    """Figure 3."""
    x = linear(x, w, "gates.narrow")
    summaries = (x.max(0).values, (x.var(0, correction=0) + 1e-5).sqrt())
    parts = []
    for number, summary in enumerate(summaries):
        gate = torch.sigmoid(
            linear(torch.relu(linear(summary, w, f"gates.gates.{number}.0")), w, f"gates.gates.{number}.2")
        )
        parts.append(
            convolved(x, w[f"gates.convolutions.{number}.weight"], w[f"gates.convolutions.{number}.bias"])
            * gate
        )
    return torch.cat(parts, 1)


def recurrent(x: Tensor, w: Weights) -> Tensor:
    state, qualities = torch.zeros(3, dtype=x.dtype), []
    for frame in x:
        a = (w["recurrence.weight_ih_l0"] @ frame + w["recurrence.bias_ih_l0"]).chunk(3)
        b = (w["recurrence.weight_hh_l0"] @ state + w["recurrence.bias_hh_l0"]).chunk(3)
        reset, update = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
        state = (1 - update) * torch.tanh(a[2] + reset * b[2]) + update * state
        qualities.append(linear(state, w, "score")[0])
    return torch.stack(qualities)


@pytest.mark.parametrize(
    ("fusion", "attention", "catm"), list(product(EXPECTED, (True, False), (True, False)))
)
def test_a2inet__every_variant_equals_its_equations(fusion: str, attention: bool, catm: bool) -> None:
    torch.manual_seed(0)
    head = (
        build_head("a2inet", 6, {**SMALL, "fusion": fusion, "attention": attention, "catm": catm})
        .double()
        .eval()
    )
    weights = dict(head.state_dict())
    frames = torch.randn(16, 6, dtype=torch.float64)
    result = head.raw_frame_scores(frames, torch.tensor([5, 11]))[0, :5]
    quality, semantic = (
        linear(part, weights, f"{name}.linear")
        for part, name in zip(frames[:5].split([2, 4], 1), ("first", "second"), strict=True)
    )
    x = torch.cat(EXPECTED[fusion](quality, semantic, weights), 1)
    x = attended(x, weights) if attention else x
    x = gated(x, weights) if catm else x
    expected = recurrent(linear(x, weights, "reduce"), weights)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


def test_fusions__each_has_its_equation_here() -> None:
    assert set(EXPECTED) == set(FUSIONS)


def test_a2inet__is_finite_for_a_single_frame_and_for_still_frames() -> None:
    head = build_head("a2inet", 6, SMALL).double()
    frames = torch.ones(4, 6, dtype=torch.float64).requires_grad_()
    head(frames, torch.tensor([1, 3])).sum().backward()
    assert frames.grad is not None
    assert torch.isfinite(frames.grad).all()


def test_a2inet__guides_of_cgin_are_shared_or_separate() -> None:
    # γ_s and θ_s are an FC layer each, from D to D
    counts = {
        fusion: sum(one.numel() for one in build_head("a2inet", 6, {**SMALL, "fusion": fusion}).parameters())
        for fusion in ("concat", "cgin", "cgin-separate")
    }
    layers = 2 * (WIDTH * WIDTH + WIDTH)
    assert counts["cgin"] - counts["concat"] == layers
    assert counts["cgin-separate"] - counts["concat"] == 2 * layers


def test_a2inet__standardises_both_branches() -> None:
    head = build_head("a2inet", 6, SMALL)
    assert isinstance(head, Head)
    head.standardise_by(torch.arange(6.0), torch.arange(1.0, 7.0))
    first, second = head.first, head.second
    assert (first.mean.tolist(), second.deviation.tolist()) == ([0.0, 1.0], [3.0, 4.0, 5.0, 6.0])


def test_fit__sets_first_channels_to_the_width_of_the_first_feature_set(
    make_store: MakeStore, tmp_path: Path
) -> None:
    options = {key: value for key, value in SMALL.items() if key != "first_channels"}
    run = small_fit(make_store(), tmp_path / "run", head="a2inet", features="sparse+tiny", options=options)
    assert (run.config.options["first_channels"], run.config.channels) == (2, 8)
    model = Model.load(run.path)
    assert np.isfinite(model.score(np.ones((5, 8), np.float32)))
    with pytest.raises(
        ArgumentError,
        match=r"head 'a2inet' has a branch for each of two feature sets, got 'tiny' alone; join two by \+",
    ):
        small_fit(make_store(), tmp_path / "other", head="a2inet", options=options)
    assert not (tmp_path / "other").exists()


def test_a2inet__refuses_wrong_options() -> None:
    for wrong in (0, 6, 7, -1):
        with pytest.raises(
            ArgumentError, match=rf"first_channels is {wrong} of 6 channels; it has to be the width of"
        ):
            build_head("a2inet", 6, {**SMALL, "first_channels": wrong})
    with pytest.raises(ArgumentError, match=r"kernel is 2; it has to be odd, such as 3"):
        build_head("a2inet", 6, {**SMALL, "kernel": 2})
    with pytest.raises(ArgumentError, match=r"gate_reduction is 5; it has to be between 1 and the width, 4"):
        build_head("a2inet", 6, {**SMALL, "gate_reduction": 5})
    with pytest.raises(UnknownNameError, match=r"unknown fusion 'cgn': did you mean cgin"):
        build_head("a2inet", 6, {**SMALL, "fusion": "cgn"})
    with pytest.raises(ArgumentError, match=r"'catm' of head 'a2inet' is 1; it has to be of type bool"):
        build_head("a2inet", 6, {**SMALL, "catm": 1})


def test_temporal_gates__keep_the_length_of_a_short_video() -> None:
    assert TemporalGates(4, 2, 5)(torch.zeros(2, 8)).shape == (2, 8)
