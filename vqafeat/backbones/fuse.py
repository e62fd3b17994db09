"""Convolution, batch norm, addition and ReLU in one kernel of oneDNN or, with ReLU, of cuDNN.

On two cores a ResNet-50 runs as fast as Inductor's frozen graph (tests/bench/RESULTS.md), but starts at once
and takes any size.
"""

import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn, relu_
from torch.nn.functional import pad, relu, relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

Activation = Literal["none", "relu", "relu6"]
Convolution = nn.Conv2d | nn.Conv3d

# compared by their exact type: a subclass may compute something else, as timm's norms with an activation do
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_ACTIVATIONS: dict[Any, Activation] = {
    **dict.fromkeys((nn.ReLU, relu, torch.relu), "relu"),
    **dict.fromkeys((nn.ReLU6, relu6), "relu6"),
}
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_ONEDNN_RELU6 = ("hardtanh", [0.0, 6.0], "")
_IN_PLACE: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": relu_,
    "relu6": partial(relu6, inplace=True),
}
_HAS_ONEDNN = bool(torch._C._has_mkldnn)
_PACKED_SIZES = 2  # a network under two views sees two sizes in turn
# times the duration of the separate steps; well above 1, so that the noise of a measurement does not decide
_SLOWEST_FUSED = 1.25
_TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class SamePad(nn.Module):
    """TensorFlow's "same" padding with zeros, before a convolution that pads nothing and has no dilation.

    The convolution divides sides by its stride, rounded up; its kernel is at least as large as the stride. If
    the number of zeros is odd, the additional one is below or to the right.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def totals(self, sides: Sequence[int]) -> list[int]:
        """Return the number of zeros that are added along each side, at both ends together."""
        return [self.kernel - self.stride + -side % self.stride for side in sides]

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channel, H + its total, W + its total)."""
        rows, columns = self.totals((maps.shape[-2], maps.shape[-1]))
        return pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def fused(network: nn.Module) -> nn.Module:
    """Return a network that computes the same, up to rounding, in fewer passes over memory.

    `network` is not changed. It has to be in eval mode, and traceable by torch.fx if it has a ReLU or a norm.
    """
    if not getattr(network, "is_traceable", True) or not any(
        type(module) in (*_NORMS, *_ACTIVATIONS) for module in network.modules()
    ):
        return network
    tracer = _Tracer()
    graph = tracer.trace(network)
    traced = fx.GraphModule(tracer.root, graph)
    _fold_norms(traced)
    for node in list(traced.graph.nodes):
        if type(_module_of(traced, node)) in _CONVOLUTIONS:
            _fuse_one(traced, node)
    _sum_in_place(traced)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(False)


def fold_shortcut_bias(network: nn.Module) -> None:
    """Move the bias of each fused step to the step that adds its result, if no other step reads that result.

    cuDNN's convolution needs one more pass over its result if it has a bias.
    """
    if not isinstance(network, fx.GraphModule):
        return
    for node in network.graph.nodes:
        step = _module_of(network, node)
        summand = cast(fx.Node, node.args[1]) if len(node.args) == 2 else None
        if not isinstance(step, FusedConvolution) or summand is None or len(summand.users) > 1:
            continue
        shortcut = _module_of(network, summand)
        if isinstance(shortcut, FusedConvolution) and shortcut.activation == "none":
            own, moved = step.convolution.bias, shortcut.convolution.bias
            if own is not None and moved is not None:
                own.data += moved.data
                shortcut.convolution.bias = None


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) is nn.Identity:
            return False  # it leaves no trace in the graph
        # convolutions and norms that a library has derived from torch's are layers too
        is_layer = isinstance(m, (*_CONVOLUTIONS, *_NORMS, SamePad))
        return is_layer or super().is_leaf_module(m, module_qualified_name)


def _module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _fold_norms(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        norm, before = _module_of(traced, node), node.args[0] if node.args else None
        if type(norm) not in _NORMS or not isinstance(before, fx.Node) or len(before.users) > 1:
            continue
        convolution = _module_of(traced, before)
        if type(convolution) in _CONVOLUTIONS:
            folded = fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm))
            # under a new name: the traced network shares its modules with the original
            before.target = f"fused_{before.name}"
            traced.add_submodule(before.target, folded)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)


