"""Fused networks against the networks as published: equal up to rounding, and equal to themselves in any
company.
"""

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import pad
from torchvision.models import resnet18, squeezenet1_0
from torchvision.models.feature_extraction import create_feature_extractor

from vqafeat.backbones import fuse
from vqafeat.backbones.fuse import FusedConvolution, SamePad, fold_shortcut_bias, fused

TAPS = ["layer1", "layer2", "layer3", "layer4"]


def trained(network: nn.Module) -> nn.Module:
    """Batch norms with statistics of their own, so that folding them matters."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_feature_extractor(trained(resnet18()), TAPS, suppress_diff_warning=True)


def relative(result: Tensor, expected: Tensor) -> float:
    return float((result - expected).norm() / expected.norm())


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (65, 71)])
def test_fused__computes_what_the_network_computes(
    network: nn.Module, size: tuple[int, int], has_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "_HAS_ONEDNN", has_onednn)
    frames = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = network(frames)
        result = fused(network)(frames.to(memory_format=torch.channels_last))
    for tap in TAPS:
        assert relative(result[tap], expected[tap]) < 2e-6
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fused(network).modules()) == 0
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 0


def test_fused__joins_convolution_sum_and_relu_in_one_step(network: nn.Module) -> None:
    steps = [module for module in fused(network).modules() if isinstance(module, FusedConvolution)]
    assert len(steps) == 20  # 1 + 8 blocks of 2 + 3 shortcuts
    assert len([node for node in fused(network).graph.nodes if node.op == "call_function"]) == 0
    assert sum(step.in_place for step in steps) > 0


def test_fused__does_not_overwrite_taps(network: nn.Module) -> None:
    whole = fused(network)
    last = fused(create_feature_extractor(network, ["layer4"], suppress_diff_warning=True))
    frames = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(whole(frames)["layer4"], last(frames)["layer4"])
        kept = {tap: maps.clone() for tap, maps in whole(frames).items()}
        again = whole(frames)
    assert all(torch.equal(kept[tap], again[tap]) for tap in TAPS)


def test_fused__rows_ignore_the_batch_and_the_number_of_threads(network: nn.Module) -> None:
    whole = fused(network)
    frames = torch.randn(5, 3, 72, 104).contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        alone = torch.cat([whole(frame.unsqueeze(0))["layer4"] for frame in frames])
        try:
            torch.set_num_threads(2)
            threaded = torch.cat([whole(frame.unsqueeze(0))["layer4"] for frame in frames])
        finally:
            torch.set_num_threads(threads)
        other = torch.randn(1, 3, 40, 56)
        whole(other)
        after_another_size = whole(frames[:1])["layer4"]
    assert torch.equal(alone, threaded)
    assert torch.equal(alone[:1], after_another_size)


class Odd(nn.Module):
    """A sum whose other part is read again, a convolution that is read twice, groups, dilation, and a sum
    without ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm3d(8)
        self.second = nn.Conv3d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.second_norm = nn.BatchNorm3d(8)
        self.third = nn.Conv3d(8, 8, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, frames: Tensor) -> Tensor:
        first = self.norm(self.first(frames))
        shortcut = self.third(first)
        result = torch.relu(self.second_norm(self.second(first)) + shortcut)
        return self.relu(result) * shortcut + (self.third(result) + first)


def test_fused__keeps_sums_that_are_read_again() -> None:
    torch.manual_seed(1)
    odd = trained(Odd())
    frames = torch.randn(1, 3, 4, 9, 10)
    with torch.inference_mode():
        torch.testing.assert_close(fused(odd)(frames), odd(frames), rtol=1e-5, atol=1e-5)


def test_fused__takes_networks_without_norms_and_leaves_transformers() -> None:
    network = squeezenet1_0().features.eval()
    frames = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(fused(network)(frames), network(frames), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(module, nn.ReLU) for module in fused(network).modules())
    transformer = nn.TransformerEncoderLayer(8, 2, activation="gelu")
    assert fused(transformer) is transformer


