"""The network that is pre-trained, a backbone with a head for mean and standard deviation; and its loss.

The loss is that of UNIQUE (Zhang et al. 2021) and of Li et al., section III-A.
"""

from math import expm1, log
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import margin_ranking_loss, softplus
from torchvision.models import VisionTransformer

from vqafeat.backbones import BACKBONES, Backbone
from vqafeat.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from vqafeat.backbones.vit import PatchMaps
from vqafeat.backbones.weights import LoadedNetwork, load_network
from vqafeat.errors import ArgumentError

PREFIX = "iqa-"
# so that the head's random weights differ from the backbone's
_HEAD_SEED_OFFSET = 0x5EED
_EPSILON = 1e-8


class QualityNetwork(nn.Module):
    """`BaseCNN` of UNIQUE and Li et al. without bilinear pooling: backbone, average pooling, linear head.

    The head gives (μ, t) with σ = softplus(t). As there, its weights follow Kaiming's normal rule. Of a
    ResNet, the classifier `fc` is removed; of a VisionTransformer, the patches are averaged.

    Args:
        start_std: standard deviation of every image at the start; 0 leaves it to the random weights, which
            an untrained backbone may turn into certainty about wrong predictions.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, seed: int, start_std: float = 0.0) -> None:
        super().__init__()
        if isinstance(backbone, VisionTransformer):
            width, backbone = backbone.hidden_dim, PatchMaps(backbone)
        else:
            width, backbone.fc = cast(nn.Linear, backbone.fc).in_features, nn.Identity()
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
        features = self.backbone(scaled)
        if isinstance(features, dict):
            features = features["encoder"].mean((2, 3))
        mean, t = self.fc(features).float().unbind(1)
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


class PairLoss(NamedTuple):
    """The two terms of the loss, each a mean over pairs."""

    fidelity: Tensor
    hinge: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum (Li et al., eq. 6)."""
        return self.fidelity + self.hinge


def preference(mean_difference: Tensor, variance: Tensor) -> Tensor:
    """Return Φ((μ1 − μ2) / √(σ1² + σ2²)) (pair,): Thurstone's probability that image 1 is better."""
    return cast(Tensor, torch.special.ndtr(mean_difference / variance.sqrt()))


def fidelity_loss(predicted: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over pairs of 1 − √(p p̂) − √((1 − p)(1 − p̂)) (Li et al., eq. 4)."""
    # as in UNIQUE's MNL_Loss.py; without the epsilon the gradient at p = 0 is not finite
    same = (predicted * probability + _EPSILON).sqrt()
    return (1 - same - ((1 - predicted) * (1 - probability) + _EPSILON).sqrt()).mean()


def pair_loss(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    probability: Tensor,
    std_order: Tensor,
    margin: float,
    detach_variance: bool,
) -> PairLoss:
    """Return the loss of a network's outputs for pairs of images (Li et al., eqs 2 to 6).

    Args:
        first, second: (pair,) mean and standard deviation of each image.
        probability: (pair,) probability that people prefer the first image.
        std_order: (pair,) sign of the difference of the labels' standard deviations; 0 teaches no order.
        margin: of the hinge loss max(0, margin − std_order · (σ1 − σ2)).
        detach_variance: train standard deviations by the hinge loss alone, as the released code does.
    """
    (mean1, std1), (mean2, std2) = first, second
    variance = std1.square() + std2.square() + _EPSILON
    predicted = preference(mean1 - mean2, variance.detach() if detach_variance else variance)
    hinge = margin_ranking_loss(std1, std2, std_order, margin=margin)
    return PairLoss(fidelity_loss(predicted, probability), hinge)
