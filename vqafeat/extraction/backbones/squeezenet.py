"""SqueezeNet 1.0 (Iandola et al. 2016) up to its last fire module: a small network for quick trials."""

import torchvision.models as tv

from vqafeat.extraction.backbones.base import BACKBONES, Backbone, Variant
from vqafeat.extraction.backbones.taps import tapped_outputs

BACKBONES.add(
    "squeezenet1_0",
    Backbone(
        "squeezenet1_0",
        tv.squeezenet1_0,
        tapped_outputs,
        channels={"features": 512},
        variants={"": Variant(("features",))},
        unused=r"classifier\.",
        published=tv.SqueezeNet1_0_Weights.IMAGENET1K_V1,
        smallest_side=21,
    ),
)
