"""ResNet (He et al. 2016) without its average pool and classifier, as VSFA's `CNNfeatures.py` and Li et al. cut it."""

from collections.abc import Callable

import torchvision.models as tv
from torch import nn

from vqafeat.extraction.backbones.base import BACKBONES, Backbone, WeightsSource


def _without_head(network: nn.Module) -> nn.Module:
    return nn.Sequential(*list(network.children())[:-2])


def _register(name: str, build: Callable[[], nn.Module], channels: int, published: WeightsSource) -> None:
    BACKBONES.add(name, Backbone(name, build, _without_head, channels, ("layer4",), published, classifier="fc."))


_register("resnet18", tv.resnet18, 512, tv.ResNet18_Weights.IMAGENET1K_V1)
_register("resnet34", tv.resnet34, 512, tv.ResNet34_Weights.IMAGENET1K_V1)
_register("resnet50", tv.resnet50, 2048, tv.ResNet50_Weights.IMAGENET1K_V1)
_register("resnet101", tv.resnet101, 2048, tv.ResNet101_Weights.IMAGENET1K_V1)
