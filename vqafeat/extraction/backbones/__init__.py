"""The networks whose features are kept; each family is one file that registers itself in `BACKBONES`."""

from vqafeat.extraction.backbones.base import BACKBONES, Backbone, WeightsSource

from vqafeat.extraction.backbones import resnet, squeezenet  # isort: skip  (the files register themselves)

__all__ = ["BACKBONES", "Backbone", "WeightsSource", "resnet", "squeezenet"]
