"""The networks whose features are stored; importing this package does not import PyTorch."""

from vqafeat.backbones.base import BACKBONES, Backbone, Variant
from vqafeat.backbones.published import WeightsSource

__all__ = ["BACKBONES", "Backbone", "Variant", "WeightsSource"]
