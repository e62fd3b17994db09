"""ResNet (He et al. 2016) without its average pool and classifier, as VSFA's `CNNfeatures.py` and Li et al.
cut it.
"""

from collections.abc import Callable

import torchvision.models as tv
from torch import nn

from vqafeat.backbones.base import BACKBONES, Backbone, Variant, WeightsSource, tapped_outputs

STAGES = ("layer1", "layer2", "layer3", "layer4")
CLASSIFIER = r"fc\."
VARIANTS = {"": Variant(("layer4",)), "stages": Variant(STAGES)}


def stage_channels(width: int) -> dict[str, int]:
    """Return the channels of each residual stage of a ResNet whose first one has `width`."""
    return {stage: width << index for index, stage in enumerate(STAGES)}


def _register(name: str, build: Callable[[], nn.Module], width: int, published: WeightsSource) -> None:
    BACKBONES.add(
        name,
        Backbone(
            name,
            build,
            tapped_outputs,
            stage_channels(width),
            VARIANTS,
            unused=CLASSIFIER,
            published=published,
        ),
    )


_register("resnet18", tv.resnet18, 64, tv.ResNet18_Weights.IMAGENET1K_V1)
_register("resnet34", tv.resnet34, 64, tv.ResNet34_Weights.IMAGENET1K_V1)
_register("resnet50", tv.resnet50, 256, tv.ResNet50_Weights.IMAGENET1K_V1)
_register("resnet101", tv.resnet101, 256, tv.ResNet101_Weights.IMAGENET1K_V1)


def _register_iqa(name: str, build: Callable[[], nn.Module], width: int, files: str) -> None:
    # `fc.` is the quality head where the network lies under `backbone.`, and its own classifier where it does
    # not
    backbone = Backbone(
        name,
        build,
        tapped_outputs,
        stage_channels(width),
        VARIANTS,
        CLASSIFIER,
        published=None,
        prefixes=("backbone.",),
        files=files,
    )
    BACKBONES.add(name, backbone)


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
        tapped_outputs,
        channels={"features": 512},
        variants={"": Variant(("features",))},
        unused=r"classifier\.",
        published=tv.SqueezeNet1_0_Weights.IMAGENET1K_V1,
        smallest_side=21,
    ),
)
