"""Convolution, batch norm, addition and ReLU in one kernel: what a frozen compiler would make of a network, without compiling.

`fused` folds each batch norm into its convolution, and rewrites convolution (+ addition) (+ ReLU) to one step of oneDNN on a CPU and
of cuDNN on a GPU. On two cores a ResNet-50 runs as fast as Inductor's frozen graph (tests/bench/RESULTS.md), at once and at any size.
"""

import operator
from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import relu
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_HAS_ONEDNN = bool(torch._C._has_mkldnn)
_PACKED_SIZES = 2  # a network under two views sees two sizes in turn


def fused(network: nn.Module) -> nn.Module:
    """Return a network that computes the same, up to rounding, in fewer passes over memory; without ReLU or norms, the network itself.

    Args:
        network: in eval mode and, with ReLU or batch norms, traceable by torch.fx; it is left as it was.
    """
    if not any(isinstance(module, (*_NORMS, nn.ReLU)) for module in network.modules()):
        return network
    traced = fx.symbolic_trace(network)
    _fold_norms(traced)
    for node in list(traced.graph.nodes):
        if isinstance(_module_of(traced, node), _CONVOLUTIONS):
            _fuse_one(traced, node)
    _sum_in_place(traced)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(False)


def _module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _replace(traced: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    # under a name of its own: the traced network shares its modules with the one that was given
    name = f"fused_{node.name}"
    traced.add_submodule(name, module)
    node.target = name


def _fold_norms(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        norm, before = _module_of(traced, node), node.args[0] if node.args else None
        if not isinstance(norm, _NORMS) or not isinstance(before, fx.Node) or len(before.users) > 1:
            continue
        convolution = _module_of(traced, before)
        if isinstance(convolution, _CONVOLUTIONS):
            _replace(traced, before, fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)


def _fuse_one(traced: fx.GraphModule, node: fx.Node) -> None:
    convolution = cast("nn.Conv2d | nn.Conv3d", _module_of(traced, node))
    end, summand = node, None
    user = _only_user(end)
    if user is not None and user.op == "call_function" and user.target in _ADDITIONS:
        others = [value for value in user.args if value is not end]
        last = _only_user(user)
        # the summand has to exist before the convolution runs in its new place, and a sum without ReLU is left to torch
        if len(others) == 1 and isinstance(others[0], fx.Node) and last is not None and _is_relu(traced, last):
            end, summand = last, others[0]
    elif user is not None and _is_relu(traced, user):
        end = user
    step = FusedConvolution(convolution, relu=end is not node)
    name = f"step_{node.name}"
    traced.add_submodule(name, step)
    with traced.graph.inserting_after(end):
        new = traced.graph.call_module(name, (node.args[0],) if summand is None else (node.args[0], summand))
    end.replace_all_uses_with(new)
    for gone in dict.fromkeys([end, *([cast(fx.Node, user)] if summand is not None else []), node]):
        traced.graph.erase_node(gone)


def _sum_in_place(traced: fx.GraphModule) -> None:
    """Let a step write over its summand where nothing reads the summand afterwards."""
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        step = _module_of(traced, node)
        if isinstance(step, FusedConvolution) and len(node.args) == 2:
            summand = cast(fx.Node, node.args[1])
            last_read = all(order[user] <= order[node] for user in summand.users)
            step.in_place = last_read and isinstance(_module_of(traced, summand), FusedConvolution)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target in (relu, torch.relu)
    return isinstance(_module_of(traced, node), nn.ReLU)


class FusedConvolution(nn.Module):
    """A convolution, then the sum with a second input where one is given, then ReLU where asked for.

    Attributes:
        in_place: the second input may be written over.

    Raises:
        ValueError: the convolution pads otherwise than with zeros, which no fused kernel knows.
    """

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, relu: bool) -> None:
        super().__init__()
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"{convolution} cannot be fused: padding has to be zeros of a stated width")
        self.convolution, self._relu = convolution, relu
        self.in_place = False
        self._packed: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()

    def forward(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """Return relu(convolution(x) + summand), each part where it is asked for; (batch, channel, …) in and out."""
        if x.device.type == "cpu" and _HAS_ONEDNN:
            return self._by_onednn(x, summand)
        if x.device.type == "cuda" and self._relu:
            return self._by_cudnn(x, summand)
        found = self.convolution(x)
        if summand is not None:
            found = found.add_(summand)
        return cast(Tensor, torch.relu_(found) if self._relu else found)

    def _shape(self) -> tuple[list[int], list[int], list[int], int]:
        convolution = self.convolution
        return list(cast("tuple[int, ...]", convolution.padding)), list(convolution.stride), list(convolution.dilation), convolution.groups

    def _by_onednn(self, x: Tensor, summand: Tensor | None) -> Tensor:
        weight, bias = self._packed_for(x), self.convolution.bias
        if summand is None:
            return cast(
                Tensor,
                torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *self._shape(), "relu" if self._relu else "none", [], ""),
            )
        common: tuple[Any, ...] = (weight, bias, *self._shape(), "add", 1.0, "relu", [], "")
        if self.in_place:
            return cast(Tensor, torch.ops.mkldnn._convolution_pointwise_.binary(summand, x, *common))
        return cast(Tensor, torch.ops.mkldnn._convolution_pointwise.binary(x, summand, *common))

    def _packed_for(self, x: Tensor) -> Tensor:
        """Return the weights in the order that oneDNN wants for inputs of this size: told the size, it is half as fast again."""
        key = (tuple(x.shape), x.dtype)
        if key not in self._packed:
            while len(self._packed) >= _PACKED_SIZES:
                self._packed.popitem(last=False)
            self._packed[key] = torch.ops.mkldnn._reorder_convolution_weight(self.convolution.weight, *self._shape(), list(x.shape))
        self._packed.move_to_end(key)
        return self._packed[key]

    def _by_cudnn(self, x: Tensor, summand: Tensor | None) -> Tensor:
        weight, bias = self.convolution.weight, self.convolution.bias
        padding, stride, dilation, groups = self._shape()
        if summand is None:
            return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, dilation, groups)
        return torch.cudnn_convolution_add_relu(x, weight, summand, 1.0, bias, stride, padding, dilation, groups)