class ActiveNorm(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: a norm that applies an activation too."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps).clamp(0, 6)


class WiderConvolution(nn.Conv2d):
    """As timm's Conv2dSame: a convolution that pads its input by its size."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(pad(maps, (0, maps.shape[-1] % 2) if maps.shape[-1] > 1 else (1, 1)))


class Negative(nn.ReLU):
    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(-maps)


def test_fused__leaves_derived_layers_as_they_are() -> None:
    torch.manual_seed(2)
    layers = [
        *(nn.Conv2d(3, 8, 3), ActiveNorm(8)),
        *(WiderConvolution(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 1), Negative(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU6()),
    ]
    network = trained(nn.Sequential(*layers))
    frames = torch.randn(2, 3, 20, 31)
    with torch.inference_mode():
        torch.testing.assert_close(fused(network)(frames), network(frames), rtol=1e-5, atol=1e-5)
    kinds = [type(module) for module in fused(network).modules()]
    assert (kinds.count(ActiveNorm), kinds.count(WiderConvolution), kinds.count(nn.BatchNorm2d)) == (1, 1, 1)
    only_others = nn.Sequential(WiderConvolution(3, 3, 3), ActiveNorm(3)).eval()
    assert fused(only_others) is only_others


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.Identity()])
def test_fused__takes_each_activation_after_a_convolution_and_after_a_sum(
    activation: nn.Module, has_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "_HAS_ONEDNN", has_onednn)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = (
                nn.Conv2d(8, 8, 1),
                nn.Conv2d(8, 8, 3, padding=1, groups=8),
                nn.Conv2d(8, 8, 1),
            )
            self.norm, self.activation = nn.BatchNorm2d(8), activation

        def forward(self, maps: Tensor) -> Tensor:
            first = self.activation(self.first(maps))
            return self.activation(self.third(self.activation(self.norm(self.second(first)))) + first)

    torch.manual_seed(3)
    block = trained(Block())
    frames = 9 * torch.randn(1, 8, 7, 10)
    with torch.inference_mode():
        result, expected = fused(block)(frames.to(memory_format=torch.channels_last)), block(frames)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    steps = [module for module in fused(block).modules() if isinstance(module, FusedConvolution)]
    assert [step.in_place for step in steps] == [False, False, True]
    assert {node.op for node in fused(block).graph.nodes} == {"placeholder", "call_module", "output"}


class Sums(nn.Module):
    """Sums that no kernel does in one step: stretched ones, a weighted one, and one whose summand another
    layer hands on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
        self.mean, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout()
        self.bias = nn.Parameter(torch.randn(8, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        first = self.norm(self.first(frames))
        kept = self.dropout(first)  # the same memory
        stretched = torch.relu(self.second(frames) + self.mean(frames).mean(1, keepdim=True))
        shifted, weighted = self.second(frames) + self.bias, torch.add(self.second(frames), first, alpha=2)
        wider = self.second(self.mean(frames)) + stretched
        return (self.second(frames) + first) * kept + shifted + weighted * wider


@pytest.mark.parametrize("has_onednn", [True, False])
def test_fused__leaves_other_sums_to_torch(has_onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "_HAS_ONEDNN", has_onednn)
    torch.manual_seed(4)
    sums = trained(Sums())
    frames = torch.randn(2, 3, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(fused(sums)(frames), sums(frames), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (4, 3)])
def test_same_pad__equals_tensorflow_and_is_part_of_the_step(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(5)
    network = trained(
        nn.Sequential(
            SamePad(kernel, stride),
            nn.Conv2d(4, 8, kernel, stride, groups=groups),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
        )
    )
    step = fused(network)
    assert [type(module) for module in step.children()] == [FusedConvolution]
    for height, width in ((12, 13), (13, 12), (1, 2), (7, 9)):
        frames = torch.randn(2, 4, height, width)
        rows, columns = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (height, width)
        )
        padded = pad(frames, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        with torch.inference_mode():
            expected = network[1:](padded)
            assert expected.shape[-2:] == (-(-height // stride), -(-width // stride))
            torch.testing.assert_close(network(frames), expected, rtol=0, atol=0)
            torch.testing.assert_close(fx.symbolic_trace(network)(frames), expected, rtol=0, atol=0)
            result = step(frames.to(memory_format=torch.channels_last))
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_fused_convolution__refuses_other_padding() -> None:
    with pytest.raises(ValueError, match="padding has to be zeros of a stated width"):
        FusedConvolution(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "relu")
    with pytest.raises(ValueError, match="padding has to be zeros of a stated width"):
        FusedConvolution(nn.Conv2d(3, 3, 3, padding="same"), "relu")


def test_fold_shortcut_bias__moves_it_to_the_step_that_adds(network: nn.Module) -> None:
    frames = torch.randn(2, 3, 64, 96)
    folded = fused(network)
    without_bias = [step for step in folded.modules() if getattr(step, "activation", "") == "none"]
    with torch.inference_mode():
        expected = network(frames)
        fold_shortcut_bias(folded)
        result = folded(frames)
    assert [step.convolution.bias for step in without_bias] == [None] * 3  # type: ignore[union-attr]
    for tap in TAPS:
        assert relative(result[tap], expected[tap]) < 2e-6


@pytest.mark.parametrize(
    ("fault", "times_ms", "is_fused"),
    [
        ("", (1.0, 1.0), True),
        ("", (1.2, 1.0), True),  # within the noise of a measurement
        ("", (17.0, 1.0), False),
        ("no engine", (1.0, 1.0), False),
        ("wrong", (1.0, 1.0), False),
        ("not finite", (1.0, 1.0), False),
    ],
)
def test_fused_convolution__a_step_of_cudnn_has_a_way_out(
    fault: str, times_ms: tuple[float, float], is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, times, tries = FusedConvolution(nn.Conv2d(3, 4, 3), "relu"), iter(times_ms), 0

    def by_cudnn(x: Tensor, summand: Tensor | None) -> Tensor:
        nonlocal tries
        tries += 1
        if fault == "no engine":
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
        right = step._apart(x, summand)
        return {"": right, "wrong": right + 0.1, "not finite": right * torch.nan}[fault]

    monkeypatch.setattr(step, "_by_cudnn", by_cudnn)
    monkeypatch.setattr(fuse, "milliseconds", lambda run: next(times))
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert [step._is_faster_fused(x, None) for _ in range(3)] == [is_fused] * 3
        assert tries == 1  # it is decided once a size
    assert list(step._fused_by_size.values()) == [is_fused]


def test_fused_convolution__passes_on_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    step = FusedConvolution(nn.Conv2d(3, 4, 3), "relu")

    def by_cudnn(x: Tensor, summand: Tensor | None) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(step, "_by_cudnn", by_cudnn)
    with torch.inference_mode(), pytest.raises(torch.OutOfMemoryError):
        step._is_faster_fused(torch.randn(2, 3, 8, 8), None)
