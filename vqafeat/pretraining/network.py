"""The network that is pre-trained: a backbone, and a head for mean and standard deviation of quality."""

from math import expm1, log
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vqafeat.backbones import BACKBONES, Backbone
from vqafeat.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from vqafeat.backbones.weights import LoadedNetwork, load_network
from vqafeat.errors import ArgumentError

PREFIX = "iqa-"
# so that the head's random weights differ from the backbone's
_HEAD_SEED_OFFSET = 0x5EED


class QualityNetwork(nn.Module):
    """`BaseCNN` of UNIQUE and Li et al. without bilinear pooling: backbone, average pooling, linear head.

    The head gives (μ, t) with σ = softplus(t). As there, its weights follow Kaiming's normal rule.

    Args:
        backbone: a whole ResNet; its classifier `fc` is removed.
        start_std: standard deviation of every image at the start; 0 leaves it to the random weights, which
            an untrained backbone may turn into certainty about wrong predictions.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, seed: int, start_std: float = 0.0) -> None:
        super().__init__()
        width = cast(nn.Linear, backbone.fc).in_features
        backbone.fc = nn.Identity()
        self.backbone = backbone.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + _HEAD_SEED_OFFSET)
            self.fc = nn.Linear(width, 2)
            nn.init.kaiming_normal_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)
        if start_std:
            with torch.no_grad():
                self.fc.weight[1] = 0
                self.fc.bias[1] = log(expm1(start_std))
        # not part of the file, because they are not weights
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (image,) float32 means and standard deviations of (image, height, width, 3) uint8 RGB."""
        scaled = (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        mean, t = self.fc(self.backbone(scaled)).float().unbind(1)
        return mean, softplus(t)


def quality_backbone(name: str) -> Backbone:
    """Return the backbone that loads the result in the extraction: `iqa-resnet50` for `resnet50`."""
    known = [item for item in BACKBONES if f"{PREFIX}{item}" in BACKBONES]
    plain = name.removeprefix(PREFIX)
    if plain not in known:
        raise ArgumentError(f"--backbone {name} cannot be pre-trained; name one of {', '.join(known)}.")
    return BACKBONES.get(f"{PREFIX}{plain}")


def start_network(
    name: str, weights: str, seed: int, start_std: float = 0.0
) -> tuple[QualityNetwork, LoadedNetwork]:
    """Return a network to pre-train, with an untrained head, in training mode; and its loaded backbone.

    `weights` are `imagenet`, `random`, `random:SEED`, or a file of `vqafeat pretrain`, torchvision, UNIQUE or
    Li et al.
    """
    quality = quality_backbone(name)
    backbone = BACKBONES.get(quality.name.removeprefix(PREFIX)) if weights == "imagenet" else quality
    loaded = load_network(backbone, weights)
    network = QualityNetwork(loaded.network, seed, start_std).train().to(memory_format=torch.channels_last)
    return network, loaded


def weights_of(network: QualityNetwork) -> dict[str, Tensor]:
    """Return a copy of the weights on the CPU under UNIQUE's names, `backbone.…` and `fc.…`."""
    return {
        key: value.detach().to("cpu", copy=True).contiguous() for key, value in network.state_dict().items()
    }
