"""Several heads at once: one recurrence over stacked GRUs, with its own backward pass.

A GRU of a few dozen units is bound by the launches of its many small steps, which K heads share; on a GPU a
kernel (`vqafeat.training.gru_kernel`) replaces them.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from vqafeat.heads.base import Head
from vqafeat.heads.pooling import masked_mean
from vqafeat.heads.recurrent import AvgGRU
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


def stacked_states(recurrences: Sequence[nn.GRU], inputs: Tensor) -> Tensor:
    """Return (K, time, batch, hidden) states of each GRU over its own part of (K, time, batch, input).

    The recurrence runs forward, so that padding reaches nothing.
    """
    kernel = _kernel(inputs, recurrences[0].hidden_size)
    if kernel is None:
        return torch.stack([one(own)[0] for one, own in zip(recurrences, inputs, strict=True)])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return kernel(
        inputs, *(torch.stack([cast(Tensor, getattr(one, name)) for one in recurrences]) for name in names)
    )


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


def reduced_together(heads: Sequence[AvgGRU], batches: Sequence[Batch]) -> Tensor:
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
    weights, biases = map(torch.stack, zip(*(head.reduce.folded() for head in heads), strict=True))
    reduced = torch.baddbmm(biases.unsqueeze(1), frames, weights.transpose(1, 2))
    return reduced.view(len(batches), time, batch, -1)


def batched_scores(pairs: Sequence[tuple[Head, Batch]]) -> list[Tensor]:
    """Return (batch,) scores of each recurrent head, which is its own core, on its own batch.

    Heads differ in weights alone. Only the first FC, which is large, is computed head by head, unless a GPU
    keeps the features.
    """
    heads, batches = [cast(AvgGRU, head) for head, _ in pairs], [batch for _, batch in pairs]
    counts = [batch.counts for batch in batches]
    if all(batch.positions is not None for batch in batches):
        reduced = reduced_together(heads, batches)
    else:
        pieces = [head.reduce(batch.frames) for head, batch in zip(heads, batches, strict=True)]
        reduced = padded_together(pieces, counts)
    states = stacked_states([cast(nn.GRU, head.recurrence) for head in heads], reduced)
    number, time, batch, hidden = states.shape
    weight, bias = (
        torch.stack([cast(Tensor, getattr(head.score, name)) for head in heads])
        for name in ("weight", "bias")
    )
    quality = torch.baddbmm(bias.unsqueeze(1), states.reshape(number, -1, hidden), weight.transpose(1, 2))
    raw = quality.view(number, time, batch).transpose(1, 2).reshape(-1, time)
    # a video that a batch lacks has one frame, of padding, since a mean over none is NaN
    lengths = [count for own in counts for count in (*own, *[1] * (batch - len(own)))]
    on_device = sent(torch.tensor(lengths), raw.device)
    scores = masked_mean(heads[0].pooled(raw, on_device), on_device).view(number, batch)
    rows = zip(scores.unbind(), map(len, counts), strict=True)
    return [row if own == batch else row[:own] for row, own in rows]
