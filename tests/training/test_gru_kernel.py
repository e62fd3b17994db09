"""The kernels of the GRU under Triton's interpreter, against `torch.nn.GRU`; what happens without them."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from vqafeat.training import stacked_heads
from vqafeat.training.stacked_heads import kernel_for, stacked_states

gru_kernel = pytest.importorskip("vqafeat.training.gru_kernel", reason="triton is absent: pip install triton")


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[..., Tensor] | None]:
    monkeypatch.setattr(stacked_heads, "kernel_for", kernel_for.__wrapped__)
    return kernel_for.__wrapped__


@pytest.mark.parametrize(("hidden", "time", "batch"), [(3, 4, 1), (32, 5, 17), (33, 2, 3)])
def test_kernel_gru__equals_each_gru_with_gradients(
    monkeypatch: pytest.MonkeyPatch, hidden: int, time: int, batch: int
) -> None:
    monkeypatch.setattr(stacked_heads, "_kernel", lambda *_: gru_kernel.KernelGRU.apply)
    torch.manual_seed(0)
    networks = [nn.GRU(5, hidden) for _ in range(2)]
    inputs = torch.randn(2, time, batch, 5, requires_grad=True)
    outer = torch.randn(2, time, batch, hidden)
    parameters = [value for network in networks for value in network.parameters()]
    results = []
    for states in (
        stacked_states(networks, inputs),
        torch.stack([network(own)[0] for network, own in zip(networks, inputs, strict=True)]),
    ):
        results.append((states, *torch.autograd.grad(states, [inputs, *parameters], outer)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("factor", "problem"), [(1, ""), (2, "states differ by 1 of"), (torch.nan, "differ by nan")]
)
def test_difference_from_cpu__names_what_differs(
    monkeypatch: pytest.MonkeyPatch, factor: float, problem: str
) -> None:
    kernel = gru_kernel.KernelGRU.apply
    changed = SimpleNamespace(apply=lambda *values: factor * kernel(*values))
    monkeypatch.setattr(gru_kernel, "KernelGRU", changed)
    result = gru_kernel.difference_from_cpu(4, torch.device("cpu"))
    assert (result == "") == (problem == "")
    assert problem in result


def test_kernel_for__a_kernel_with_wrong_results_is_not_used(
    monkeypatch: pytest.MonkeyPatch, uncached: Callable[..., Callable[..., Tensor] | None]
) -> None:
    device = torch.device("cpu")
    assert uncached(device, 4) == gru_kernel.KernelGRU.apply
    assert uncached(device, gru_kernel.LARGEST_HIDDEN + 1) is None
    monkeypatch.setattr(gru_kernel, "difference_from_cpu", lambda *_: "its states differ")
    with pytest.warns(
        RuntimeWarning, match=r"^the GPU kernel of the GRU is not used: its states .*; cuDNN takes its place"
    ):
        assert uncached(device, 4) is None


def test_kernel_for__an_error_of_triton_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, uncached: Callable[..., Callable[..., Tensor] | None]
) -> None:
    def failing(*_: object) -> str:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(gru_kernel, "difference_from_cpu", failing)
    with pytest.warns(RuntimeWarning, match="is not used: RuntimeError: no compiler; cuDNN"):
        assert uncached(torch.device("cpu"), 4) is None
    monkeypatch.setitem(sys.modules, "vqafeat.training.gru_kernel", None)
    with pytest.warns(RuntimeWarning, match="is not used: ModuleNotFoundError"):
        assert uncached(torch.device("cpu"), 4) is None


def test_kernel_for__out_of_memory_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, uncached: Callable[..., Callable[..., Tensor] | None]
) -> None:
    def full(*_: object) -> str:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(gru_kernel, "difference_from_cpu", full)
    with pytest.raises(torch.OutOfMemoryError):
        uncached(torch.device("cpu"), 4)


def test_stacked_states__on_a_gpu_without_the_kernel_are_of_each_gru(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu(list[Tensor]):
        device = torch.device("cuda")

    monkeypatch.setattr(stacked_heads, "kernel_for", lambda *_: None)
    networks = [nn.GRU(5, 4), nn.GRU(5, 4)]
    inputs = torch.randn(2, 3, 2, 5)
    states = stacked_states(networks, OnGpu(inputs))
    expected = torch.stack([network(own)[0] for network, own in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(states, expected)
