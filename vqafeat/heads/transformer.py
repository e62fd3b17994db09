"""Head transformer: FC → Transformer encoder → FC → subjective pooling (Li et al.)."""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import FrameReduction, Head, check_widths
from vqafeat.heads.pooling import SubjectivePooling, frame_mask, padded_index
from vqafeat.registry import named

_POSITIONS = {"sinusoidal": True, "none": False}
_NUMBERS_AT_ONCE = 1 << 16  # they stay in a CPU's cache


@dataclass(frozen=True, eq=False)
class _Padding:
    """Where the frames of a batch, one video after another, are in (batch, time).

    Attributes:
        index: (total frames,) positions in (batch · time); None where the videos are equally long.
        mask: (batch, 1, 1, time) bool, True at a video's own frames; None where `index` is.
    """

    batch: int
    time: int
    index: Tensor | None
    mask: Tensor | None

    def add(self, frames: Tensor) -> Tensor:
        """Return (batch, time, width) of (total frames, width), with 0 in padding."""
        if self.index is not None:
            empty = frames.new_zeros(self.batch * self.time, frames.shape[1])
            frames = empty.index_copy(0, self.index, frames)
        return frames.view(self.batch, self.time, -1)

    def remove(self, padded: Tensor) -> Tensor:
        """Return (total frames, width) of (batch, time, width)."""
        flat = padded.reshape(self.batch * self.time, -1)
        return flat if self.index is None else flat.index_select(0, self.index)

    def kept(self, width: int, dropout: float, device: torch.device, time_first: bool = False) -> Tensor:
        """Return (total frames, width) bool: what is kept of (batch, time, width) or (time, batch, width).

        It is what `torch.nn.functional.dropout` keeps, given the same state of the random numbers.
        """
        size = (self.time, self.batch) if time_first else (self.batch, self.time)
        kept = bernoulli((*size, width), 1 - dropout, device)
        return self.remove(kept.transpose(0, 1) if time_first else kept)


def bernoulli(size: tuple[int, ...], probability: float, device: torch.device) -> Tensor:
    """Return what `torch.bernoulli` draws, as bool; it takes a CPU half the time."""
    kept = torch.empty(size, dtype=torch.bool, device=device)
    if device.type != "cpu":
        return kept.bernoulli_(probability)
    # PyTorch compares 53 of the 64 bits of a number with the probability, one element at a time
    numbers, bits = torch.empty(_NUMBERS_AT_ONCE, dtype=torch.int64), 53
    limit = math.ceil(probability * (1 << bits))
    for part in torch.split(kept.view(-1), _NUMBERS_AT_ONCE):
        torch.lt(numbers[: len(part)].random_().bitwise_and_((1 << bits) - 1), limit, out=part)
    return kept


