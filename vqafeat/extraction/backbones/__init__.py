"""The networks whose features are kept; each family is one file that registers itself in `BACKBONES`."""

from vqafeat.extraction.backbones.base import BACKBONES, Backbone, Variant, WeightsSource

from vqafeat.extraction.backbones import (  # isort: skip  (the files register themselves)
    resnet,
    iqa,
    slowfast,
    r3d,
    vit,
    swin3d,
    squeezenet,
    efficientnet,
)

__all__ = [
    "BACKBONES",
    "Backbone",
    "Variant",
    "WeightsSource",
    "efficientnet",
    "iqa",
    "r3d",
    "resnet",
    "slowfast",
    "squeezenet",
    "swin3d",
    "vit",
]
