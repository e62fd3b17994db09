"""Video Swin Transformer, tiny (Liu et al. 2022): torchvision's network up to its last norm.

torchvision holds the attention scores of all windows and the hidden units of all tokens at once: 8 GB for a
block of 960x540. Here they are computed in parts, in a third of the memory and half of the time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.swin_transformer import PatchMerging
from torchvision.models.video import SwinTransformer3d

from vqafeat.backbones.vit import self_attention

_SCORES = 2**25  # attention scores computed at once, 128 MiB
_STEPS = 2  # time steps whose hidden units are computed at once
_SPACE_TIME = (1, 2, 3)  # axes


class SwinMaps(nn.Module):
    """torchvision's SwinTransformer3d without its average pool and classifier, for inference only."""

    def __init__(self, network: SwinTransformer3d, taps: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.patch_embed, self.features, self.norm = network.patch_embed, network.features, network.norm

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Return {"norm": (batch, 768, T / 2, H / 32, W / 32)} for (batch, 3, T, H, W).

        Sides are rounded up: zeros pad frames to whole patches of 4 samples, maps to even sides before
        patches are merged, and maps in each attention to whole windows.
        """
        tokens = self.patch_embed(clips)
        for layer in self.features:
            if isinstance(layer, PatchMerging):
                tokens = layer(tokens)
                continue
            for block in layer:
                tokens = tokens + _attended(block.attn, block.norm1(tokens))
                for part in torch.split(tokens, _STEPS, dim=1):
                    part.add_(block.mlp(block.norm2(part)))
        return {"norm": self.norm(tokens).permute(0, 4, 1, 2, 3)}


def _attended(attention: Any, tokens: Tensor) -> Tensor:
    """Return torchvision's ShiftedWindowAttention3d of (batch, T, H, W, channel), some windows at a time."""
    sides = tokens.shape[1:4]
    window = [min(whole, side) for whole, side in zip(attention.window_size, sides, strict=True)]
    # a window that spans the whole side has nowhere to shift to
    shift = [
        0 if side <= whole else shift
        for side, whole, shift in zip(sides, attention.window_size, attention.shift_size, strict=True)
    ]
    missing = [-side % whole for side, whole in zip(sides, window, strict=True)]
    padded = pad(tokens, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
    padded = padded.roll([-step for step in shift], _SPACE_TIME)
    windows, regions = _windows(padded, window), None
    if any(shift):
        regions = _windows(_regions(padded.shape[1:4], window, shift).to(tokens.device), window)[..., 0]
    bias = attention.get_relative_position_bias(window)
    parts = torch.split(windows, max(1, _SCORES // bias.numel()))
    firsts = range(0, len(windows), len(parts[0]))
    inputs = attention.qkv.weight, attention.qkv.bias, attention.num_heads
    attended = [
        attention.proj(self_attention(part, *inputs, _mask(bias, regions, first, len(part))))
        for first, part in zip(firsts, parts, strict=True)
    ]
    whole = _from_windows(torch.cat(attended), padded.shape, window).roll(shift, _SPACE_TIME)
    return whole[:, : sides[0], : sides[1], : sides[2]]


def _windows(tokens: Tensor, window: Sequence[int]) -> Tensor:
    """Cut (batch, T, H, W, channel) into (batch · windows, tokens of a window, channel)."""
    batch, channels = tokens.shape[0], tokens.shape[-1]
    t, h, w = (side // length for side, length in zip(tokens.shape[1:4], window, strict=True))
    cut = tokens.reshape(batch, t, window[0], h, window[1], w, window[2], channels)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch * t * h * w, -1, channels)


def _from_windows(windows: Tensor, shape: Sequence[int], window: Sequence[int]) -> Tensor:
    """Undo `_windows`; `shape` is that of the result."""
    grid = [side // length for side, length in zip(shape[1:4], window, strict=True)]
    return windows.reshape(shape[0], *grid, *window, shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(shape)


def _regions(sides: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> Tensor:
    """Number the parts of a shifted video that were neighbours before the shift, (1, T, H, W, 1)."""
    numbers = torch.zeros(1, 1, 1)
    for axis, (side, length, step) in enumerate(zip(sides, window, shift, strict=True)):
        along = torch.zeros(side)
        if step:
            along[-length:-step], along[-step:] = 1, 2
        numbers = 3 * numbers + along.view([-1 if axis == other else 1 for other in range(3)])
    return numbers[None, ..., None]


def _mask(bias: Tensor, regions: Tensor | None, first: int, count: int) -> Tensor:
    """Return what is added to the scores of `count` windows: position bias, and -100 between regions."""
    if regions is None:
        return bias
    own = regions[torch.arange(first, first + count, device=regions.device) % len(regions)]
    return bias - 100 * (own[:, None, :, None] != own[:, None, None, :]).to(bias.dtype)
