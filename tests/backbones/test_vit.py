"""ViT-B/16 against torchvision's whole network, and its position embedding against bicubic interpolation
written out.
"""

import math

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.vit import PatchMaps


def small(side: int) -> nn.Module:
    return tv.VisionTransformer(
        image_size=side, patch_size=16, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=40
    )


def encoded(whole: nn.Module, frames: Tensor) -> Tensor:
    """What torchvision's encoder gives for the patches, as a map."""
    seen: list[Tensor] = []
    handle = whole.get_submodule("encoder").register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    whole(frames)
    handle.remove()
    return seen[0][:, 1:].transpose(1, 2).reshape(len(frames), -1, *(side // 16 for side in frames.shape[2:]))


def bicubic(inputs: int, outputs: int) -> Tensor:
    """The matrix (outputs, inputs) of bicubic interpolation, Keys 1981 with a = -0.75, between the centres of
    the patches.
    """
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64)
    for row in range(outputs):
        at = (row + 0.5) * inputs / outputs - 0.5
        for column in range(math.floor(at) - 1, math.floor(at) + 3):
            away = abs(at - column)
            weight = (
                (1.25 * away - 2.25) * away**2 + 1
                if away <= 1
                else -0.75 * (((away - 5) * away + 8) * away - 4)
            )
            matrix[row, min(max(column, 0), inputs - 1)] += weight
    return matrix


def resized(positions: Tensor, rows: int, columns: int) -> Tensor:
    grid = positions[0, 1:].reshape(14, 14, -1)
    grid = torch.einsum("rR,cC,RCd->rcd", bicubic(14, rows), bicubic(14, columns), grid)
    return torch.cat([positions[0, :1], grid.flatten(0, 1)])[None]


def test_vit__equals_the_encoder_of_torchvision_at_its_own_size() -> None:
    backbone = BACKBONES.get("vit-b16")
    whole = stirred(backbone.build())
    frames = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        result = backbone.with_feature_layers(whole, ("encoder",))(frames)["encoder"]
        assert result.shape == (1, 768, 14, 14)
        torch.testing.assert_close(result, encoded(whole, frames), rtol=1e-5, atol=2e-5)


def test_patch_maps__equal_torchvision_at_another_size() -> None:
    torch.manual_seed(0)
    network, larger = stirred(small(224)).double(), stirred(small(288)).double()
    state = network.state_dict()
    larger.load_state_dict(state | {"encoder.pos_embedding": resized(state["encoder.pos_embedding"], 18, 18)})
    frames = torch.randn(2, 3, 288, 288, dtype=torch.float64)
    torch.testing.assert_close(PatchMaps(network)(frames)["encoder"], encoded(larger, frames))


@pytest.mark.parametrize(("rows", "columns"), [(14, 14), (7, 20), (33, 14), (1, 1)])
def test_positions__are_interpolated_to_the_grid(rows: int, columns: int) -> None:
    network = small(224).double()
    trained = network.get_parameter("encoder.pos_embedding").detach()
    result = PatchMaps(network).positions(rows, columns).detach()
    torch.testing.assert_close(result, resized(trained, rows, columns))
    assert (rows, columns) != (14, 14) or torch.equal(result, trained)


def test_patch_maps__ignore_what_exceeds_whole_patches() -> None:
    network = stirred(small(224))
    frames = torch.randn(1, 3, 79, 100)
    result = PatchMaps(network)(frames)["encoder"]
    assert result.shape == (1, 24, 4, 6)
    torch.testing.assert_close(result, PatchMaps(network)(frames[..., :64, :96])["encoder"])
