"""All heads of the registry, on tiny networks."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vqafeat
from tests.helpers.fits import small_fit
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.heads import HEADS
from vqafeat.heads.base import FrameReduction, Head, Scores, build_head, head_options, options_from_text
from vqafeat.heads.pooling import padded, released_hysteresis
from vqafeat.heads.recurrent import SubGRU
from vqafeat.store import FeatureStore
from vqafeat.training.config import FitConfig

MakeStore = Callable[..., FeatureStore]

ENCODER = {"reduced": 4, "layers": 2, "attention_heads": 2, "feed_forward": 5, "dropout": 0.0}
TINY: dict[str, dict[str, Any]] = {
    "no-time": {"reduced": 4},
    "avg-gru": {"reduced": 4, "hidden": 3},
    "sub-gru": {"reduced": 4, "hidden": 3},
    "sub-lstm": {"reduced": 4, "hidden": 3},
    "transformer": ENCODER,
    "mdtvsfa": {"reduced": 4, "hidden": 3},
    "mdtvsfa-transformer": ENCODER,
    "a2inet": {"first_channels": 2, "width": 4, "gate_reduction": 2, "reduced": 4, "hidden": 3},
    "svr": {},
}
# at the papers' sizes and 4096 channels (a2inet: 2048 of each branch)
PARAMETERS = {
    # FC 4096·128 + 128; GRU 3·32·(128 + 32 + 2), LSTM 4·32·(128 + 32 + 2); FC 32 + 1 (no-time: 128 + 1)
    "no-time": 524545,
    "avg-gru": 540001,
    "sub-gru": 540001,
    "sub-lstm": 545185,
    # FC 4096·128 + 128; 2 layers of attention 4·(128·128 + 128), feed-forward 2·128·2048 + 2048 + 128,
    # normalisation 4·128; FC 128 + 1
    "transformer": 524416 + 2 * (4 * 16512 + 526464 + 512) + 129,
    # sub-gru; two Linears of 2 each; one line
    "mdtvsfa": 540001 + 6,
    "mdtvsfa-transformer": 524416 + 2 * (4 * 16512 + 526464 + 512) + 129 + 6,
    # FCs 4096·1024 + 2·1024; γ, θ 2·(1024² + 1024); Q, K, V 3·2048²; FC 2048·1024 + 1024; gates 2·(1024·64 +
    # 64 + 64·1024 + 1024); convolutions 2·(3·1024² + 1024); FC 2048·128 + 128; GRU; FC 32 + 1
    "a2inet": 4196352 + 2099200 + 12582912 + 2098176 + 264320 + 6293504 + 262272 + 15552 + 33,
    # support vectors are no parameters that gradients learn
    "svr": 0,
}
# the video's score is a function of the mean in these, not the mean of functions of the frames
BOUNDED = {"mdtvsfa", "mdtvsfa-transformer"}
LENGTHS = [5, 20, 1, 13]


def tiny(name: str, **changes: Any) -> Head:
    torch.manual_seed(0)
    head = build_head(name, 6, {**TINY[name], **changes}).double()
    if name == "svr":
        support, draw = torch.randn(5, 6), torch.randn(5)
        weights = {"support": support, "coefficients": draw, "intercept": draw[0], "gamma": torch.tensor(0.2)}
        head.resize_buffers(weights)
        head.load_state_dict({**weights, "scale": torch.rand(6), "shift": torch.rand(6)})
    return head


def frames_of(lengths: list[int]) -> Tensor:
    return torch.randn(sum(lengths), 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_heads__each_has_a_tiny_variant_here() -> None:
    assert set(TINY) == set(HEADS)


@pytest.mark.parametrize("name", TINY)
def test_head__scores_a_video_alike_alone_and_padded_in_a_batch(name: str) -> None:
    head, frames = tiny(name), frames_of(LENGTHS)
    together, curves = head(frames, torch.tensor(LENGTHS)), head.frame_scores(frames, torch.tensor(LENGTHS))
    assert together.shape == (4,)
    assert curves.shape == (4, 20)
    for row, own in enumerate(torch.split(frames, LENGTHS)):
        length = torch.tensor([len(own)])
        torch.testing.assert_close(head(own, length), together[row : row + 1], atol=1e-12, rtol=0)
        torch.testing.assert_close(
            head.frame_scores(own, length)[0], curves[row, : len(own)], atol=1e-12, rtol=0
        )


@pytest.mark.parametrize("name", [name for name in TINY if name not in BOUNDED])
def test_head__video_score_is_the_mean_of_the_frame_scores(name: str) -> None:
    head, frames = tiny(name), frames_of([20])
    torch.testing.assert_close(
        head(frames, torch.tensor([20]))[0], head.frame_scores(frames, torch.tensor([20])).mean()
    )


@pytest.mark.parametrize("name", TINY)
def test_head__gradients_equal_finite_differences(name: str) -> None:
    head, frames = tiny(name), frames_of([4, 7]).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: head(values, torch.tensor([4, 7])), (frames,))


@pytest.mark.parametrize("name", list(HEADS))
def test_build_head__counts_of_parameters(name: str) -> None:
    head = build_head(name, 4096, {"first_channels": 2048} if name == "a2inet" else {})
    assert sum(parameter.numel() for parameter in head.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", TINY)
def test_head__without_temporal_model_ignores_the_order_of_frames(name: str) -> None:
    blind = name in {"no-time", "svr"}
    head, frames, length = tiny(name), frames_of([20]), torch.tensor([20])
    difference = (head(frames, length) - head(frames.flip(0), length)).abs().item()
    assert (difference < 1e-12) is blind


def test_sub_gru__pools_the_raw_scores_with_hysteresis() -> None:
    head, frames, lengths = tiny("sub-gru"), frames_of(LENGTHS), torch.tensor(LENGTHS)
    expected = released_hysteresis(head.raw_frame_scores(frames, lengths), lengths)
    torch.testing.assert_close(head.frame_scores(frames, lengths), expected)


def test_sub_gru__pooling_is_an_option() -> None:
    torch.manual_seed(0)
    other = build_head("sub-gru", 6, {**TINY["sub-gru"], "pooling": "paper"}).double()
    frames, length = frames_of([20]), torch.tensor([20])
    assert (other(frames, length) - tiny("sub-gru")(frames, length)).abs().item() > 1e-6


def test_frame_reduction__folds_the_standardisation_into_its_matrix() -> None:
    torch.manual_seed(0)
    reduction, frames = FrameReduction(6, 4).double(), frames_of([9])
    mean, deviation = frames.mean(0) + 2, frames.std(0) * 3
    reduction.standardise_by(mean, deviation)
    expected = reduction.linear((frames - mean) / deviation)
    torch.testing.assert_close(reduction(frames), expected, atol=1e-12, rtol=0)
    again = FrameReduction(6, 4).double()
    again.load_state_dict(reduction.state_dict())
    assert torch.equal(again(frames), reduction(frames))
    again.load_state_dict(FrameReduction(6, 4).double().state_dict())
    torch.testing.assert_close(again(frames), again.linear(frames), atol=1e-12, rtol=0)


@pytest.mark.parametrize("with_frames", [True, False], ids=["of-frames-too", "of-weights-alone"])
def test_frame_reduction__without_statistics_is_a_linear_layer(with_frames: bool) -> None:
    torch.manual_seed(0)
    reduction, frames = FrameReduction(6, 4).double(), frames_of([9]).requires_grad_(with_frames)
    required = [*reduction.linear.parameters(), *([frames] if with_frames else [])]
    own, plain = (
        torch.autograd.grad(layer(frames).sin().sum(), required) for layer in (reduction, reduction.linear)
    )
    torch.testing.assert_close(reduction(frames), reduction.linear(frames), atol=1e-12, rtol=0)
    torch.testing.assert_close(own, plain, atol=1e-12, rtol=0)


def test_init_output_bias__moves_the_untrained_scores() -> None:
    head, frames, lengths = tiny("sub-gru"), frames_of(LENGTHS), torch.tensor(LENGTHS)
    assert isinstance(head, Head)
    before, bias = head(frames, lengths), head.score.bias.item()
    head.init_output_bias(0.6)
    torch.testing.assert_close(head(frames, lengths) - 0.6, before - bias)


def test_head__a_subclass_with_its_own_layers_is_trained(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("_entries", "_added"):
        monkeypatch.setattr(HEADS, table, dict(getattr(HEADS, table)))

    @vqafeat.register_head("one-layer")
    class OneLayer(Head):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.layer = nn.Linear(channels, 1)

        def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
            return padded(self.layer(frames)[:, 0], lengths)

    overrides = {"epochs": 1, "standardise": True, "start_at_mean": True}
    run = small_fit(make_store(), tmp_path / "run", head="one-layer", options={}, overrides=overrides)
    assert all(isfinite(row.prediction) for row in run.predictions)


def test_head_options__refuses_defaults_that_a_run_cannot_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_entries", "_added"):
        monkeypatch.setattr(HEADS, table, dict(getattr(HEADS, table)))

    @vqafeat.register_head("wide")
    class Wide(SubGRU):
        def __init__(self, channels: int, width: int) -> None: ...

    @vqafeat.register_head("deep")
    class Deep(SubGRU):
        def __init__(self, channels: int, sizes: tuple[int, int] = (4, 2)) -> None: ...

    with pytest.raises(
        ArgumentError, match=r"option 'width' of head 'wide' has no default; give it one that"
    ):
        FitConfig(head="wide")
    with pytest.raises(
        ArgumentError, match=r"option 'sizes' of head 'deep' has the default \(4, 2\); give it"
    ):
        FitConfig(head="deep")


def test_head_options__resolves_and_refuses() -> None:
    assert head_options("sub-gru", {"beta": 0.3}) == {
        "reduced": 128,
        "hidden": 32,
        "pooling": "released",
        "window": 12,
        "beta": 0.3,
    }
    with pytest.raises(ArgumentError, match=r"head 'avg-gru' has no option 'beta'; it has reduced, hidden"):
        head_options("avg-gru", {"beta": 0.3})
    with pytest.raises(
        ArgumentError, match=r"'hidden' of head 'avg-gru' is '32'; it has to be of type int, such as 32"
    ):
        head_options("avg-gru", {"hidden": "32"})
    with pytest.raises(UnknownNameError, match=r"unknown head 'sub-gur': did you mean sub-gru"):
        build_head("sub-gur", 6)
    with pytest.raises(
        ArgumentError, match=r"window = 0, beta = 0.5: the pooling window has to be at least 1"
    ):
        build_head("sub-gru", 6, {"window": 0})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no-time", {"reduced": 0}, "reduced is 0; it has to be at least 1"),
        ("sub-lstm", {"reduced": -1, "hidden": 0}, "reduced is -1, hidden is 0; it has to be at least 1"),
        ("mdtvsfa", {"hidden": -2}, "hidden is -2; it has to be at least 1"),
        ("transformer", {"feed_forward": 0}, "feed_forward is 0; it has to be at least 1"),
        ("a2inet", {"first_channels": 2, "hidden": 0}, "hidden is 0; it has to be at least 1"),
    ],
)
def test_build_head__refuses_layers_without_units(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        build_head(name, 6, options)


def test_options_from_text__reads_and_refuses() -> None:
    given = ["fusion=fgin", "catm=no", "attention=yes", "width=64", "beta=0.25"]
    expected = {"fusion": "fgin", "catm": False, "attention": True, "width": 64, "beta": 0.25}
    assert options_from_text("a2inet", given) == expected
    with pytest.raises(
        ArgumentError,
        match=r"option 'gates=no': head 'sub-gru' takes NAME=VALUE with one of reduced, hidden, pooling",
    ):
        options_from_text("sub-gru", ["gates=no"])
    with pytest.raises(ArgumentError, match=r"option 'hidden': head 'sub-gru' takes NAME=VALUE"):
        options_from_text("sub-gru", ["hidden"])
    with pytest.raises(
        ArgumentError, match=r"'hidden' of head 'sub-gru' is '3.5'; it has to be of type int, such as 32"
    ):
        options_from_text("sub-gru", ["hidden=3.5"])
    with pytest.raises(
        ArgumentError, match=r"option 'catm' of head 'a2inet' is 'off'; it has to be yes or no"
    ):
        options_from_text("a2inet", ["catm=off"])


def test_head__names_the_shape_that_a_plugin_has_to_return() -> None:
    class Flat(Head):
        def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
            return frames[:, 0]

    message = r"raw_frame_scores of 'Flat' returned \(7,\); it has to return .* here \(2, time\)"
    with pytest.raises(ArgumentError, match=message):
        Flat()(torch.zeros(7, 3), torch.tensor([3, 4]))


def test_scores__refuses_columns_of_other_sizes() -> None:
    column = torch.zeros(3)
    for other in (torch.zeros(2), torch.zeros(3, 1)):
        with pytest.raises(ArgumentError, match=r"scores have to be \(batch,\) and of one size, got"):
            Scores(column, column, other)
