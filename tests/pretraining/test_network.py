"""What is trained: its outputs, where it starts, and that its file is the extraction's."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import softplus

from tests.helpers.image_sets import TinyResNet
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from vqafeat.backbones.weights import load_network
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.network import quality_backbone, start_network, weights_of

IMAGES = torch.randint(0, 256, (5, 20, 28, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_quality_network__mean_and_deviation_come_from_the_last_stage() -> None:
    network = start_network("tiny", "random:3", 7)[0].eval()
    scaled = (IMAGES.movedim(3, 1) / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(
        IMAGENET_STD
    ).view(3, 1, 1)
    whole = network.backbone
    pooled = whole.layer4(whole.conv1(scaled)).mean((2, 3))  # type: ignore[operator]
    expected = pooled @ network.fc.weight.T
    mean, std = network(IMAGES)
    torch.testing.assert_close(mean, expected[:, 0])
    torch.testing.assert_close(std, softplus(expected[:, 1]))


def test_start_network__follows_its_seeds_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, loaded = start_network("tiny", "random:3", 7)
    again, _ = start_network("tiny", "random:3", 7)
    assert torch.equal(before, torch.random.get_rng_state())
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    other, _ = start_network("tiny", "random:3", 8)
    assert torch.equal(first.backbone.conv1[0].weight, other.backbone.conv1[0].weight)  # type: ignore[index,union-attr]
    assert not torch.equal(first.fc.weight, other.fc.weight)
    assert loaded.weights == "random, seed 3"


def test_start_network__can_start_with_one_deviation_for_every_image() -> None:
    network = start_network("tiny", "random:3", 7, start_std=2.5)[0].eval()
    torch.testing.assert_close(network(IMAGES)[1], torch.full((5,), 2.5))
    torch.testing.assert_close(network(IMAGES)[0], start_network("tiny", "random:3", 7)[0].eval()(IMAGES)[0])


def test_data_parallel__trains_the_head_alone() -> None:
    network, _ = start_network("tiny", "random", 0)
    parallel = DataParallel(network, torch.device("cpu"), "fp32")
    for alone in (True, False):
        network.zero_grad()
        parallel.train(alone)
        sum(output.sum() for output in network(IMAGES)).backward()
        assert (network.backbone.conv1[0].weight.grad is None) is alone  # type: ignore[index,union-attr]
        assert network.fc.weight.grad is not None


def test_start_network__reads_a_file_in_every_layout(tmp_path: Path) -> None:
    torch.manual_seed(4)
    plain = {key: value for key, value in TinyResNet().state_dict().items() if not key.startswith("fc.")}
    # UNIQUE's and Li et al.'s: DataParallel, the backbone with the classifier that was replaced, the quality
    # head, and numbers beside it
    released = {f"module.backbone.{key}": value for key, value in TinyResNet().state_dict().items()}
    released |= {f"module.backbone.{key}": value for key, value in plain.items()}
    released |= {"module.fc.weight": torch.ones(2, 16), "module.fc.bias": torch.ones(2)}
    torch.save({"state_dict": released, "epoch": 8, "optimizer": {}}, tmp_path / "released.pt")
    torch.save(TinyResNet().state_dict() | plain, tmp_path / "torchvision.pth")
    network, loaded = start_network("tiny", str(tmp_path / "released.pt"), 0)
    save_file(dict(weights_of(network)), tmp_path / "own.safetensors")
    for name in ("torchvision.pth", "own.safetensors"):
        other, other_loaded = start_network("tiny", str(tmp_path / name), 0)
        assert other_loaded.weights_sha256 == loaded.weights_sha256
        assert torch.equal(other.backbone.conv1[0].weight, plain["conv1.0.weight"])  # type: ignore[index,union-attr]
    assert not torch.equal(network.fc.weight, torch.ones(2, 16))
    torch.save({**plain, "conv1.0.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"'iqa-tiny': 1 shapes differ"):
        start_network("tiny", str(tmp_path / "wrong.pth"), 0)


def test_weights_of__give_the_features_of_the_trained_backbone(tmp_path: Path) -> None:
    """On a real ResNet: the file holds UNIQUE's names, and its features are those of the trained backbone."""
    network, _ = start_network("resnet18", "random:5", 0)
    with torch.no_grad():
        network.backbone.layer1[0].conv1.weight.mul_(2)  # type: ignore[index,union-attr]
    save_file(dict(weights_of(network)), tmp_path / "iqa.safetensors")
    assert {
        "backbone.conv1.weight",
        "backbone.layer4.1.bn2.running_var",
        "fc.weight",
        "fc.bias",
    } <= weights_of(network).keys()
    assert not any(key.startswith("backbone.fc") for key in weights_of(network))
    backbone = BACKBONES.get("iqa-resnet18")
    loaded = load_network(backbone, str(tmp_path / "iqa.safetensors"))
    frames = torch.rand(2, 3, 40, 40)
    with torch.inference_mode():
        actual = backbone.with_feature_layers(loaded.network, ("layer4",))(frames)["layer4"]
        expected = nn.Sequential(*list(network.eval().backbone.children())[:-2])(frames)
    torch.testing.assert_close(actual, expected)


def test_quality_backbone__refuses_networks_without_a_quality_name() -> None:
    assert quality_backbone("resnet50").name == quality_backbone("iqa-resnet50").name == "iqa-resnet50"
    with pytest.raises(
        ArgumentError,
        match=r"--backbone vit-b16 cannot be pre-trained; there are: resnet18, resnet34, resnet50",
    ):
        quality_backbone("vit-b16")
