"""What the extraction needs to know of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.extraction.clips import ClipRule
from vqafeat.registry import Registry

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class WeightsSource(Protocol):
    """Published weights: torchvision's weight enums, or `UrlWeights`."""

    @property
    def name(self) -> str:
        """The weights' full name, such as IMAGENET1K_V1."""

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> Mapping[str, Tensor]:
        """Return the tensors, downloaded once and checked against the hash in their file's name where it has one."""


@dataclass(frozen=True)
class Variant:
    """One way to read a network: what is kept of it, and how its input is normalised.

    Attributes:
        taps: names of the layers whose output is kept, in the order of the row.
        mean, std: of RGB in [0, 1].
    """

    taps: tuple[str, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Backbone:
    """A network that turns frames, or clips of frames, into feature maps.

    Attributes:
        name: as typed on the command line.
        build: returns the whole network, named as in the files of its weights, with fresh random parameters.
        tapped: keeps of the whole network what computes the named taps; the result maps (batch, 3, H, W), or (batch, 3, T, H, W) for a
            network with clips, to a mapping of each tap to its feature map: (batch, channel, H', W') or (batch, channel, T', H', W').
        channels: of each tap's feature map; a row of features is twice as wide (mean and deviation).
        variants: name after `:` → what it keeps; the name "" is the network without a colon.
        unused: pattern that the names of the tensors match at their start that no feature depends on (classifiers, other branches).
        published: the weights that can be fetched; None where they are only had as a file.
        smallest_side: of a frame, in samples, below which the network has nothing left to see.
        clips: which frames it sees together; None where each frame stands alone.
        prefixes: that files may put before every name that is used (`backbone.`), beside the `module.` of DataParallel.
        files: which files of weights there are and who has them, in words; for a network without published weights.
    """

    name: str
    build: Callable[[], nn.Module]
    tapped: Callable[[nn.Module, tuple[str, ...]], nn.Module]
    channels: Mapping[str, int]
    variants: Mapping[str, Variant]
    unused: str
    published: WeightsSource | None
    smallest_side: int = 1
    clips: ClipRule | None = None
    prefixes: tuple[str, ...] = ()
    files: str = ""

    def __post_init__(self) -> None:
        unknown = [tap for variant in self.variants.values() for tap in variant.taps if tap not in self.channels]
        if "" not in self.variants or unknown:
            raise ArgumentError(f"backbone '{self.name}' needs a variant '' and channels for every tap (missing: {unknown}).")

    def variant(self, name: str) -> Variant:
        """Return the variant called `name`.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self.variants:
            known = ", ".join(f"{self.name}:{key}" for key in self.variants if key) or "none"
            raise UnknownNameError(f"unknown variant '{self.name}:{name}'; there are: {known}.")
        return self.variants[name]


BACKBONES: Registry[Backbone] = Registry("backbone")
