"""The Video Swin Transformer against torchvision's, which computes all windows at once."""

from collections.abc import Callable

import pytest
import torch
import torchvision.models.video as tv
from torch import Tensor, nn

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES, swin3d

BACKBONE = BACKBONES.get("swin3d-t")


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    return stirred(tv.swin3d_t())


def before_the_pool(whole: nn.Module, clips: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = whole.get_submodule("avgpool").register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0])
    )
    whole(clips)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((1, 32, 72, 100), (16, 3, 4)),
        ((2, 4, 64, 64), (2, 2, 2)),
        ((1, 18, 31, 250), (9, 1, 8)),
        ((1, 32, 1, 1), (16, 1, 1)),
    ],
)
def test_swin3d__map_equals_torchvision_at_any_size(
    whole: nn.Module, shape: tuple[int, int, int, int], sides: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    clips = torch.randn(shape[0], 3, *shape[1:])
    with torch.inference_mode():
        result = BACKBONE.with_feature_layers(whole, ("norm",))(clips)["norm"]
        assert result.shape == (shape[0], 768, *sides)
        torch.testing.assert_close(result, before_the_pool(whole, clips), rtol=1e-5, atol=2e-5)


def test_swin3d__attention_in_pieces_makes_no_difference(
    whole: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    clips = torch.randn(2, 3, 18, 57, 90)
    run: Callable[[Tensor], dict[str, Tensor]] = BACKBONE.with_feature_layers(whole, ("norm",))
    with torch.inference_mode():
        at_once = run(clips)["norm"]
        for scores in (1, 7 * 3 * 392**2):  # one window at a time; seven, which divides no count of windows
            monkeypatch.setattr(swin3d, "_SCORES", scores)
            torch.testing.assert_close(run(clips)["norm"], at_once, rtol=1e-5, atol=2e-5)
