"""Networks on a device: 8-bit frames in, pooled rows out."""

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from vqafeat.backbones.base import Backbone, gap_gsp
from vqafeat.backbones.feature_set import PRECISIONS, FeatureExtractor
from vqafeat.backbones.fuse import fold_shortcut_bias, fused
from vqafeat.backbones.views import FRAME_RULES, VIEWS
from vqafeat.errors import ArgumentError
from vqafeat.video.frame import FrameLayout
from vqafeat.video.rgb import Frames, to_rgb

_POOL_TOLERANCE = 1e-5
_RUNS_BEFORE_GRAPH = 2  # in which cuDNN and the fused steps choose their kernels


class Network:
    """A network on a device, with all extractors that share its runs: they differ only in their taps."""

    def __init__(self, extractors: Sequence[FeatureExtractor], device: torch.device) -> None:
        first = extractors[0]
        self.extractors, self.device = tuple(extractors), device
        self.backbone: Backbone = first.loaded.backbone
        self.view, self.frame_rule = VIEWS[first.name.view], FRAME_RULES[first.name.frames]
        self.clips, self.precision = first.clips, first.precision
        self._taps = tuple(dict.fromkeys(tap for extractor in extractors for tap in extractor.variant.taps))
        layers = self.backbone.with_feature_layers(first.loaded.network, self._taps)
        self.plain_module = layers.eval().requires_grad_(False)  # as published, before steps are fused
        self.dtype: torch.dtype = getattr(torch, PRECISIONS[first.precision])
        self._format = torch.channels_last_3d if self.backbone.clips else torch.channels_last
        if device.type == "cuda" and self.precision == "fp32":
            # TF32 keeps 10 bits of 23, and is on by default for convolutions
            torch.backends.cudnn.allow_tf32 = False
            # cuDNN takes a third of the time there without tensor cores
            self._format = torch.contiguous_format
        self._module: nn.Module = fused(self.plain_module).to(device=device, dtype=self.dtype)
        if device.type == "cuda":
            fold_shortcut_bias(self._module)
            self._module.to(memory_format=self._format)
        self._mean = torch.tensor(first.variant.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(first.variant.std, device=device).view(3, 1, 1)
        self._normalised: Callable[..., Tensor] = _normalised
        self._pooled: Callable[[Tensor], Tensor] = gap_gsp
        # fp32 keeps the plain path, so that its rows are those of every other machine
        if device.type == "cuda" and self.precision != "fp32" and find_spec("triton") is not None:
            self.use_kernels()

    def use_kernels(self) -> None:
        """Normalise whole frames, and pool, by Triton kernels once these have been seen to be right."""
        from vqafeat.backbones.kernels import CheckedKernel, pool, prepare

        self._normalised = CheckedKernel(prepare, _normalised, 0.0)
        self._pooled = CheckedKernel(pool, gap_gsp, _POOL_TOLERANCE)

    def frame_rows(self, frames: Tensor) -> dict[str, Tensor]:
        """Return `rows` for (frame, 3, height, width) uint8 RGB frames, or for those of one clip."""
        return self.rows(self.inputs(Frames(frames)))

    @torch.inference_mode()
    def inputs(self, frames: Frames) -> list[Tensor]:
        """Return the view's parts of frames, (frame, 3, height, width), normalised by mean and deviation."""
        layout = frames.layout
        if layout is not None and layout.is_upright_planes and self.view.is_whole:
            return [self._normalised(frames.data, layout, self._mean, self._std, self.dtype)]
        return [
            _scaled(part, self._mean, self._std, self.dtype)
            for part in self.view.parts(_unit_interval(frames.rgb()))
        ]

    @torch.inference_mode()
    def rows(self, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return (frame, channel) float32 rows by feature set for `inputs`, or (step, channel) for a clip."""
        clips = self.backbone.clips
        pooled = []
        for part in parts:
            given = part if clips is None else part.movedim(0, 1).unsqueeze(0)
            maps = self._module(given.contiguous(memory_format=self._format))
            if clips is not None:
                maps = {tap: _by_step(values, clips.steps) for tap, values in maps.items()}
            pooled.append({tap: self._pooled(values) for tap, values in maps.items()})
        return self._rows(pooled)

    def _rows(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        mean = parts[0]
        if len(parts) > 1:
            mean = {tap: torch.stack([part[tap] for part in parts]).mean(0) for tap in self._taps}
        taps = {item.feature_set: item.variant.taps for item in self.extractors}
        return {name: torch.cat([mean[tap] for tap in kept], 1) for name, kept in taps.items()}


class InputMemory:
    """Memory for the inputs of a batch of one size; on a GPU, later runs replay a CUDA graph of the network.

    A replay costs the host one launch instead of a few hundred.
    """

    def __init__(self, network: Network, frames: int) -> None:
        self._network, self._frames = network, frames
        self._parts: list[Tensor] = []
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._static_rows: dict[str, Tensor] = {}

    @torch.inference_mode()
    def put(self, start: int, frames: Frames) -> None:
        """Prepare frames as inputs from position `start` on."""
        parts = self._network.inputs(frames)
        if not self._parts:
            whole = [part[:1].expand(self._frames, -1, -1, -1) for part in parts]
            self._parts = [torch.zeros_like(part, memory_format=torch.channels_last) for part in whole]
        for memory, part in zip(self._parts, parts, strict=True):
            memory[start : start + len(part)] = part

    @torch.inference_mode()
    def rows(self) -> dict[str, Tensor]:
        """Return the rows of all positions; those that were not put have rows of no meaning."""
        if self._runs == _RUNS_BEFORE_GRAPH and self._network.device.type == "cuda":
            self._capture()
        self._runs += 1
        if self._graph is None:
            return self._network.rows(self._parts)
        self._graph.replay()
        return {name: values.clone() for name, values in self._static_rows.items()}

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads copy rows from the device meanwhile
            with (
                torch.cuda.device(self._network.device),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                self._static_rows = self._network.rows(self._parts)
        except RuntimeError as error:
            message = f"'{self._network.backbone.name}' runs without a CUDA graph, which is slower: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return
        self._graph = graph


def _unit_interval(rgb: Tensor) -> Tensor:
    return rgb.contiguous(memory_format=torch.channels_last).float().div_(255)


def _scaled(part: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    return ((part - mean) / std).to(dtype).contiguous(memory_format=torch.channels_last)


def _normalised(planes: Tensor, layout: FrameLayout, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (frame, 3, height, width) normalised RGB, channels last, of (frame, layout.nbytes) planes."""
    return _scaled(_unit_interval(to_rgb(planes, layout)), mean, std, dtype)


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
