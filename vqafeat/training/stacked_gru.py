"""Several heads at once: one recurrence over stacked GRUs, with its own backward pass.

A GRU of a few dozen units is bound by the launches of its many small steps, which K heads share.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from vqafeat.heads.base import Head
from vqafeat.heads.pooling import masked_mean
from vqafeat.heads.recurrent import AvgGRU
from vqafeat.training.batching import Batch


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


def stacked_states(recurrences: Sequence[nn.GRU], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return (time, batch, hidden) states of each GRU over its own (time, batch, input), all computed
    together.

    Batches may differ in length and number: the recurrence runs forward, so that padding reaches nothing.
    """
    time, batch = max(len(item) for item in inputs), max(item.shape[1] for item in inputs)
    filled = torch.stack(
        [nn.functional.pad(item, (0, 0, 0, batch - item.shape[1], 0, time - len(item))) for item in inputs]
    )
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    stacked = [
        torch.stack([cast(Tensor, getattr(recurrence, name)) for recurrence in recurrences]) for name in names
    ]
    states = cast(Tensor, StackedGRU.apply(filled, *stacked))
    return [own[: len(item), : item.shape[1]] for own, item in zip(states, inputs, strict=True)]


def batched_scores(pairs: Sequence[tuple[Head, Batch]]) -> list[Tensor]:
    """Return (batch,) scores of each recurrent head, which is its own core, on its own batch."""
    heads = [cast(AvgGRU, head) for head, _ in pairs]
    batches = [batch for _, batch in pairs]
    reduced = [head.reduced(one.frames, one.lengths) for head, one in zip(heads, batches, strict=True)]
    states = stacked_states([cast(nn.GRU, head.recurrence) for head in heads], reduced)
    return [
        masked_mean(head.pooled(head.quality(own), batch.lengths), batch.lengths)
        for head, own, batch in zip(heads, states, batches, strict=True)
    ]
