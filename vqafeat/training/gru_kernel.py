"""A GRU for a GPU: one Triton kernel runs all time steps of several heads, and a second one goes back.

A program of a kernel keeps the state of 16 videos of a head, and the head's weights, in registers.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.func import functional_call

LARGEST_HIDDEN = 64  # more weights do not fit in the registers
_VIDEOS = 16
_SMALLEST_BLOCK = 16  # of a matrix product in Triton
_TOLERANCE = 1e-4
# of the batch: a kernel is compiled once, and not again for sizes of another kind
_SIZES = ("steps", "batch")


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, weights, biases, states, saved, steps, batch,
    hidden: tl.constexpr, width: tl.constexpr, videos: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0).to(tl.int64)
    video, unit = tl.program_id(1) * videos + tl.arange(0, videos), tl.arange(0, width)
    inside = (video < batch)[:, None] & (unit < hidden)[None, :]
    square = (unit < hidden)[:, None] & (unit < hidden)[None, :]
    # (from, to), as the state is multiplied from the left
    matrix = weights + head * 3 * hidden * hidden + unit[None, :] * hidden + unit[:, None]
    to_reset = tl.load(matrix, square, 0)
    to_update = tl.load(matrix + hidden * hidden, square, 0)
    to_candidate = tl.load(matrix + 2 * hidden * hidden, square, 0)
    bias = biases + head * 3 * hidden + unit
    bias_reset = tl.load(bias, unit < hidden, 0)
    bias_update = tl.load(bias + hidden, unit < hidden, 0)
    bias_candidate = tl.load(bias + 2 * hidden, unit < hidden, 0)
    state = tl.zeros((videos, width), tl.float32)
    for step in range(steps):
        row = (head * steps + step) * batch + video
        gate = gates + row[:, None] * 3 * hidden + unit[None, :]
        reset = tl.dot(state, to_reset, input_precision="ieee") + bias_reset[None, :]
        reset = tl.sigmoid(tl.load(gate, inside, 0) + reset)
        update = tl.dot(state, to_update, input_precision="ieee") + bias_update[None, :]
        update = tl.sigmoid(tl.load(gate + hidden, inside, 0) + update)
        own = tl.dot(state, to_candidate, input_precision="ieee") + bias_candidate[None, :]
        # tanh(x) = 2 · sigmoid(2x) − 1
        candidate = 2 * tl.sigmoid(2 * (tl.load(gate + 2 * hidden, inside, 0) + reset * own)) - 1
        state = candidate + update * (state - candidate)
        tl.store(states + row[:, None] * hidden + unit[None, :], state, inside)
        kept = saved + row[:, None] * 4 * hidden + unit[None, :]
        tl.store(kept, reset, inside)
        tl.store(kept + hidden, update, inside)
        tl.store(kept + 2 * hidden, candidate, inside)
        tl.store(kept + 3 * hidden, own, inside)


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _backward_kernel(  # type: ignore[no-untyped-def]
    gradients, weights, states, saved, to_gates, to_own, steps, batch,
    hidden: tl.constexpr, width: tl.constexpr, videos: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0).to(tl.int64)
    video, unit = tl.program_id(1) * videos + tl.arange(0, videos), tl.arange(0, width)
    inside = (video < batch)[:, None] & (unit < hidden)[None, :]
    square = (unit < hidden)[:, None] & (unit < hidden)[None, :]
    # (to, from): gradients pass the weights backwards
    matrix = weights + head * 3 * hidden * hidden + unit[:, None] * hidden + unit[None, :]
    of_reset = tl.load(matrix, square, 0)
    of_update = tl.load(matrix + hidden * hidden, square, 0)
    of_candidate = tl.load(matrix + 2 * hidden * hidden, square, 0)
    carried = tl.zeros((videos, width), tl.float32)
    for done in range(steps):
        step = steps - 1 - done
        row = (head * steps + step) * batch + video
        here = row[:, None] * hidden + unit[None, :]
        kept = saved + row[:, None] * 4 * hidden + unit[None, :]
        reset, update = tl.load(kept, inside, 0), tl.load(kept + hidden, inside, 0)
        candidate, own = tl.load(kept + 2 * hidden, inside, 0), tl.load(kept + 3 * hidden, inside, 0)
        before = tl.load(states + here - batch * hidden, inside & ((video * 0 + step) > 0)[:, None], 0)
        gradient = tl.load(gradients + here, inside, 0) + carried
        at_candidate = gradient * (1 - update) * (1 - candidate * candidate)
        at_update = gradient * (before - candidate) * update * (1 - update)
        at_reset = at_candidate * own * reset * (1 - reset)
        at_own = at_candidate * reset
        carried = gradient * update
        carried += tl.dot(at_reset, of_reset, input_precision="ieee")
        carried += tl.dot(at_update, of_update, input_precision="ieee")
        carried += tl.dot(at_own, of_candidate, input_precision="ieee")
        gate = to_gates + row[:, None] * 3 * hidden + unit[None, :]
        tl.store(gate, at_reset, inside)
        tl.store(gate + hidden, at_update, inside)
        tl.store(gate + 2 * hidden, at_candidate, inside)
        tl.store(to_own + here, at_own, inside)


class KernelGRU(torch.autograd.Function):
    """K one-layer GRUs over K batches, from zero states, in float32; gates in the order r, z, n."""

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
        heads, time, batch, _ = inputs.shape
        hidden = weight_hh.shape[2]
        flat = inputs.reshape(heads, time * batch, -1)
        gates = torch.baddbmm(bias_ih.unsqueeze(1), flat, weight_ih.transpose(1, 2))
        states = inputs.new_empty(heads, time, batch, hidden)
        saved = inputs.new_empty(heads, time, batch, 4 * hidden)
        pieces = (gates, weight_hh.contiguous(), bias_hh.contiguous(), states, saved)
        with torch.cuda.device_of(inputs):  # type: ignore[no-untyped-call]
            _forward_kernel[_grid(heads, batch)](*pieces, time, batch, hidden, _width(hidden), _VIDEOS)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, states, saved)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all arguments of `forward`."""
        inputs, weight_ih, weight_hh, states, saved = ctx.saved_tensors
        heads, time, batch, hidden = states.shape
        to_gates = inputs.new_empty(heads, time * batch, 3 * hidden)
        to_own = inputs.new_empty(heads, time * batch, hidden)
        pieces = (gradients[0].contiguous(), weight_hh.contiguous(), states, saved, to_gates, to_own)
        with torch.cuda.device_of(inputs):  # type: ignore[no-untyped-call]
            _backward_kernel[_grid(heads, batch)](*pieces, time, batch, hidden, _width(hidden), _VIDEOS)
        to_hidden = torch.cat([to_gates[:, :, : 2 * hidden], to_own], dim=2)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        flat, before = inputs.reshape(heads, time * batch, -1), before.view(heads, time * batch, hidden)
        to_inputs = torch.bmm(to_gates, weight_ih).view_as(inputs) if ctx.needs_input_grad[0] else None
        return (
            to_inputs,
            torch.bmm(to_gates.transpose(1, 2), flat),
            torch.bmm(to_hidden.transpose(1, 2), before),
            to_gates.sum(1),
            to_hidden.sum(1),
        )


