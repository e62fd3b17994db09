"""Head transformer: FC → Transformer encoder → FC → subjective pooling (Li et al.)."""

import math

import torch
from torch import Tensor, nn

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import FrameReduction, Head
from vqafeat.heads.pooling import SubjectivePooling, frame_mask, padded
from vqafeat.registry import named

_POSITIONS = {"sinusoidal": True, "none": False}


class TransformerHead(Head):
    """VSFA with a Transformer encoder in place of the GRU (Li et al., TCSVT 2022, section IV-D and table XV).

    The paper gives 2 layers, feed-forward 2048, 2 heads and dropout 0.2; its released code has the GRU alone.
    The rest follows Vaswani et al. 2017: PyTorch's default layers (ReLU, normalisation after each residual
    sum) with dropout inside them alone, and sinusoidal positions, which `positions="none"` leaves out.
    """

    def __init__(
        self,
        channels: int,
        reduced: int = 128,
        layers: int = 2,
        attention_heads: int = 2,
        feed_forward: int = 2048,
        dropout: float = 0.2,
        positions: str = "sinusoidal",
        pooling: str = "released",
        window: int = 12,
        beta: float = 0.5,
    ) -> None:
        super().__init__()
        _check_sizes(reduced, layers, attention_heads, dropout)
        self.pool = SubjectivePooling(pooling, window, beta)
        self.reduce = FrameReduction(channels, reduced)
        self.with_positions = named("kind of positions", positions, _POSITIONS)
        layer = nn.TransformerEncoderLayer(reduced, attention_heads, feed_forward, dropout, batch_first=True)
        # nested tensors are a prototype that warns; the mask does the same
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.score = nn.Linear(reduced, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): FC → encoder → FC; padding is masked."""
        reduced = padded(self.reduce(frames), lengths)
        if self.with_positions:
            reduced = reduced + sinusoids(reduced.shape[1], reduced.shape[2]).to(reduced)
        states = self.encoder(reduced, src_key_padding_mask=~frame_mask(lengths, reduced.shape[1]))
        quality: Tensor = self.score(states)
        return quality[:, :, 0]


def sinusoids(time: int, width: int) -> Tensor:
    """Return (time, width): sin(t / 10000^(2i/width)) in channel 2i, cos in 2i + 1 (Vaswani et al., 3.5)."""
    position = torch.arange(time, dtype=torch.float64)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    waves = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=2)
    return waves.flatten(1)[:, :width]


def _check_sizes(reduced: int, layers: int, attention_heads: int, dropout: float) -> None:
    if layers < 1 or attention_heads < 1 or reduced % attention_heads:
        given = f"layers = {layers}, attention_heads = {attention_heads}, reduced = {reduced}"
        needed = "at least 1 layer and 1 attention head are needed, and the heads have to share"
        raise ArgumentError(f"{given}: {needed} the reduced channels evenly.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout is {dropout}; it has to be at least 0 and below 1, as 0.2.")
