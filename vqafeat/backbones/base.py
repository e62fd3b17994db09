"""Description of a backbone: how it is built, which layers are kept, which frames it sees; and pooling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BeforeValidator

from vqafeat.backbones.published import WeightsSource
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.io import read_toml
from vqafeat.registry import Registry
from vqafeat.schema import parse

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ClipRule:
    """Blocks of consecutive frames, as in Li et al.'s released `CNNfeatures_Motion.py`.

    Blocks of `window` frames do not overlap, but the last one consists of the video's last frames and gives
    only rows that no earlier block covers. A video of at most `window` frames is one block, resampled to
    `inputs` frames.

    Attributes:
        inputs: frames of a block that the network sees, at equal steps from the first to the last, truncated.
        steps: rows of a block; each covers inputs / steps frames and belongs to the (later) middle one.
        stride: blocks are cut from the video's frames 0, stride, 2 · stride, …, and positions count these.
    """

    window: int
    inputs: int
    steps: int
    stride: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.inputs <= self.window or self.steps < 1 or self.inputs % self.steps:
            problem = f"{self.window} frames cannot give {self.steps} steps from {self.inputs} inputs"
            allowed = "inputs has to be from 2 to window, and a multiple of steps"
            raise ArgumentError(f"a clip of {problem}: {allowed}.")

    def strided(self, stride: int) -> "ClipRule":
        """Return the rule for blocks of every `stride`-th frame, of which the network sees all frames."""
        return self if stride == 1 else ClipRule(self.inputs, self.inputs, self.steps, stride)

    def input_indices(self, length: int) -> list[int]:
        """Return the positions of the frames that the network sees in a block of `length` frames."""
        return [position * (length - 1) // (self.inputs - 1) for position in range(self.inputs)]

    def rows(self, first: int, length: int, already_covered: int) -> list[tuple[int, int]]:
        """Return (step, frame) of the rows to keep from the block that starts at frame `first`.

        Rows of earlier blocks cover the frames before `already_covered`.
        """
        seen, width = self.input_indices(length), self.inputs // self.steps
        return [
            (step, self.stride * (first + seen[step * width + width // 2]))
            for step in range(self.steps)
            if first + seen[(step + 1) * width - 1] >= already_covered
        ]

    def rows_around(
        self, frames: Sequence[int], first: int, length: int, already_covered: int
    ) -> list[tuple[int, int]]:
        """Return (step, frame) for each of `frames` that no earlier block covers; the step is the nearest."""
        rows, start = self.rows(first, length, 0), max(first, already_covered)
        return [
            (min(rows, key=lambda row: abs(row[1] - frame))[0], frame)
            for frame in frames
            if start <= frame < first + length
        ]

    def __str__(self) -> str:
        seen = f"blocks of {self.window} frames, {self.inputs} of them seen, {self.steps} rows"
        return f"{seen}; the last block ends with the video"


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Variant:
    """The layers of a network that make up a row, in order, and how RGB in [0, 1] is normalised."""

    taps: tuple[str, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def tapped_outputs(
    network: "nn.Module", taps: tuple[str, ...], leaves: "Sequence[type[nn.Module]]" = ()
) -> "nn.Module":
    """Return a network that computes only {tap: output} of the layers `taps`; it does not trace `leaves`."""
    from torchvision.models.feature_extraction import create_feature_extractor

    options = {"tracer_kwargs": {"leaf_modules": list(leaves)}, "suppress_diff_warning": True}
    return cast("nn.Module", create_feature_extractor(network, list(taps), **options))


def _call(path: str, *arguments: object) -> Any:
    return resolve_name(path)(*arguments)


# a TOML file names it as `module:name`; it can be pickled, and its module is imported when it is called
_Function = Annotated[Callable[..., Any], BeforeValidator(lambda path: partial(_call, path))]


@dataclass(frozen=True)
class Backbone:
    """A network that turns frames, or clips of frames, into feature maps.

    Attributes:
        build: returns the whole network with random parameters, named as in the files of its weights.
        with_feature_layers: reduces it to given layers; the result maps (batch, 3, H, W), or (batch, 3, T, H,
            W) for clips, to {layer: (batch, channel, H', W') or (batch, channel, T', H', W')}.
        channels: of each layer's map; a row of features is twice as wide (mean and deviation).
        variants: by the name after `:`; "" is the network without a colon.
        unused: regular expression for the start of names of tensors that no feature depends on.
        published: None if the weights are only available as a file.
        smallest_side: of a frame, in samples.
        clips: which frames it sees together; None if it sees single frames.
        prefixes: of all used names in some files (`backbone.`), besides DataParallel's `module.`.
        classes: variant → numbers of classes of the published files that were trained with its normalisation.
        files: where to find weights, for a network without published ones.
        rename: name of a tensor in the publisher's file → name in the network.
    """

    name: str
    build: _Function
    with_feature_layers: _Function = tapped_outputs
    _: KW_ONLY
    channels: Mapping[str, int]
    variants: Mapping[str, Variant]
    unused: str
    published: WeightsSource | None = None
    smallest_side: int = 1
    clips: ClipRule | None = None
    prefixes: tuple[str, ...] = ()
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    files: str = ""
    rename: _Function = str

    def __post_init__(self) -> None:
        taps = [tap for variant in self.variants.values() for tap in variant.taps]
        unknown = [tap for tap in taps if tap not in self.channels]
        if "" not in self.variants or unknown:
            needs = "needs a variant '' and channels for every tap"
            raise ArgumentError(f"backbone '{self.name}' {needs} (missing: {unknown}).")

    def variant(self, name: str) -> Variant:
        """Return the variant called `name`."""
        if name not in self.variants:
            known = ", ".join(f"{self.name}:{key}" for key in self.variants if key) or "none"
            raise UnknownNameError(f"unknown variant '{self.name}:{name}'; there are: {known}.")
        return self.variants[name]

    def row_channels(self, variant: Variant) -> int:
        """Return the channels of a row: mean and deviation of each map of the variant."""
        return 2 * sum(self.channels[tap] for tap in variant.taps)


TIMM = "timm/"  # prefix of the names of timm's models


class _Backbones(Registry[Backbone]):
    """Registered backbones, and all models of timm, which are described on use and not listed."""

    def get(self, name: str) -> Backbone:
        if not name.startswith(TIMM):
            return super().get(name)
        from vqafeat.backbones.timm_models import timm_backbone

        return timm_backbone(name)

    def __contains__(self, name: str) -> bool:
        return name.startswith(TIMM) or name in iter(self)


BACKBONES = _Backbones("backbone")
_BUILTIN = Path(__file__).with_name("builtin.toml")
_tables = {name: {"name": name, **table} for name, table in read_toml(_BUILTIN, "backbones").items()}
for _backbone in parse(dict[str, Backbone], _tables, f"'{_BUILTIN}'").values():
    BACKBONES.add(_backbone.name, _backbone)


POOLING = "GAP ‖ unbiased GSP (0 for a 1x1 map)"


def gap_gsp(maps: "Tensor") -> "Tensor":
    """Return mean and unbiased standard deviation over space (VSFA's `global_std_pool2d`).

    Maps are (batch, channel, [time,] height, width), fastest where the channels are last in memory. Rows are
    (batch, 2 · channel) float32: means, then deviations, which are 0 for a single position.
    """
    import torch

    # positions × channels, as in memory: sums over positions then run along whole cache lines
    flat = maps.movedim(1, -1).flatten(1, -2).float()
    mean = flat.mean(1, keepdim=True)
    positions = flat.shape[1]
    if positions == 1:
        return torch.cat([mean, torch.zeros_like(mean)], 2).squeeze(1)
    # around the mean, not E[x²] − E[x]², which loses a small deviation next to a large mean
    deviation = (flat - mean).square_().sum(1, keepdim=True).div_(positions - 1).sqrt_()
    return torch.cat([mean, deviation], 2).squeeze(1)
