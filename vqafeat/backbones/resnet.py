"""ResNet (He et al. 2016) and SqueezeNet (Iandola et al. 2016), with ImageNet or image-quality weights.

They are cut before the average pool, as in VSFA's `CNNfeatures.py` and by Li et al.
"""

from collections.abc import Callable
from typing import Any

import torchvision.models as tv
from torch import nn

from vqafeat.backbones.base import BACKBONES, Backbone, Variant

STAGES = ("layer1", "layer2", "layer3", "layer4")


def _register(name: str, build: Callable[[], nn.Module], width: int, **options: Any) -> None:
    channels = {stage: width << index for index, stage in enumerate(STAGES)}
    variants = {"": Variant(("layer4",)), "stages": Variant(STAGES)}
    backbone = Backbone(name, build, channels, variants, unused=r"fc\.", **options)
    BACKBONES.add(name, backbone)


def _register_iqa(name: str, build: Callable[[], nn.Module], width: int, files: str) -> None:
    # `fc.` is the quality head if the network is under `backbone.`, and else its own classifier
    _register(name, build, width, published=None, prefixes=("backbone.",), files=files)


_register("resnet18", tv.resnet18, 64, published=tv.ResNet18_Weights.IMAGENET1K_V1)
_register("resnet34", tv.resnet34, 64, published=tv.ResNet34_Weights.IMAGENET1K_V1)
_register("resnet50", tv.resnet50, 256, published=tv.ResNet50_Weights.IMAGENET1K_V1)
_register("resnet101", tv.resnet101, 256, published=tv.ResNet101_Weights.IMAGENET1K_V1)
_register_iqa("iqa-resnet18", tv.resnet18, 64, "vqafeat pretrain --backbone resnet18 makes one")
_register_iqa(
    "iqa-resnet34",
    tv.resnet34,
    64,
    "UNIQUE's file is linked from github.com/zwx8981/UNIQUE, vqafeat pretrain makes one",
)
_register_iqa(
    "iqa-resnet50",
    tv.resnet50,
    256,
    "Li et al.'s file, DataParallel-00008.pt, goes with github.com/zwx8981/TCSVT-2022-BVQA, vqafeat "
    "pretrain makes one",
)

BACKBONES.add(
    "squeezenet1_0",
    Backbone(
        "squeezenet1_0",
        tv.squeezenet1_0,
        channels={"features": 512},
        variants={"": Variant(("features",))},
        unused=r"classifier\.",
        published=tv.SqueezeNet1_0_Weights.IMAGENET1K_V1,
        smallest_side=21,
    ),
)
