"""What a network sees of a frame."""

from collections.abc import Callable

import torch
from torch import Tensor

from vqafeat.registry import Registry

View = Callable[[Tensor], Tensor]

VIEWS: Registry[View] = Registry("view")


@VIEWS.register("full")
def full(frames: Tensor) -> Tensor:
    """Return the whole frame at its native resolution, as VSFA, MDTVSFA and Li do; (batch, channel, height, width) in and out."""
    return frames


def normalised(frames: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Scale 8-bit RGB to [0, 1], then subtract the mean and divide by the deviation of each channel.

    Args:
        frames: (batch, height, width, 3) uint8.

    Returns:
        (batch, 3, height, width) float32, channels last in memory.
    """
    scaled = frames.permute(0, 3, 1, 2).float().div_(255)
    return scaled.sub_(torch.tensor(mean).view(3, 1, 1)).div_(torch.tensor(std).view(3, 1, 1))
