"""SqueezeNet 1.0 (Iandola et al. 2016) up to its last fire module: a small network for quick trials."""

import torchvision.models as tv
from torch import nn

from vqafeat.extraction.backbones.base import BACKBONES, Backbone


def _features(network: nn.Module) -> nn.Module:
    return nn.Sequential(*network.get_submodule("features").children())


BACKBONES.add(
    "squeezenet1_0",
    Backbone(
        "squeezenet1_0",
        tv.squeezenet1_0,
        _features,
        channels=512,
        taps=("features",),
        published=tv.SqueezeNet1_0_Weights.IMAGENET1K_V1,
        classifier="classifier.",
        smallest_side=21,
    ),
)
