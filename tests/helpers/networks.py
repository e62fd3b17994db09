"""Networks whose every tensor matters to their output, as it does after training."""

import torch
from torch import nn


def stirred(network: nn.Module, seed: int = 3) -> nn.Module:
    """Give the norms and position biases of a fresh network values other than ones and zeros, in place; in
    eval mode.
    """
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
        if hasattr(module, "relative_position_bias_table"):
            nn.init.normal_(module.relative_position_bias_table)
    return network.eval().requires_grad_(False)
