"""The network's outputs, start and file; its losses against SciPy and the equations in float64."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import norm
from torch import nn
from torch.autograd import gradcheck
from torch.nn.functional import softplus
from torchvision.models import VisionTransformer

from tests.helpers.image_sets import TinyResNet
from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.base import IMAGENET_MEAN, IMAGENET_STD, gap_gsp
from vqafeat.backbones.weights import load_network
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.network import (
    QualityNetwork,
    fidelity_loss,
    pair_loss,
    preference,
    quality_backbone,
    start_network,
    weights_of,
)

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


def small_vit(side: int) -> VisionTransformer:
    torch.manual_seed(2)
    vit = VisionTransformer(
        image_size=side, patch_size=16, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=40
    )
    return cast(VisionTransformer, stirred(vit))


def test_quality_network__of_a_vit_averages_torchvisions_patches() -> None:
    whole, images = small_vit(32), torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    seen = list[torch.Tensor]()
    whole.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    whole(
        (images.movedim(3, 1) / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    )
    network = QualityNetwork(small_vit(32), 7)
    # without the class token
    expected = seen[0][:, 1:].mean(1) @ network.fc.weight.T
    mean, std = network(images)
    torch.testing.assert_close(mean, expected[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(std, softplus(expected[:, 1]), atol=1e-5, rtol=1e-5)


def test_weights_of__a_vit_at_another_size_give_its_features(tmp_path: Path) -> None:
    network = QualityNetwork(small_vit(32), 0).train()
    images = torch.randint(0, 256, (2, 48, 80, 3), dtype=torch.uint8)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    sum(output.sum() for output in network(images)).backward()
    assert all(one.grad is not None for one in network.parameters())
    optimiser.step()
    save_file(dict(weights_of(network)), tmp_path / "iqa.safetensors")
    backbone = replace(BACKBONES.get("iqa-vit-b16"), build=lambda: small_vit(32), channels={"encoder": 24})
    loaded = load_network(backbone, str(tmp_path / "iqa.safetensors"))
    extracted = backbone.with_feature_layers(loaded.network, ("encoder",))
    scaled = (images.movedim(3, 1) / 255 - network.mean) / network.std
    with torch.inference_mode():
        means = gap_gsp(extracted(scaled)["encoder"])[:, :24]
        torch.testing.assert_close(network.fc(means)[:, 0], network(images)[0])


def test_quality_backbone__refuses_networks_without_a_quality_name() -> None:
    assert quality_backbone("resnet50").name == quality_backbone("iqa-resnet50").name == "iqa-resnet50"
    assert quality_backbone("vit-b16").name == "iqa-vit-b16"
    with pytest.raises(
        ArgumentError,
        match=r"--backbone swin3d-t cannot be pre-trained; name one of resnet18, resnet34, resnet50, vit-b16",
    ):
        quality_backbone("swin3d-t")


torch.manual_seed(0)
MEAN1, MEAN2 = torch.randn(7, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
STD1, STD2 = torch.rand(7, dtype=torch.float64) + 0.1, torch.rand(7, dtype=torch.float64) + 0.1
PROBABILITY = torch.rand(7, dtype=torch.float64)
STD_ORDER = torch.tensor([1.0, -1, 1, 0, -1, 1, 0], dtype=torch.float64)


def test_preference__is_the_normal_distribution_of_the_difference() -> None:
    actual = preference(MEAN1 - MEAN2, STD1.square() + STD2.square()).numpy()
    expected = norm.cdf(MEAN1.numpy(), loc=MEAN2.numpy(), scale=np.hypot(STD1.numpy(), STD2.numpy()))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_fidelity_loss__equals_the_equation_and_is_least_at_agreement() -> None:
    predicted = torch.rand(7, dtype=torch.float64)
    p, q = PROBABILITY.numpy(), predicted.numpy()
    expected = np.mean(
        [1 - (a * b + 1e-8) ** 0.5 - ((1 - a) * (1 - b) + 1e-8) ** 0.5 for a, b in zip(p, q, strict=True)]
    )
    assert fidelity_loss(predicted, PROBABILITY).item() == pytest.approx(expected, rel=1e-12)
    assert fidelity_loss(PROBABILITY, PROBABILITY).item() == pytest.approx(0, abs=1e-7)
    certain = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    fidelity_loss(certain, torch.tensor([1.0, 0.0], dtype=torch.float64)).backward()
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


def equation(
    mean1: np.ndarray, std1: np.ndarray, mean2: np.ndarray, std2: np.ndarray, margin: float
) -> tuple[float, float]:
    """Li et al., equations 3 to 5, one pair at a time."""
    fidelity, hinge = [], []
    p, g = PROBABILITY.numpy(), STD_ORDER.numpy()
    for k in range(len(p)):
        q = norm.cdf((mean1[k] - mean2[k]) / np.sqrt(std1[k] ** 2 + std2[k] ** 2))
        fidelity.append(1 - np.sqrt(p[k] * q) - np.sqrt((1 - p[k]) * (1 - q)))
        hinge.append(max(0.0, margin - g[k] * (std1[k] - std2[k])))
    return float(np.mean(fidelity)), float(np.mean(hinge))


@pytest.mark.parametrize("margin", [0.025, 0.3])
def test_pair_loss__both_terms_equal_the_equations(margin: float) -> None:
    loss = pair_loss((MEAN1, STD1), (MEAN2, STD2), PROBABILITY, STD_ORDER, margin, detach_variance=False)
    fidelity, hinge = equation(MEAN1.numpy(), STD1.numpy(), MEAN2.numpy(), STD2.numpy(), margin)
    assert loss.fidelity.item() == pytest.approx(fidelity, abs=1e-7)
    assert loss.hinge.item() == pytest.approx(hinge, abs=1e-12)
    assert loss.total.item() == loss.fidelity.item() + loss.hinge.item()


def test_pair_loss__gradient_is_right_with_the_variance_included() -> None:
    def total(
        mean1: torch.Tensor, std1: torch.Tensor, mean2: torch.Tensor, std2: torch.Tensor
    ) -> torch.Tensor:
        return pair_loss(
            (mean1, std1), (mean2, std2), PROBABILITY, STD_ORDER, 0.025, detach_variance=False
        ).total

    inputs = [value.clone().requires_grad_() for value in (MEAN1, STD1, MEAN2, STD2)]
    assert gradcheck(total, inputs)


def test_pair_loss__a_detached_variance_leaves_deviations_to_the_hinge() -> None:
    gradients = {}
    for detached in (True, False):
        std1, std2, mean = (
            STD1.clone().requires_grad_(),
            STD2.clone().requires_grad_(),
            MEAN1.clone().requires_grad_(),
        )
        loss = pair_loss((mean, std1), (MEAN2, std2), PROBABILITY, STD_ORDER, 0.025, detach_variance=detached)
        loss.total.backward()
        gradients[detached] = std1.grad, mean.grad
    order = STD_ORDER
    active = (0.025 - order * (STD1 - STD2) > 0).double()
    torch.testing.assert_close(gradients[True][0], -order * active / 7)
    assert not torch.allclose(gradients[False][0], gradients[True][0])
    torch.testing.assert_close(gradients[False][1], gradients[True][1])


def test_pair_loss__refuses_labels_of_other_pairs() -> None:
    for labels in ((PROBABILITY[:3], STD_ORDER), (PROBABILITY, STD_ORDER[:3])):
        with pytest.raises(RuntimeError, match="size of tensor"):
            pair_loss((MEAN1, STD1), (MEAN2, STD2), *labels, 0.025, detach_variance=True)
