"""Networks on a device: 8-bit frames in, pooled rows out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqafeat.backbones.base import Backbone, gap_gsp
from vqafeat.backbones.feature_set import PRECISIONS, FeatureExtractor
from vqafeat.backbones.fuse import fused
from vqafeat.errors import ArgumentError


class Network:
    """A network on a device, with all extractors that share its runs: they differ only in their taps.

    Attributes:
        plain_module: the network as published, before its steps were fused.
    """

    def __init__(self, extractors: Sequence[FeatureExtractor], device: torch.device) -> None:
        first = extractors[0]
        self.extractors, self.device = tuple(extractors), device
        self.backbone: Backbone = first.loaded.backbone
        self.view, self.frame_rule, self.precision = first.view, first.frame_rule, first.precision
        if device.type == "cuda" and self.precision == "fp32":
            # TF32 keeps 10 bits of 23, and is on by default for convolutions
            torch.backends.cudnn.allow_tf32 = False
        self._taps = tuple(dict.fromkeys(tap for extractor in extractors for tap in extractor.variant.taps))
        layers = self.backbone.with_feature_layers(first.loaded.network, self._taps)
        self.plain_module = layers.eval().requires_grad_(False)
        self.dtype: torch.dtype = getattr(torch, PRECISIONS[first.precision])
        self._format = torch.channels_last_3d if self.backbone.clips else torch.channels_last
        self._module: nn.Module = fused(self.plain_module).to(device=device, dtype=self.dtype)
        self._mean = torch.tensor(first.variant.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(first.variant.std, device=device).view(3, 1, 1)

    @torch.inference_mode()
    def frame_rows(self, frames: Tensor) -> dict[str, Tensor]:
        """Return (frame, channel) float32 rows by feature set for (frame, 3, height, width) uint8 frames."""
        parts = [self._module(part) for part in self._inputs(frames)]
        return self._rows([{tap: gap_gsp(maps) for tap, maps in part.items()} for part in parts])

    @torch.inference_mode()
    def clip_rows(self, frames: Tensor) -> dict[str, Tensor]:
        """Return (step, channel) float32 rows by feature set for a clip, (input, 3, height, width) uint8."""
        assert self.backbone.clips is not None
        steps = self.backbone.clips.steps
        pooled = []
        for part in self._inputs(frames):
            maps = self._module(part.movedim(0, 1).unsqueeze(0).contiguous(memory_format=self._format))
            pooled.append({tap: gap_gsp(_by_step(values, steps)) for tap, values in maps.items()})
        return self._rows(pooled)

    def _inputs(self, frames: Tensor) -> list[Tensor]:
        """Return the view's parts of frames, RGB in [0, 1] normalised by mean and deviation."""
        scaled = frames.contiguous(memory_format=torch.channels_last).float().div_(255)
        parts = ((part - self._mean) / self._std for part in self.view.parts(scaled))
        return [part.to(self.dtype).contiguous(memory_format=torch.channels_last) for part in parts]

    def _rows(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        mean = parts[0]
        if len(parts) > 1:
            mean = {tap: torch.stack([part[tap] for part in parts]).mean(0) for tap in self._taps}
        taps = {item.feature_set: item.variant.taps for item in self.extractors}
        return {name: torch.cat([mean[tap] for tap in kept], 1) for name, kept in taps.items()}


def _by_step(maps: Tensor, steps: int) -> Tensor:
    """Return (step, channel, time / step, height, width) of (1, channel, time, height, width) maps."""
    _, channels, time, height, width = maps.shape
    return maps.view(channels, steps, time // steps, height, width).movedim(1, 0)


def shared_networks(extractors: Sequence[FeatureExtractor], device: torch.device) -> list[Network]:
    """Return as few networks as possible: extractors that differ only in their taps share one."""
    groups: dict[tuple[Any, ...], list[FeatureExtractor]] = {}
    for extractor in extractors:
        name, variant = extractor.name, extractor.variant
        key = (name.network, name.view, name.frames, variant.mean, variant.std)
        groups.setdefault(key, []).append(extractor)
    return [Network(group, device) for group in groups.values()]


def resolve_precision(name: str | None, device: torch.device) -> str:
    """Return the precision called `name`; without a name, fp32 on a CPU and fp16 on a GPU."""
    if name == "fp16" and device.type == "cpu":
        others = "a CPU computes in fp32, or in bf16 where it has the instructions"
        raise ArgumentError(f"precision 'fp16' needs a GPU; {others}.")
    return name or ("fp32" if device.type == "cpu" else "fp16")
