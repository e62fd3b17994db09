"""What the extraction needs to know of a network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from vqafeat.registry import Registry

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class WeightsSource(Protocol):
    """Published weights: torchvision's weight enums."""

    @property
    def name(self) -> str:
        """The weights' full name, such as IMAGENET1K_V1."""

    def get_state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Return the tensors, downloaded once and checked against the hash in their file's name."""


@dataclass(frozen=True)
class Backbone:
    """A network that turns frames into feature maps.

    Attributes:
        name: as typed on the command line.
        build: returns the whole published network, classifier included, with fresh random parameters.
        tapped: keeps of the whole network what computes the feature maps: (batch, 3, H, W) → (batch, channel, H', W').
        channels: of the feature maps; a row of features is twice as wide (mean and deviation).
        taps: names of the layers whose output is kept.
        published: the ImageNet weights.
        classifier: prefix of the parameters that the features do not depend on.
        smallest_side: of a frame, in samples, below which the network has nothing left to see.
        mean, std: normalisation of RGB in [0, 1].
    """

    name: str
    build: Callable[[], nn.Module]
    tapped: Callable[[nn.Module], nn.Module]
    channels: int
    taps: tuple[str, ...]
    published: WeightsSource
    classifier: str
    smallest_side: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


BACKBONES: Registry[Backbone] = Registry("backbone")