def _fuse_one(traced: fx.GraphModule, node: fx.Node) -> None:
    """Replace a convolution, and the only readers of its result, an addition and an activation, by a step."""
    convolution = cast(Convolution, _module_of(traced, node))
    gone = [node]
    summand = _summand(node)
    if summand is not None:
        gone.append(cast(fx.Node, _only_user(node)))
    user = _only_user(gone[-1])
    activation: Activation = "none" if user is None else _activation(traced, user)
    if user is not None and activation != "none":
        gone.append(user)
    source = cast(fx.Node, node.args[0])
    padding = _module_of(traced, source)
    same_pad = padding if isinstance(padding, SamePad) else None
    if same_pad is not None:
        source = cast(fx.Node, source.args[0])
    name = f"step_{node.name}"
    traced.add_submodule(name, FusedConvolution(convolution, activation, same_pad))
    # after the last of them, where the summand exists
    with traced.graph.inserting_after(gone[-1]):
        new = traced.graph.call_module(name, (source,) if summand is None else (source, summand))
    gone[-1].replace_all_uses_with(new)
    for old in reversed(gone):
        traced.graph.erase_node(old)


def _summand(node: fx.Node) -> fx.Node | None:
    """Return what the only reader of a node adds to it; None if that is no sum of two nodes."""
    user = _only_user(node)
    if user is None or user.op != "call_function" or user.target not in _ADDITIONS or user.kwargs:
        return None
    others = [value for value in user.args if value is not node]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _sum_in_place(traced: fx.GraphModule) -> None:
    """Let a step write over its summand if another step computed it and no later node reads it."""
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        step = _module_of(traced, node)
        if isinstance(step, FusedConvolution) and len(node.args) == 2:
            summand = cast(fx.Node, node.args[1])
            # other layers may pass the summand's own memory on, as a dropout does
            readers = [
                isinstance(_module_of(traced, user), FusedConvolution) and order[user] <= order[node]
                for user in summand.users
            ]
            step.in_place = all(readers) and isinstance(_module_of(traced, summand), FusedConvolution)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _activation(traced: fx.GraphModule, node: fx.Node) -> Activation:
    module = _module_of(traced, node)
    return _ACTIVATIONS.get(node.target if module is None else type(module), "none")


