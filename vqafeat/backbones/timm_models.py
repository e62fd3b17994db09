"""Backbones of timm by name: `timm/convnext_tiny.fb_in1k`, and every other network with feature maps."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vqafeat.backbones.base import TIMM, Backbone, Variant
from vqafeat.backbones.published import TimmWeights
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.remote import is_offline

# a vision transformer resizes its position embedding only if it is built for it; others have no such option
_DYNAMIC = {"dynamic_img_size": True}
_ANY_SIZE = ({**_DYNAMIC, "dynamic_img_pad": True}, _DYNAMIC)
# what building or running a network raises if it gives no maps, or not at this size
_FAILURES = (RuntimeError, AssertionError, AttributeError, ValueError, TypeError, IndexError)


def imported_timm(needed_by: str = f"a backbone '{TIMM}…'", extra: str = "timm") -> Any:
    """Return the module timm; its import takes a second."""
    if is_offline():
        os.environ["HF_HUB_OFFLINE"] = "1"  # timm's hub reads it when it is imported
    try:
        import timm
    except ImportError as error:
        problem = f"{needed_by} is built by timm, which cannot be imported here ({error})"
        raise WeightsError(f"{problem}; install it with `pip install 'vqafeat[{extra}]'`.") from error
    return timm


class TimmMaps(nn.Module):
    """The feature maps of a timm model for frames of any size.

    timm's feature network `maps` gives those of `taps`, in this order. Frames are padded by zeros, on the
    right and below, to multiples of `multiple`.
    """

    is_traceable = False  # by torch.fx, which `fused` needs

    def __init__(self, maps: nn.Module, taps: Sequence[str], multiple: int) -> None:
        super().__init__()
        self.maps, self.taps, self.multiple = maps, tuple(taps), multiple
        self._channels_last = "NHWC" in str(getattr(maps, "output_fmt", ""))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return {tap: (batch, channel, H', W')} for (batch, 3, H, W)."""
        below, right = (-side % self.multiple for side in frames.shape[2:])
        maps = self.maps(pad(frames, (0, right, 0, below)) if below or right else frames)
        if self._channels_last:
            maps = [values.movedim(-1, 1) for values in maps]
        return dict(zip(self.taps, maps, strict=True))


@dataclass(frozen=True)
class _Model:
    """A model for frames of any size; the position of a layer in `layers` is its index for timm."""

    name: str
    options: Mapping[str, bool]
    multiple: int
    layers: Sequence[str]

    def build(self, **more: Any) -> nn.Module:
        """Return the whole network with random parameters; `more` are options of timm."""
        network: nn.Module = imported_timm().create_model(self.name, **self.options, **more)
        return network

    def with_feature_layers(self, network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
        """Return timm's own feature network with the tensors of `network`."""
        ordered = sorted(taps, key=self.layers.index)
        with torch.random.fork_rng(devices=[]):
            maps = self.build(features_only=True, out_indices=[self.layers.index(tap) for tap in ordered])
        state = {_flat(key): value for key, value in network.state_dict().items()}
        maps.load_state_dict({key: state[_flat(key)] for key in maps.state_dict()})
        return TimmMaps(maps, ordered, self.multiple)


def _flat(key: str) -> str:
    # timm's feature networks name `stages.0` as `stages_0`, or put `model.` before a name
    return key.removeprefix("model.").replace(".", "_")


def _multiple(maps: nn.Module, steps: Sequence[int], channels: Sequence[int]) -> int:
    """Return what sides have to be multiples of, tried on a size that no network is trained on."""
    frames = torch.zeros(1, 3, 7 * max(steps) + 1, 5 * max(steps) + 3, device="meta")
    taps = list(map(str, range(len(channels))))
    for multiple in (1, min(steps), max(steps)):
        try:
            results = TimmMaps(maps, taps, multiple)(frames).values()
        except _FAILURES:
            if multiple == max(steps):
                raise
        else:
            break
    if [values.shape[1] for values in results] != list(channels):
        raise ValueError("its maps have other channels than timm states")
    return multiple


def _feature_network(model: str) -> tuple[dict[str, bool], Any]:
    """Return the options with which a model takes frames of any size, and its feature network."""
    for options in _ANY_SIZE:
        # a TypeError says that the network has no such option
        with suppress(TypeError):
            return options, imported_timm().create_model(model, features_only=True, **options)
    return {}, imported_timm().create_model(model, features_only=True)


@cache
def timm_backbone(name: str) -> Backbone:
    """Return the backbone called TIMM + model + "." + tag, described by building it without memory.

    Its variants are `:stages`, all of timm's default feature maps, and `:0`, `:1` … by timm's `out_indices`;
    without a variant it is the last of the default maps.
    """
    config = _pretrained_config(name.removeprefix(TIMM))
    try:
        with torch.device("meta"):
            options, maps = _feature_network(name.removeprefix(TIMM))
            info, outputs = maps.feature_info.info, maps.feature_info.out_indices
            modules, channels = ([stage[key] for stage in info] for key in ("module", "num_chs"))
            layers = [item if modules.count(item) == 1 else f"{item}, {i}" for i, item in enumerate(modules)]
            steps = [math.ceil(stage["reduction"]) for stage in info]
            multiple = _multiple(maps, steps, [channels[index] for index in outputs])
            model = _Model(name.removeprefix(TIMM), options, multiple, layers)
            whole = model.build().state_dict()
    except _FAILURES as error:
        problem = f"'{name}' gives no feature maps of frames of any size ({str(error).strip()[:120]})"
        raise ArgumentError(f"{problem}; choose another model of timm.") from error
    used = {_flat(key) for key in maps.state_dict()}
    default = tuple(layers[index] for index in outputs)
    taps = {"": default[-1:], "stages": default, **{str(i): (tap,) for i, tap in enumerate(layers)}}
    return Backbone(
        name,
        model.build,
        model.with_feature_layers,
        channels=dict(zip(layers, channels, strict=True)),
        variants={key: Variant(value, tuple(config.mean), tuple(config.std)) for key, value in taps.items()},
        unused="|".join(f"{re.escape(key)}$" for key in whole if _flat(key) not in used) or "(?!)",
        published=TimmWeights(name) if config.has_weights else None,
        smallest_side=max(steps),
    )


def _pretrained_config(model: str) -> Any:
    """Return timm's configuration of a model with a tag; a name without its tag is refused."""
    timm = imported_timm()
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        search = f"search with `vqafeat list backbones --timm '*{architecture[:6]}*'`"
        raise UnknownNameError(f"timm has no model '{architecture}'; {search}.")
    tags = [item.partition(".")[2] for item in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tags and tag not in tags:
        known = ", ".join(f"{TIMM}{architecture}.{item}" for item in tags)
        raise UnknownNameError(f"'{TIMM}{model}' does not name weights that timm has; there are: {known}.")
    return timm.get_pretrained_cfg(model)


def timm_models(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield name and description of timm's models with weights whose names match a pattern such as conv*."""
    timm = imported_timm()
    names = timm.list_models(pattern, pretrained=True) or timm.list_models(f"{pattern}.*", pretrained=True)
    if not names:
        raise ArgumentError(f"--timm is '{pattern}', which no model of timm matches; try '*{pattern}*'.")
    for name in names:
        config = timm.get_pretrained_cfg(name)
        _, height, width = config.input_size
        licence = config.license or "no licence stated"
        yield f"{TIMM}{name}", f"trained at {height}x{width}; {licence}; {config.hf_hub_id or config.url}"