def _grid(heads: int, batch: int) -> tuple[int, int]:
    return heads, -(-batch // _VIDEOS)


def _width(hidden: int) -> int:
    return max(_SMALLEST_BLOCK, 1 << (hidden - 1).bit_length())


def difference_from_cpu(hidden: int, device: torch.device) -> str:
    """Return in what the kernel differs from `nn.GRU` on the CPU, on a small problem; "" if in nothing."""
    heads, time, batch, width = 2, 40, 20, 8
    shapes = ((heads, time, batch, width), *((heads, 3 * hidden, size) for size in (width, hidden)))
    generator = torch.Generator().manual_seed(0)
    values = [
        (torch.rand(shape, generator=generator) - 0.5).requires_grad_()
        for shape in (*shapes, *[(heads, 3 * hidden)] * 2)
    ]
    outer = torch.rand(heads, time, batch, hidden, generator=generator)
    results: list[tuple[Tensor, ...]] = []
    with torch.enable_grad():
        for states in (KernelGRU.apply(*(value.to(device) for value in values)).cpu(), _by_torch(*values)):
            results.append((states.detach(), *torch.autograd.grad(states, values, outer)))
    for name, one, other in zip(("states", *["gradients"] * 5), *results, strict=True):
        gap = float((one - other).abs().max() / other.abs().max())
        if not gap <= _TOLERANCE:
            return f"its {name} differ by {gap:.1g} of the largest value"
    return ""


def _by_torch(inputs: Tensor, *weights: Tensor) -> Tensor:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    network = nn.GRU(inputs.shape[3], weights[1].shape[2])
    heads = (
        functional_call(network, dict(zip(names, own, strict=True)), (values,))[0]
        for values, *own in zip(inputs, *weights, strict=True)
    )
    return torch.stack(list(heads))
