"""Spatial pooling: what is kept of a feature map."""

import torch
from torch import Tensor

POOLING = "GAP ‖ unbiased GSP (0 for a 1x1 map)"


def gap_gsp(maps: Tensor) -> Tensor:
    """Return the mean and the unbiased standard deviation over space of each channel (VSFA's `global_std_pool2d`, FACTS § 1).

    Args:
        maps: (batch, channel, height, width).

    Returns:
        (batch, 2 · channel) float32: means, then deviations; a map of a single position has deviation 0.
    """
    flat = maps.float().flatten(2)
    mean = flat.mean(2)
    if flat.shape[2] == 1:
        return torch.cat([mean, torch.zeros_like(mean)], 1)
    deviation = (flat - mean.unsqueeze(2)).square_().sum(2).div_(flat.shape[2] - 1).sqrt_()
    return torch.cat([mean, deviation], 1)