class _FeedForward(torch.autograd.Function):
    """FC → ReLU → dropout → FC, which saves one tensor of the hidden width; PyTorch saves four."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        widen: Tensor,
        bias: Tensor,
        narrow: Tensor,
        last: Tensor,
        kept: Tensor | None,
        scale: float,
    ) -> Tensor:
        hidden = torch.addmm(bias, inputs, widen.T).relu_()
        if kept is not None:
            hidden.mul_(kept)
        ctx.save_for_backward(inputs, hidden, widen, narrow)
        ctx.scale = scale
        return torch.addmm(last, hidden, narrow.T, alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, hidden, widen, narrow = ctx.saved_tensors
        outer = gradients[0] * ctx.scale
        to_narrow, to_last = outer.T @ hidden, gradients[0].sum(0)
        to_hidden = outer @ narrow
        # hidden is 0 where the ReLU or the dropout cut, and so is the gradient
        torch.ops.aten.threshold_backward(to_hidden, hidden, 0, grad_input=to_hidden)
        to_inputs, to_widen = to_hidden @ widen, to_hidden.T @ inputs
        return to_inputs, to_widen, to_hidden.sum(0), to_narrow, to_last, None, None


class EncoderLayer(nn.TransformerEncoderLayer):
    """PyTorch's layer on frames without padding, which only the attention needs."""

    def frames(self, frames: Tensor, padding: _Padding) -> Tensor:
        """Return (total frames, width) of the same."""
        # PyTorch's layer drops after attention in the order of (time, batch)
        attention = self._dropped(self._attention(frames, padding), padding, time_first=True)
        frames = self.norm1(frames + attention)
        changed: Tensor = self.norm2(frames + self._dropped(self._feed_forward(frames, padding), padding))
        return changed

    @property
    def rate(self) -> float:
        """Share of the numbers that is dropped."""
        return self.dropout.p if self.training else 0.0

    def _dropped(self, frames: Tensor, padding: _Padding, time_first: bool = False) -> Tensor:
        if not self.rate:
            return frames
        kept = padding.kept(frames.shape[1], self.rate, frames.device, time_first)
        return frames * kept / (1 - self.rate)

    def _attention(self, frames: Tensor, padding: _Padding) -> Tensor:
        attention = self.self_attn
        weights = cast(Tensor, attention.in_proj_weight), cast(Tensor, attention.in_proj_bias)
        padded = padding.add(nn.functional.linear(frames, *weights))
        apart = padded.view(padding.batch, padding.time, 3, attention.num_heads, -1)
        query, key, value = apart.permute(2, 0, 3, 1, 4)
        states = nn.functional.scaled_dot_product_attention(query, key, value, padding.mask, self.rate)
        changed: Tensor = attention.out_proj(padding.remove(states.transpose(1, 2).flatten(2)))
        return changed

    def _feed_forward(self, frames: Tensor, padding: _Padding) -> Tensor:
        first, second, rate = self.linear1, self.linear2, self.rate
        kept = padding.kept(first.out_features, rate, frames.device) if rate else None
        weights = (first.weight, first.bias, second.weight, second.bias)
        return cast(Tensor, _FeedForward.apply(frames, *weights, kept, 1 / (1 - rate)))


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
        check_widths(reduced=reduced, feed_forward=feed_forward)
        if layers < 1 or attention_heads < 1 or reduced % attention_heads:
            raise ArgumentError(
                f"layers = {layers}, attention_heads = {attention_heads}, reduced = {reduced}: at least "
                "1 layer and 1 attention head are needed, which have to share the reduced channels evenly."
            )
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout is {dropout}; it has to be at least 0 and below 1, such as 0.2.")
        self.pool = SubjectivePooling(pooling, window, beta)
        self.reduce = FrameReduction(channels, reduced)
        self.with_positions = named("kind of positions", positions, _POSITIONS)
        layer = EncoderLayer(reduced, attention_heads, feed_forward, dropout, batch_first=True)
        # its layers are called one by one
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.score = nn.Linear(reduced, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): FC → encoder → FC; padding is masked."""
        states = self.reduce(frames)
        batch, time = len(lengths), int(lengths.max())
        padding = _Padding(batch, time, None, None)
        if len(frames) < batch * time:
            mask = frame_mask(lengths, time)
            padding = _Padding(batch, time, padded_index(lengths, time, len(frames)), mask[:, None, None])
        if self.with_positions:
            positions = sinusoids(time, states.shape[1], states.device).to(states)
            states = states + padding.remove(positions.expand(batch, -1, -1))
        for layer in self.encoder.layers:
            states = cast(EncoderLayer, layer).frames(states, padding)
        quality: Tensor = self.score(states)
        return padding.add(quality)[:, :, 0]


def sinusoids(time: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return (time, width): sin(t / 10000^(2i/width)) in channel 2i, cos in 2i + 1 (Vaswani et al., 3.5)."""
    options: dict[str, Any] = {"dtype": torch.float64, "device": device}
    position = torch.arange(time, **options)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, **options) * (-math.log(10000.0) / width))
    waves = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=2)
    return waves.flatten(1)[:, :width]
