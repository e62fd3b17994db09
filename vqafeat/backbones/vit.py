"""ViT-B/16 (Dosovitskiy et al. 2021) at any frame size: the encoder's patches as a feature map."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention
from torchvision.models import VisionTransformer


def self_attention(
    tokens: Tensor, weight: Tensor, bias: Tensor, heads: int, mask: Tensor | None = None
) -> Tensor:
    """Return attention within (batch, token, channel); `weight` and `bias` give query, key and value."""
    batch, count, _ = tokens.shape
    three = linear(tokens, weight, bias)
    query, key, value = three.view(batch, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


class PatchMaps(nn.Module):
    """The encoder of torchvision's VisionTransformer for frames of any size."""

    def __init__(self, network: VisionTransformer, taps: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.conv_proj, self.class_token = network.conv_proj, network.class_token
        self.encoder: Any = network.encoder

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return {"encoder": (batch, channel, H / 16, W / 16)} for (batch, 3, H, W), sides rounded down."""
        patches = self.conv_proj(frames)
        batch, channels, rows, columns = patches.shape
        class_tokens = self.class_token.expand(batch, -1, -1)
        tokens = torch.cat([class_tokens, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self.positions(rows, columns)
        for layer in self.encoder.layers:
            # nn.MultiheadAttention holds every pair of patches at once on a CPU (3 GB for a frame of 1080p),
            # and takes four times as long
            attention = layer.self_attention
            inputs = attention.in_proj_weight, attention.in_proj_bias, attention.num_heads
            tokens = tokens + attention.out_proj(self_attention(layer.ln_1(tokens), *inputs))
            tokens = tokens + layer.mlp(layer.ln_2(tokens))
        # the class token takes part in the encoder and is no part of the map
        maps = self.encoder.ln(tokens)[:, 1:].transpose(1, 2)
        return {"encoder": maps.reshape(batch, channels, rows, columns)}

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the trained position embedding, bicubically resized: (1, 1 + rows · columns, channel)."""
        trained = cast(Tensor, self.encoder.pos_embedding)
        channels, side = trained.shape[2], round((trained.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return trained
        grid = trained[:, 1:].transpose(1, 2).reshape(1, channels, side, side)
        resized = interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([trained[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