class FusedConvolution(nn.Module):
    """activation(convolution(x) + summand) in one step; a `same_pad` pads x, and the convolution nothing."""

    def __init__(
        self, convolution: Convolution, activation: Activation = "none", same_pad: SamePad | None = None
    ) -> None:
        super().__init__()
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"{convolution} cannot be fused: padding has to be zeros of a stated width")
        self.convolution, self.activation, self._same_pad = convolution, activation, same_pad
        self.in_place = False  # whether the result may overwrite the summand
        self._padding = list(convolution.padding)
        self._rest = (list(convolution.stride), list(convolution.dilation), convolution.groups)
        self._packed: OrderedDict[tuple[Any, ...], tuple[Tensor, list[int]]] = OrderedDict()
        self._fused_by_size: dict[tuple[Any, ...], bool] = {}

    def forward(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """Return the (batch, channel, …) result."""
        # no fused kernel broadcasts a summand
        alike = summand is None or summand.shape == self._output_shape(x)
        if alike and x.device.type == "cpu" and _HAS_ONEDNN:
            return self._by_onednn(x, summand)
        if self._same_pad is not None:
            x = self._same_pad(x)
        is_fusible = alike and x.device.type == "cuda" and self.activation == "relu"
        if is_fusible and self._is_faster_fused(x, summand):
            return self._by_cudnn(x, summand)
        return self._apart(x, summand, alike)

    def _apart(self, x: Tensor, summand: Tensor | None, alike: bool = True) -> Tensor:
        total = self.convolution(x)
        if summand is not None:
            total = total.add_(summand) if alike else total + summand
        return cast(Tensor, total if self.activation == "none" else _IN_PLACE[self.activation](total))

    def _zeros(self, x: Tensor) -> list[int]:
        if self._same_pad is None:
            return [2 * width for width in self._padding]
        return self._same_pad.totals(x.shape[2:])

    def _output_shape(self, x: Tensor) -> tuple[int, ...]:
        sides = zip(x.shape[2:], self._zeros(x), self.convolution.kernel_size, *self._rest[:2], strict=True)
        sizes = (
            (side + zeros - dilation * (kernel - 1) - 1) // stride + 1
            for side, zeros, kernel, stride, dilation in sides
        )
        return (x.shape[0], self.convolution.out_channels, *sizes)

    def _by_onednn(self, x: Tensor, summand: Tensor | None) -> Tensor:
        weight, padding = self._packed_for(x)
        common: tuple[Any, ...] = (weight, self.convolution.bias, padding, *self._rest)
        kernel = torch.ops.mkldnn._convolution_pointwise
        if summand is None:
            activation = _ONEDNN_RELU6 if self.activation == "relu6" else (self.activation, [], "")
            return cast(Tensor, kernel(x, *common, *activation))
        common = (*common, "add", 1.0, "relu" if self.activation == "relu" else None, [], None)
        if self.in_place:
            total = torch.ops.mkldnn._convolution_pointwise_.binary(summand, x, *common)
        else:
            total = kernel.binary(x, summand, *common)
        # after a sum the kernel has only ReLU
        return cast(Tensor, _IN_PLACE["relu6"](total) if self.activation == "relu6" else total)

    def _packed_for(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Return the weights in oneDNN's order for inputs of this size, and the padding at each end.

        If oneDNN knows the size, it is 1.5 times as fast. It pads both ends equally, but "same" padding can
        need one more zero at the last end. Then both ends get the larger number, and the kernel gets a
        leading row or column of zeros, which cancels the additional zero.
        """
        key = (tuple(x.shape), x.dtype)
        if key not in self._packed:
            while len(self._packed) >= _PACKED_SIZES:
                self._packed.popitem(last=False)
            zeros = self._zeros(x)
            padding = [(total + 1) // 2 for total in zeros]
            odd = [width for total in reversed(zeros) for width in (total % 2, 0)]
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            weight = reorder(pad(self.convolution.weight, odd), padding, *self._rest, list(x.shape))
            self._packed[key] = (weight, padding)
        self._packed.move_to_end(key)
        return self._packed[key]

    def _by_cudnn(self, x: Tensor, summand: Tensor | None) -> Tensor:
        stride, dilation, groups = self._rest
        weight, rest = self.convolution.weight, (stride, self._padding, dilation, groups)
        if summand is None:
            return torch.cudnn_convolution_relu(x, weight, self.convolution.bias, *rest)
        return torch.cudnn_convolution_add_relu(x, weight, summand, 1.0, self.convolution.bias, *rest)

    def _is_faster_fused(self, x: Tensor, summand: Tensor | None) -> bool:
        """Return whether cuDNN has a fused step for inputs of this size that is correct and not slower."""
        key = (tuple(x.shape), x.dtype)
        if key not in self._fused_by_size:
            self._fused_by_size[key] = self._try_fused(x, summand)
        return self._fused_by_size[key]

    def _try_fused(self, x: Tensor, summand: Tensor | None) -> bool:
        expected = self._apart(x, summand)
        try:
            result = self._by_cudnn(x, summand)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return False  # cuDNN has no engine, or no workspace, for this step
        first, other = result[:1].float(), expected[:1].float()
        allowed = _TOLERANCES[x.dtype] * float(other.abs().max())
        if not float((first - other).abs().max()) <= allowed:
            return False
        fused_ms = milliseconds(partial(self._by_cudnn, x, summand))
        apart_ms = milliseconds(partial(self._apart, x, summand))
        return fused_ms <= _SLOWEST_FUSED * apart_ms


def milliseconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest time of a run on the GPU."""
    times = list[float]()
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)
