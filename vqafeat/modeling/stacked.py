"""Several heads at once: one recurrence over stacked GRUs, with its own backward pass, in place of one after another.

A GRU of a few dozen units is bound by the overhead of its many small steps, which K heads in one computation share.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from vqafeat.modeling.batching import Batch
from vqafeat.modeling.heads.base import Head
from vqafeat.modeling.heads.temporal import RecurrentHead
from vqafeat.modeling.pooling import masked_mean


class StackedGRU(torch.autograd.Function):
    """K one-layer GRUs over K batches, from zero states: PyTorch's equations (`torch.nn.GRU`), gates in the order r, z, n."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
        """Return the states, (K, time, batch, hidden).

        Args:
            inputs: (K, time, batch, input).
            weight_ih, weight_hh: (K, 3 · hidden, input) and (K, 3 · hidden, hidden).
            bias_ih, bias_hh: (K, 3 · hidden).
        """
        runs, time, batch, width = inputs.shape
        hidden = weight_hh.shape[2]
        gates = torch.baddbmm(bias_ih.unsqueeze(1), inputs.reshape(runs, time * batch, width), weight_ih.transpose(1, 2))
        # time first, so that each step reads and writes one piece of memory
        gates = gates.view(runs, time, batch, 3 * hidden).transpose(0, 1).contiguous()
        states = inputs.new_zeros(time + 1, runs, batch, hidden)
        kept = inputs.new_empty(time, 4, runs, batch, hidden)
        recurrent, bias = weight_hh.transpose(1, 2).contiguous(), bias_hh.unsqueeze(1)
        for step in range(time):
            before = states[step]
            own = torch.baddbmm(bias, before, recurrent)
            reset_update = torch.sigmoid_(gates[step, :, :, : 2 * hidden] + own[:, :, : 2 * hidden])
            reset, update = reset_update[..., :hidden], reset_update[..., hidden:]
            candidate = torch.addcmul(gates[step, :, :, 2 * hidden :], reset, own[:, :, 2 * hidden :]).tanh_()
            torch.lerp(candidate, before, update, out=states[step + 1])
            for place, value in enumerate((reset, update, candidate, own[:, :, 2 * hidden :])):
                kept[step, place] = value
        ctx.save_for_backward(inputs, weight_ih, weight_hh, states, kept)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all arguments of `forward`."""
        inputs, weight_ih, weight_hh, states, kept = ctx.saved_tensors
        time = len(states) - 1
        _, runs, batch, hidden = states.shape
        outer = gradients[0].transpose(0, 1)
        of_input = torch.empty(time, runs, batch, 3 * hidden, dtype=inputs.dtype, device=inputs.device)
        of_own = torch.empty_like(of_input)
        state = torch.zeros_like(states[0])
        for step in range(time - 1, -1, -1):
            reset, update, candidate, own = kept[step]
            state = state + outer[step]
            to_candidate = state * (1 - update) * (1 - candidate.square())
            to_update = state * (states[step] - candidate) * update * (1 - update)
            to_reset = to_candidate * own * reset * (1 - reset)
            torch.cat([to_reset, to_update, to_candidate], 2, out=of_input[step])
            torch.cat([to_reset, to_update, to_candidate * reset], 2, out=of_own[step])
            state = torch.baddbmm(state * update, of_own[step], weight_hh)
        flat_input = of_input.transpose(0, 1).reshape(runs, time * batch, 3 * hidden)
        flat_own = of_own.transpose(0, 1).reshape(runs, time * batch, 3 * hidden)
        flat_states = states[:-1].transpose(0, 1).reshape(runs, time * batch, hidden)
        flat_inputs = inputs.reshape(runs, time * batch, -1)
        to_inputs = torch.bmm(flat_input, weight_ih).view_as(inputs) if ctx.needs_input_grad[0] else None
        return (
            to_inputs,
            torch.bmm(flat_input.transpose(1, 2), flat_inputs),
            torch.bmm(flat_own.transpose(1, 2), flat_states),
            flat_input.sum(1),
            flat_own.sum(1),
        )


def stacked_states(recurrences: Sequence[nn.GRU], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return (time, batch, hidden) states of each GRU over its own (time, batch, input), all computed together.

    Batches may differ in length and number; what is filled up behind them reaches nothing, since the recurrence runs forward.
    """
    time, batch = max(len(item) for item in inputs), max(item.shape[1] for item in inputs)
    filled = torch.stack([nn.functional.pad(item, (0, 0, 0, batch - item.shape[1], 0, time - len(item))) for item in inputs])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    stacked = [torch.stack([cast(Tensor, getattr(recurrence, name)) for recurrence in recurrences]) for name in names]
    states = cast(Tensor, StackedGRU.apply(filled, *stacked))
    return [own[: len(item), : item.shape[1]] for own, item in zip(states, inputs, strict=True)]


def scores_together(heads: Sequence[Head], batches: Sequence[Batch]) -> list[Tensor]:
    """Return (batch,) scores of each head, its own core, on its own batch: their GRUs are computed together."""
    recurrent = cast(Sequence[RecurrentHead], heads)
    reduced = [head.reduced(batch.frames, batch.lengths) for head, batch in zip(recurrent, batches, strict=True)]
    states = stacked_states([cast(nn.GRU, head.recurrence) for head in recurrent], reduced)
    qualities = [head.quality(own) for head, own in zip(recurrent, states, strict=True)]
    return [
        masked_mean(head.pooled(quality, batch.lengths), batch.lengths)
        for head, quality, batch in zip(recurrent, qualities, batches, strict=True)
    ]
