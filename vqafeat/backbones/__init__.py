"""The networks whose features are stored; each file registers one family in `BACKBONES`."""

from vqafeat.backbones import efficientnet, r3d, resnet, slowfast, swin3d, vit
from vqafeat.backbones.base import BACKBONES, Backbone, Variant, WeightsSource

__all__ = ["BACKBONES", "Backbone", "Variant", "WeightsSource", "efficientnet", "r3d", "resnet", "slowfast", "swin3d", "vit"]
