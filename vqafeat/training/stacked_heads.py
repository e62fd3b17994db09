"""Several heads of one kind at once: each layer is one operation for all of them.

One head alone is bound by the launches of its many small operations on a GPU, which K heads share; a kernel
(`vqafeat.training.gru_kernel`) replaces those of a GRU.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqafeat.heads.base import Head
from vqafeat.heads.pooling import frame_mask, masked_mean
from vqafeat.heads.recurrent import AvgGRU, NoTime, SubGRU, SubLSTM
from vqafeat.heads.transformer import EncoderLayer, TransformerHead, sinusoids
from vqafeat.training.batching import Batch, gathered, sent


@cache
def kernel_for(device: torch.device, hidden: int) -> Callable[..., Tensor] | None:
    """Return the kernel of stacked GRUs on a GPU; None where it is not available or its results are wrong."""
    try:
        from vqafeat.training.gru_kernel import LARGEST_HIDDEN, KernelGRU, difference_from_cpu

        if hidden > LARGEST_HIDDEN:
            return None
        problem = difference_from_cpu(hidden, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Triton may be absent, and its compiler fails in many ways
        problem = f"{type(error).__name__}: {error}"
    if problem:
        slower = "cuDNN takes its place, which makes the fit slower"
        warnings.warn(f"the GPU kernel of the GRU is not used: {problem}; {slower}.", RuntimeWarning, 2)
        return None
    return cast(Callable[..., Tensor], KernelGRU.apply)


def _kernel(inputs: Tensor, hidden: int) -> Callable[..., Tensor] | None:
    return kernel_for(inputs.device, hidden) if inputs.device.type == "cuda" else None


def stacked_states(recurrences: Sequence[nn.GRU | nn.LSTM], inputs: Tensor) -> Tensor:
    """Return (K, time, batch, hidden) states of each recurrence over its own part of (K, time, batch, input).

    The recurrence runs forward, so that padding reaches nothing.
    """
    first = recurrences[0]
    kernel = _kernel(inputs, first.hidden_size) if isinstance(first, nn.GRU) else None
    if kernel is None:
        return torch.stack([one(own)[0] for one, own in zip(recurrences, inputs, strict=True)])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return kernel(inputs, *(_parameters(recurrences, name) for name in names))


def _stack(values: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack(list(values))
    if stacked.requires_grad:  # or else each head copies its part of a transposed gradient
        stacked.register_hook(torch.Tensor.contiguous)  # type: ignore[no-untyped-call]
    return stacked


def _parameters(modules: Sequence[nn.Module], name: str) -> Tensor:
    return _stack([module.get_parameter(name) for module in modules])


def _linear(modules: Sequence[nn.Module], name: str, values: Tensor) -> Tensor:
    """Return (K, row, output) of (K, row, input)."""
    weight, bias = _parameters(modules, name + "weight"), _parameters(modules, name + "bias")
    return torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))


def _normalised(layers: Sequence[EncoderLayer], name: str, frames: Tensor) -> Tensor:
    weight, bias = _parameters(layers, name + "weight"), _parameters(layers, name + "bias")
    normalised = F.layer_norm(frames, frames.shape[-1:], eps=layers[0].norm1.eps)
    return torch.addcmul(bias.unsqueeze(1), normalised, weight.unsqueeze(1))


def _encoder_layer(layers: Sequence[EncoderLayer], frames: Tensor, mask: Tensor) -> Tensor:
    """Return (K, batch · time, width) of the same.

    Args:
        mask: (K · batch, 1, 1, time) bool, True at a video's own frames.
    """
    first = layers[0]
    drop, heads = first.dropout, first.self_attn.num_heads
    projected = _linear(layers, "self_attn.in_proj_", frames).view(len(mask), mask.shape[3], 3, heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4)
    attention = F.scaled_dot_product_attention(query, key, value, mask, first.rate)
    attention = _linear(layers, "self_attn.out_proj.", attention.transpose(1, 2).reshape(frames.shape))
    frames = _normalised(layers, "norm1.", frames + drop(attention))
    hidden = drop(_linear(layers, "linear1.", frames).relu_())
    return _normalised(layers, "norm2.", frames + drop(_linear(layers, "linear2.", hidden)))


def _encoder_states(heads: Sequence[TransformerHead], reduced: Tensor, lengths: Tensor) -> Tensor:
    number, time, batch, width = reduced.shape
    states = reduced.transpose(1, 2)
    if heads[0].with_positions:
        states = states + sinusoids(time, width, states.device).to(states)
    states = states.reshape(number, batch * time, width)
    mask = frame_mask(lengths, time)[:, None, None]
    for layers in zip(*(cast(Sequence[EncoderLayer], head.encoder.layers) for head in heads), strict=True):
        states = _encoder_layer(layers, states, mask)
    return states.view(number, batch, time, width).transpose(1, 2)


# head → what gives the (K, time, batch, width) input of the last layers, by the heads, the
# (K, time, batch, reduced) frames and the (K · batch,) lengths; subclasses may compute something else
_STATES: dict[type[Head], Callable[[Sequence[Any], Tensor, Tensor], Tensor]] = {
    NoTime: lambda heads, reduced, lengths: reduced,
    **dict.fromkeys(
        (AvgGRU, SubGRU, SubLSTM),
        lambda heads, reduced, lengths: stacked_states([head.recurrence for head in heads], reduced),
    ),
    TransformerHead: _encoder_states,
}


def can_be_stacked(head: Head) -> bool:
    """Return whether several heads of this kind are trained faster together than one by one."""
    return type(head.core) in _STATES


def padded_together(flat: Sequence[Tensor], counts: Sequence[Sequence[int]]) -> Tensor:
    """Return (K, time, batch, …) of K batches, each (total frames, …), padded with 0.

    Args:
        counts: frames of each video of each batch; batches may differ in the number of videos.
    """
    time, batch = max(map(max, counts)), max(map(len, counts))
    position = np.concatenate(
        [
            (number * time + np.arange(count)) * batch + video
            for number, own in enumerate(counts)
            for video, count in enumerate(own)
        ]
    )
    frames = torch.cat(list(flat))
    empty = frames.new_zeros(len(counts) * time * batch, *frames.shape[1:])
    index = sent(torch.from_numpy(position), frames.device)
    return empty.index_copy(0, index, frames).view(len(counts), time, batch, *frames.shape[1:])


def reduced_together(heads: Sequence[Any], batches: Sequence[Batch]) -> Tensor:
    """Return (K, time, batch, reduced) of K batches from features that a GPU keeps, by one product.

    Padding has the values of another frame.
    """
    time, batch = max(max(one.counts) for one in batches), max(len(one.counts) for one in batches)
    positions = np.zeros((len(batches), time, batch), np.intp)
    for number, one in enumerate(batches):
        assert one.positions is not None
        for video, own in enumerate(np.split(one.positions, np.cumsum(one.counts)[:-1])):
            positions[number, : len(own), video] = own
    frames = gathered(batches[0].source, positions.reshape(-1)).view(len(batches), time * batch, -1)
    weights, biases = map(_stack, zip(*(head.reduce.folded() for head in heads), strict=True))
    reduced = torch.baddbmm(biases.unsqueeze(1), frames, weights.transpose(1, 2))
    return reduced.view(len(batches), time, batch, -1)


def batched_scores(pairs: Sequence[tuple[Head, Batch]]) -> list[Tensor]:
    """Return (batch,) scores of each head, which is its own core, on its own batch.

    Heads differ in weights alone. Only the first FC, which is large, is computed head by head, unless a GPU
    keeps the features. What is dropped is drawn for all heads at once, independently for each.
    """
    heads, batches = [cast(Any, head) for head, _ in pairs], [batch for _, batch in pairs]
    counts = [batch.counts for batch in batches]
    if all(batch.positions is not None for batch in batches):
        reduced = reduced_together(heads, batches)
    else:
        pieces = [head.reduce(batch.frames) for head, batch in zip(heads, batches, strict=True)]
        reduced = padded_together(pieces, counts)
    number, time, batch, _ = reduced.shape
    # a video that a batch lacks has one frame, of padding, since a mean over none is NaN
    padded = [count for own in counts for count in (*own, *[1] * (batch - len(own)))]
    lengths = sent(torch.tensor(padded), reduced.device)
    states = _STATES[type(heads[0])](heads, reduced, lengths)
    quality = _linear(heads, "score.", states.reshape(number, time * batch, -1))
    raw = quality.view(number, time, batch).transpose(1, 2).reshape(-1, time)
    scores = masked_mean(heads[0].pooled(raw, lengths), lengths).view(number, batch)
    rows = zip(scores.unbind(), map(len, counts), strict=True)
    return [row if own == batch else row[:own] for row, own in rows]
