"""Planes to RGB: against swscale itself, on every matrix and range that is handed over as planes."""

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange

from vqafeat.errors import ArgumentError
from vqafeat.video.frame import COEFFICIENTS, FrameLayout, layout_of
from vqafeat.video.rgb import Frames, joined, to_rgb

SIZES = [(64, 48), (854, 480), (406, 720), (2, 2)]


def random_picture(
    width: int, height: int, pixel_format: str, matrix: int, full_range: bool
) -> tuple[av.VideoFrame, np.ndarray]:
    random = np.random.default_rng(width + matrix)
    flat = random.integers(0, 256, width * height * 3 // 2, dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), format=pixel_format)
    picture.colorspace = matrix
    picture.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    return picture, flat


@pytest.mark.parametrize("matrix", COEFFICIENTS)
@pytest.mark.parametrize(
    ("pixel_format", "full_range"), [("yuv420p", False), ("yuv420p", True), ("yuvj420p", True)]
)
@pytest.mark.parametrize("size", SIZES)
def test_to_rgb__planes_equal_swscale(
    size: tuple[int, int], pixel_format: str, full_range: bool, matrix: int
) -> None:
    picture, flat = random_picture(*size, pixel_format, matrix, full_range)
    layout = layout_of(picture)
    assert layout == FrameLayout(*size, planes=True, matrix=matrix, full_range=full_range, quarter_turns=0)
    expected = picture.to_ndarray(format="rgb24")
    result = to_rgb(torch.from_numpy(np.stack([flat, flat[::-1].copy()])), layout)
    np.testing.assert_array_equal(result[0].permute(1, 2, 0).numpy(), expected)
    assert not torch.equal(result[0], result[1])


@pytest.mark.parametrize(("size", "matrix"), [((63, 48), 1), ((64, 48), 9)])
def test_layout_of__leaves_inexact_conversions_to_swscale(size: tuple[int, int], matrix: int) -> None:
    picture = av.VideoFrame(*size, "yuv420p")
    picture.colorspace = matrix
    assert not layout_of(picture).planes
    with pytest.raises(
        ArgumentError, match=f"planes of {size[0]}x{size[1]} with matrix {matrix} have no exact conversion"
    ):
        FrameLayout(*size, planes=True, matrix=matrix, full_range=False, quarter_turns=0)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_to_rgb__turns_as_numpy_and_shares_no_memory(turns: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    layout = FrameLayout(6, 4, planes=False, matrix=0, full_range=False, quarter_turns=turns)
    memory = torch.from_numpy(rgb.reshape(2, -1).copy())
    result = to_rgb(memory, layout)
    memory.zero_()
    np.testing.assert_array_equal(result.permute(0, 2, 3, 1).numpy(), np.rot90(rgb, turns, (1, 2)))
    assert layout.shown_size == ((4, 6) if turns % 2 else (6, 4))


def test_frame_layout__refuses_a_frame_without_samples() -> None:
    with pytest.raises(ArgumentError, match="a frame of 0x4 has no samples"):
        FrameLayout(0, 4, planes=False, matrix=0, full_range=False, quarter_turns=0)


def test_frames__have_the_size_that_is_shown_and_join_as_rgb() -> None:
    upright = FrameLayout(4, 2, True, 1, False, 0)
    turned = FrameLayout(2, 4, True, 1, False, 1)
    pieces = [
        Frames(torch.arange(2 * layout.nbytes, dtype=torch.uint8).view(2, -1), layout)
        for layout in (upright, turned)
    ]
    assert [piece.size for piece in pieces] == [(2, 4), (2, 4)]
    together = joined(pieces)
    assert together.layout is None
    assert torch.equal(together.data, torch.cat([to_rgb(piece.data, piece.layout) for piece in pieces]))
    alike = joined([pieces[0], pieces[0][[1, 0]]])
    assert alike.layout == upright
    assert torch.equal(alike.data, torch.cat([pieces[0].data, pieces[0].data.flip(0)]))
