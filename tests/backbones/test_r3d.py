"""The 3D ResNet-101 against its published layout, and against the same network written with functions
alone.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv3d, max_pool3d, relu

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.weights import load_network, load_state
from vqafeat.errors import WeightsError

BACKBONE = BACKBONES.get("r3d101")
BLOCKS = (3, 4, 23, 3)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return stirred(BACKBONE.build())


def published_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes by rule, as in kenshohara/3D-ResNets-PyTorch with --model_depth 101 --resnet_shortcut
    B.
    """
    convolutions: dict[tuple[str, str], tuple[int, ...]] = {("conv1", "bn1"): (64, 3, 7, 7, 7)}
    inputs = 64
    for layer, blocks in enumerate(BLOCKS):
        width = 64 * 2**layer
        for block in range(blocks):
            at = f"layer{layer + 1}.{block}."
            convolutions[at + "conv1", at + "bn1"] = (width, inputs, 1, 1, 1)
            convolutions[at + "conv2", at + "bn2"] = (width, width, 3, 3, 3)
            convolutions[at + "conv3", at + "bn3"] = (4 * width, width, 1, 1, 1)
            if block == 0:
                convolutions[at + "downsample.0", at + "downsample.1"] = (4 * width, inputs, 1, 1, 1)
            inputs = 4 * width
    layout: dict[str, tuple[int, ...]] = {"fc.weight": (400, 2048), "fc.bias": (400,)}
    for (convolution, norm), shape in convolutions.items():
        layout[f"{convolution}.weight"] = shape
        layout |= {f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
        layout[f"{norm}.num_batches_tracked"] = ()
    return layout


def test_r3d101__names_and_shapes_equal_the_published_files(network: nn.Module) -> None:
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == published_layout()
    assert sum(isinstance(module, nn.Conv3d) for module in network.modules()) == 1 + 3 * sum(BLOCKS) + 4


def by_functions(state: dict[str, Tensor], clips: Tensor) -> Tensor:
    def step(x: Tensor, convolution: str, norm: str, stride: int | tuple[int, ...] = 1) -> Tensor:
        weight = state[f"{convolution}.weight"]
        x = conv3d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return batch_norm(
            x, *(state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        )

    x = max_pool3d(relu(step(clips, "conv1", "bn1", (1, 2, 2))), 3, 2, 1)
    for layer, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            at, stride = f"layer{layer + 1}.{block}.", 2 if layer > 0 and block == 0 else 1
            shortcut = step(x, at + "downsample.0", at + "downsample.1", stride) if block == 0 else x
            x = relu(step(x, at + "conv1", at + "bn1"))
            x = relu(step(x, at + "conv2", at + "bn2", stride))
            x = relu(step(x, at + "conv3", at + "bn3") + shortcut)
    return x


def test_r3d101__map_equals_the_published_network(network: nn.Module) -> None:
    clips = torch.randn(1, 3, 16, 40, 70)
    with torch.inference_mode():
        result = BACKBONE.with_feature_layers(network, ("layer4",))(clips)["layer4"]
        assert result.shape == (1, 2048, 1, 2, 3)
        torch.testing.assert_close(result, by_functions(network.state_dict(), clips))
        assert network(clips).shape == (1, 400)


def test_load_state__reads_files_of_parallel_training_with_other_classes(network: nn.Module) -> None:
    state = network.state_dict()
    released = {f"module.{key}": value for key, value in state.items()} | {
        "module.fc.weight": torch.zeros(700, 2048)
    }
    other = BACKBONE.build()
    load_state(other, released, BACKBONE, "memory")
    loaded = other.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("fc."))


def test_load_network__r3d101_has_no_published_weights() -> None:
    with pytest.raises(
        WeightsError,
        match=r"'r3d101' has no published .*r3d101_K_200ep.pth.*3D-ResNets-PyTorch\); .*--weights "
        r"r3d101=FILE",
    ):
        load_network(BACKBONE, "imagenet")
