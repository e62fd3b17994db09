"""ResNet pre-trained on image quality: UNIQUE's ResNet-34 (Zhang et al. 2021), Li et al.'s ResNet-50 (FACTS § 8), or one's own."""

from collections.abc import Callable

import torchvision.models as tv
from torch import nn

from vqafeat.extraction.backbones.base import BACKBONES, Backbone
from vqafeat.extraction.backbones.resnet import CLASSIFIER, VARIANTS, stage_channels
from vqafeat.extraction.backbones.taps import tapped_outputs


def _register_iqa(name: str, build: Callable[[], nn.Module], width: int, files: str) -> None:
    # `fc.` is the quality head where the network lies under `backbone.`, and its own classifier where it does not
    backbone = Backbone(
        name, build, tapped_outputs, stage_channels(width), VARIANTS, CLASSIFIER, published=None, prefixes=("backbone.",), files=files
    )
    BACKBONES.add(name, backbone)


_register_iqa("iqa-resnet18", tv.resnet18, 64, "vqafeat pretrain --backbone resnet18 makes one")
_register_iqa("iqa-resnet34", tv.resnet34, 64, "UNIQUE's file is linked from github.com/zwx8981/UNIQUE, vqafeat pretrain makes one")
_register_iqa(
    "iqa-resnet50",
    tv.resnet50,
    256,
    "Li et al.'s file, DataParallel-00008.pt, goes with github.com/zwx8981/TCSVT-2022-BVQA, vqafeat pretrain makes one",
)
