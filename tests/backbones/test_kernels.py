"""The kernels of a GPU under Triton's interpreter, against PyTorch's operations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vqafeat.backbones.base import gap_gsp
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.video.frame import FrameLayout
from vqafeat.video.rgb import Frames, to_rgb

kernels = pytest.importorskip("vqafeat.backbones.kernels", reason="triton is absent")

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


def planes(layout: FrameLayout, frames: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, layout.nbytes), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_prepare__equals_conversion_and_normalisation(matrix: int, full_range: bool) -> None:
    layout = FrameLayout(46, 34, True, matrix, full_range, 0)
    result = kernels.prepare(planes(layout), layout, MEAN, STD, torch.float16)
    expected = ((to_rgb(planes(layout), layout).float().div(255) - MEAN) / STD).half()
    assert torch.equal(result, expected)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(3, 70, 9, 5), (2, 70, 3, 9, 5), (2, 5, 1, 1), (1, 130, 13, 17)])
def test_pool__equals_gap_gsp(shape: tuple[int, ...]) -> None:
    maps = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 3).half()
    expected = gap_gsp(maps)
    torch.testing.assert_close(kernels.pool(maps), expected, rtol=2e-6, atol=2e-6)
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    torch.testing.assert_close(
        kernels.pool(maps.contiguous(memory_format=layout)), expected, rtol=2e-6, atol=2e-6
    )


def test_checked_kernel__is_used_once_it_was_right() -> None:
    calls: list[str] = []

    def kernel(values: Tensor) -> Tensor:
        calls.append("kernel")
        return values * (1 + 1e-7)

    def plain(values: Tensor) -> Tensor:
        calls.append("plain")
        return values

    checked = kernels.CheckedKernel(kernel, plain, 1e-5)
    assert checked(torch.ones(3)).tolist() == [1, 1, 1]
    checked(torch.ones(3))
    assert calls == ["plain", "kernel", "kernel"]
    assert checked.trusted


def refused(values: Tensor) -> Tensor:
    raise RuntimeError("no such instruction")


@pytest.mark.parametrize(
    ("kernel", "problem"),
    [
        (lambda values: values + 1, "its result differs from the plain path's by 1"),
        (lambda values: values * torch.nan, "its result differs from the plain path's by nan"),
        (refused, "RuntimeError: no such instruction"),
    ],
)
def test_checked_kernel__is_left_with_a_warning_if_wrong(
    kernel: Callable[[Tensor], Tensor], problem: str
) -> None:
    checked = kernels.CheckedKernel(kernel, torch.clone, 1e-5)
    with pytest.warns(RuntimeWarning, match=rf"the GPU kernel '.*' is not used: {problem}"):
        assert checked(torch.ones(3)).tolist() == [1, 1, 1]
    assert checked(torch.full((2,), 5.0)).tolist() == [5, 5]


def test_checked_kernel__passes_on_a_lack_of_memory() -> None:
    def kernel(values: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    checked = kernels.CheckedKernel(kernel, torch.clone, 1e-5)
    with pytest.raises(torch.OutOfMemoryError):
        checked(torch.ones(3))
    assert checked.trusted is None


def network(name: str) -> Network:
    extractors = build_extractors([name], {name.partition("@")[0]: "random:1"}, precision="fp32")
    return shared_networks(extractors, torch.device("cpu"))[0]


@pytest.mark.parametrize("name", ["squeezenet1_0", "slowfast-fast"])
def test_network__rows_by_kernels_equal_those_by_operations(name: str) -> None:
    plain, fast = network(name), network(name)
    fast.use_kernels()
    layout = FrameLayout(64, 64, True, 1, False, 0)
    frames = Frames(planes(layout, 32 if plain.backbone.clips else 2), layout)
    expected = plain.rows(plain.inputs(frames))[name]
    for _ in range(2):
        torch.testing.assert_close(fast.rows(fast.inputs(frames))[name], expected, rtol=1e-5, atol=1e-5)
    assert fast._normalised.trusted, fast._pooled.trusted  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "layout", [FrameLayout(64, 64, True, 1, False, 1), FrameLayout(64, 64, False, 2, True, 0)]
)
def test_network__kernels_leave_turned_and_packed_frames_alone(layout: FrameLayout) -> None:
    fast = network("squeezenet1_0")
    fast.use_kernels()
    frames = Frames(planes(layout, 2), layout)
    (part,) = fast.inputs(frames)
    assert torch.equal(part, ((to_rgb(frames.data, layout).float() / 255 - MEAN) / STD))
    assert fast._normalised.trusted is None  # type: ignore[attr-defined]
