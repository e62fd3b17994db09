"""Triton kernels for a GPU that convert decoded planes to normalised inputs, and pool feature maps.

Each reads its input once or twice. With the operations of PyTorch, conversion, normalisation and pooling take
a quarter of a ResNet-50's time on an H100; as kernels, a thirtieth (tests/bench/RESULTS.md).
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vqafeat.video.frame import FrameLayout

_SAMPLES = 1024  # of one program
_POSITIONS, _CHANNELS = 64, 64


class CheckedKernel:
    """A kernel that replaces a plain function from its second call on, if its first result is equal.

    Otherwise the plain function stays in use, with a warning. `tolerance` is a share of the largest value.
    """

    def __init__(self, kernel: Callable[..., Tensor], plain: Callable[..., Tensor], tolerance: float) -> None:
        self._kernel, self._plain, self._tolerance = kernel, plain, tolerance
        self.trusted: bool | None = None

    def __call__(self, *arguments: Any) -> Tensor:
        """Return the result of the kernel, or of the plain function as long as the kernel is not trusted."""
        if self.trusted:
            return self._kernel(*arguments)
        expected = self._plain(*arguments)
        if self.trusted is None:
            problem = self._problem(expected, *arguments)
            self.trusted = not problem
            if problem:
                name = getattr(self._kernel, "__name__", "kernel")
                warnings.warn(
                    f"the GPU kernel '{name}' is not used: {problem}.", RuntimeWarning, stacklevel=2
                )
        return expected

    def _problem(self, expected: Tensor, *arguments: Any) -> str:
        try:
            difference = (self._kernel(*arguments).float() - expected.float()).abs().max().item()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        allowed = self._tolerance * expected.float().abs().max().item()
        return "" if difference <= allowed else f"its result differs from the plain path's by {difference:g}"


@triton.jit  # type: ignore[untyped-decorator]
def _prepare_kernel(  # type: ignore[no-untyped-def]
    planes, out, mean, std, width: tl.constexpr, size: tl.constexpr,
    red_v: tl.constexpr, blue_u: tl.constexpr, green_u: tl.constexpr, green_v: tl.constexpr,
    full_range: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0).to(tl.int64)
    position = tl.program_id(1) * block + tl.arange(0, block)
    inside = position < size
    row, column = position // width, position % width
    chroma = (row // 2) * (width // 2) + column // 2
    base = planes + frame * (size * 3 // 2)
    luma = tl.load(base + position, inside, 0).to(tl.int32) * 8
    luma = ((luma * 8192) >> 16) if full_range else (((luma - 128) * 9539) >> 16)
    u = tl.load(base + size + chroma, inside, 0).to(tl.int32) * 8 - 1024
    v = tl.load(base + size + size // 4 + chroma, inside, 0).to(tl.int32) * 8 - 1024
    target = out + frame * size * 3 + position * 3
    for channel in tl.static_range(3):
        if channel == 0:
            part = (v * red_v) >> 16
        elif channel == 1:
            part = ((u * -green_u) >> 16) + ((v * -green_v) >> 16)
        else:
            part = (u * blue_u) >> 16
        sample = tl.minimum(tl.maximum(luma + part, 0), 255).to(tl.float32)
        # rounded to nearest, as PyTorch divides
        sample = tl.div_rn(tl.div_rn(sample, 255.0) - tl.load(mean + channel), tl.load(std + channel))
        tl.store(target + channel, sample.to(out.dtype.element_ty), inside)


def prepare(planes: Tensor, layout: FrameLayout, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (frame, 3, height, width) normalised RGB, channels last, of (frame, layout.nbytes) planes."""
    frames, width, height = len(planes), layout.width, layout.height
    out = torch.empty((frames, height, width, 3), dtype=dtype, device=planes.device)
    grid = (frames, triton.cdiv(height * width, _SAMPLES))
    numbers = (*layout.coefficients, layout.full_range, _SAMPLES)
    with torch.cuda.device_of(planes):  # type: ignore[no-untyped-call]
        _prepare_kernel[grid](planes, out, mean.flatten(), std.flatten(), width, height * width, *numbers)
    return out.permute(0, 3, 1, 2)


@triton.jit  # type: ignore[untyped-decorator]
def _pool_kernel(  # type: ignore[no-untyped-def]
    maps, out, positions, channels, position_block: tl.constexpr, channel_block: tl.constexpr
):
    frame = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * channel_block + tl.arange(0, channel_block)
    known = channel < channels
    base = maps + frame * positions * channels
    total = tl.zeros((channel_block,), tl.float32)
    for first in range(0, positions, position_block):
        position = first + tl.arange(0, position_block)
        inside = (position < positions)[:, None] & known[None, :]
        total += tl.sum(
            tl.load(base + position[:, None] * channels + channel[None, :], inside, 0).to(tl.float32), 0
        )
    mean = total / positions
    squares = tl.zeros((channel_block,), tl.float32)
    for first in range(0, positions, position_block):
        position = first + tl.arange(0, position_block)
        inside = (position < positions)[:, None] & known[None, :]
        values = tl.load(base + position[:, None] * channels + channel[None, :], inside, 0).to(tl.float32)
        offset = tl.where(inside, values - mean[None, :], 0.0)
        squares += tl.sum(offset * offset, 0)
    target = out + frame * 2 * channels + channel
    tl.store(target, mean, known)
    tl.store(target + channels, tl.sqrt(squares / tl.maximum(positions - 1, 1)), known)


def pool(maps: Tensor) -> Tensor:
    """Return `gap_gsp` of (batch, channel, [time,] height, width) maps whose channels are last in memory."""
    flat = maps.movedim(1, -1).flatten(1, -2).contiguous()
    frames, positions, channels = flat.shape
    out = torch.empty((frames, 2 * channels), dtype=torch.float32, device=maps.device)
    grid = (frames, triton.cdiv(channels, _CHANNELS))
    with torch.cuda.device_of(maps):  # type: ignore[no-untyped-call]
        _pool_kernel[grid](flat, out, positions, channels, _POSITIONS, _CHANNELS)
    return out
