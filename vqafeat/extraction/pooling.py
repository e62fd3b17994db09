"""Spatial pooling: what is kept of a feature map."""

import torch
from torch import Tensor

POOLING = "GAP ‖ unbiased GSP (0 for a 1x1 map)"


def gap_gsp(maps: Tensor) -> Tensor:
    """Return the mean and the unbiased standard deviation over space of each channel (VSFA's `global_std_pool2d`, FACTS § 1).

    Args:
        maps: (batch, channel, height, width), or (batch, channel, time, height, width) to pool over time as well; fastest where the
            channels lie last in memory.

    Returns:
        (batch, 2 · channel) float32: means, then deviations, accumulated in float32; a map of a single position has deviation 0.
    """
    # positions × channels is how the maps lie in memory: sums over positions then run along whole cache lines
    flat = maps.movedim(1, -1).flatten(1, -2).float()
    mean = flat.mean(1, keepdim=True)
    positions = flat.shape[1]
    if positions == 1:
        return torch.cat([mean, torch.zeros_like(mean)], 2).squeeze(1)
    # around the mean, not E[x²] − E[x]², which loses a small deviation beside a large mean
    deviation = (flat - mean).square_().sum(1, keepdim=True).div_(positions - 1).sqrt_()
    return torch.cat([mean, deviation], 2).squeeze(1)
