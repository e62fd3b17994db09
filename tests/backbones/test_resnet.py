"""ResNets against torchvision's whole networks."""

import pytest
import torch
import torchvision.models as tv
from torch import Tensor

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.resnet import STAGES


@pytest.mark.parametrize(
    ("name", "stages", "last"), [("resnet18", 1920, 1024), ("resnet34", 1920, 1024), ("resnet50", 7680, 4096)]
)
def test_rows_have_the_widths_of_the_papers(name: str, stages: int, last: int) -> None:
    for backbone in (BACKBONES.get(name), *([] if name == "resnet18" else [BACKBONES.get(f"iqa-{name}")])):
        assert 2 * sum(backbone.channels[tap] for tap in backbone.variant("stages").taps) == stages
        assert 2 * sum(backbone.channels[tap] for tap in backbone.variant("").taps) == last


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_the_stages_are_those_inside_of_the_whole_network(name: str) -> None:
    whole = stirred(getattr(tv, name)())
    seen: dict[str, Tensor] = {}
    for stage in STAGES:
        whole.get_submodule(stage).register_forward_hook(
            lambda module, inputs, output, stage=stage: seen.update({stage: output.clone()})
        )
    frames = torch.rand(2, 3, 70, 50)
    backbone = BACKBONES.get(name)
    network = backbone.build()
    network.load_state_dict(whole.state_dict())
    with torch.inference_mode():
        whole(frames)
        found = backbone.with_feature_layers(network.eval(), STAGES)(frames)
        torch.testing.assert_close(dict(found), seen)
        torch.testing.assert_close(
            backbone.with_feature_layers(network, ("layer4",))(frames)["layer4"], seen["layer4"]
        )
