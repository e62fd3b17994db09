"""The networks whose features are stored; each file registers one family in `BACKBONES`."""

from vqafeat.backbones.base import BACKBONES, Backbone, Variant, WeightsSource

from vqafeat.backbones import (  # isort: skip  (in the order of `vqafeat list backbones`)
    resnet,
    slowfast,
    r3d,
    vit,
    swin3d,
    efficientnet,
)

__all__ = [
    "BACKBONES",
    "Backbone",
    "Variant",
    "WeightsSource",
    "efficientnet",
    "r3d",
    "resnet",
    "slowfast",
    "swin3d",
    "vit",
]
