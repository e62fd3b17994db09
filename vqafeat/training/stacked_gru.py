"""Several heads at once: one recurrence over stacked GRUs, with its own backward pass.

A GRU of a few dozen units is bound by the launches of its many small steps, which K heads share; on a GPU a
kernel (`vqafeat.training.gru_kernel`) replaces them.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from vqafeat.heads.base import Head
from vqafeat.heads.pooling import masked_mean
from vqafeat.heads.recurrent import AvgGRU
from vqafeat.training.batching import Batch, gathered, sent


class StackedGRU(torch.autograd.Function):
    """K one-layer GRUs over K batches, from zero states: PyTorch's equations (`torch.nn.GRU`), gates in the
    order r, z, n.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        """Return the states, (K, time, batch, hidden).

        Args:
            inputs: (K, time, batch, input).
            weight_ih, weight_hh: (K, 3 · hidden, input) and (K, 3 · hidden, hidden).
            bias_ih, bias_hh: (K, 3 · hidden).
        """
        runs, time, batch, width = inputs.shape
        hidden = weight_hh.shape[2]
        gates = torch.baddbmm(
            bias_ih.unsqueeze(1), inputs.reshape(runs, time * batch, width), weight_ih.transpose(1, 2)
        )
        # time first, so that each step reads and writes one piece of memory
        gates = gates.view(runs, time, batch, 3 * hidden).transpose(0, 1).contiguous()
        states = inputs.new_zeros(time + 1, runs, batch, hidden)
        own = inputs.new_empty(time, runs, batch, 3 * hidden)
        opened = inputs.new_empty(time, runs, batch, 2 * hidden)
        candidates = inputs.new_empty(time, runs, batch, hidden)
        recurrent, bias = weight_hh.transpose(1, 2).contiguous(), bias_hh.unsqueeze(1)
        own_gates, own_candidate = torch.split(own, [2 * hidden, hidden], 3)
        reset, update = opened.chunk(2, 3)
        of_gates, of_candidate = torch.split(gates, [2 * hidden, hidden], 3)
        read = (of_gates, of_candidate, states[:-1], states[1:])
        for step in _steps(*read, own, own_gates, own_candidate, opened, reset, update, candidates):
            of_gate, of_part, state, following, product, own_gate, own_part, gate, *last = step
            open_reset, open_update, candidate = last
            torch.baddbmm(bias, state, recurrent, out=product)
            torch.add(of_gate, own_gate, out=gate).sigmoid_()
            torch.addcmul(of_part, open_reset, own_part, out=candidate).tanh_()
            torch.lerp(candidate, state, open_update, out=following)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, states, own_candidate, opened, candidates)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all arguments of `forward`."""
        inputs, weight_ih, weight_hh, states, own, opened, candidate = ctx.saved_tensors
        time, runs, batch, hidden = candidate.shape
        reset, update = opened.chunk(2, 3)
        outer = gradients[0].transpose(0, 1)
        # what reaches the gates is the gradient of the state times factors that are known at all times at
        # once
        to_candidate = (1 - update) * (1 - candidate.square())
        to_update = (states[:-1] - candidate) * update * (1 - update)
        to_reset = to_candidate * own * reset * (1 - reset)
        factors = torch.stack([to_reset, to_update, to_candidate * reset], 3)
        of_own, of_states = torch.empty_like(factors), torch.empty_like(candidate)
        carried = torch.zeros_like(states[0])
        flat = of_own.view(time, runs, batch, 3 * hidden)
        steps = _steps(outer, of_states, of_states.unsqueeze(3), factors, of_own, update, flat)
        for reached, state, widened, factor, product, keep, row in reversed(list(steps)):
            torch.add(carried, reached, out=state)
            torch.mul(widened, factor, out=product)
            carried = torch.baddbmm(state * keep, row, weight_hh)
        of_input = of_own.clone()
        torch.mul(of_states, to_candidate, out=of_input[:, :, :, 2])
        flat_input, flat_own, flat_states = (
            piece.transpose(0, 1).reshape(runs, time * batch, -1) for piece in (of_input, of_own, states[:-1])
        )
        flat_inputs = inputs.reshape(runs, time * batch, -1)
        to_inputs = torch.bmm(flat_input, weight_ih).view_as(inputs) if ctx.needs_input_grad[0] else None
        return (
            to_inputs,
            torch.bmm(flat_input.transpose(1, 2), flat_inputs),
            torch.bmm(flat_own.transpose(1, 2), flat_states),
            flat_input.sum(1),
            flat_own.sum(1),
        )


def _steps(*pieces: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield what each piece, (time, …), has at each step: one `unbind` costs less than an index at each."""
    return zip(*(piece.unbind() for piece in pieces), strict=True)


@cache
def kernel_for(device: torch.device, hidden: int) -> Callable[..., Tensor] | None:
    """Return the kernel of stacked GRUs on a GPU; None where it is not available or its results are wrong."""
    try:
        from vqafeat.training.gru_kernel import LARGEST_HIDDEN, KernelGRU, difference_from

        if hidden > LARGEST_HIDDEN:
            return None
        problem = difference_from(cast(Callable[..., Tensor], StackedGRU.apply), hidden, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Triton may be absent, and its compiler fails in many ways
        problem = f"{type(error).__name__}: {error}"
    if problem:
        slower = "cuDNN takes its place, which makes the fit slower"
        warnings.warn(f"the GPU kernel of the GRU is not used: {problem}; {slower}.", RuntimeWarning, 2)
        return None
    return cast(Callable[..., Tensor], KernelGRU.apply)


def stacked_states(recurrences: Sequence[nn.GRU], inputs: Tensor) -> Tensor:
    """Return (K, time, batch, hidden) states of each GRU over its own part of (K, time, batch, input).

    The recurrence runs forward, so that padding reaches nothing.
    """
    function: Callable[..., Tensor] | None
    if inputs.device.type != "cuda":
        function = cast(Callable[..., Tensor], StackedGRU.apply)
    elif (function := kernel_for(inputs.device, recurrences[0].hidden_size)) is None:
        return torch.stack([one(own)[0] for one, own in zip(recurrences, inputs, strict=True)])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return function(
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
