"""Views and choices of frames: sizes, places, and torchvision's own resizing."""

import numpy as np
import pytest
import torch
from PIL import Image

from vqafeat.backbones.views import CROP_SIDE, FRAME_RULES, VIEWS, crop_corners


def ramp(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    return (
        torch.stack([rows.expand(height, width), columns.expand(height, width), rows + columns])
        .float()
        .unsqueeze(0)
    )


@pytest.mark.parametrize("view", list(VIEWS))
@pytest.mark.parametrize("size", [(540, 960), (1080, 1920), (800, 600), (300, 2000), (33, 47)])
def test_views__parts_have_the_stated_size(view: str, size: tuple[int, int]) -> None:
    parts = VIEWS[view].parts(ramp(*size))
    assert {tuple(part.shape[2:]) for part in parts} == {VIEWS[view].size(*size)}


def smooth_picture(width: int, height: int) -> tuple[Image.Image, torch.Tensor]:
    """Return a picture for Pillow, and the same one as frames of one."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return picture, torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).unsqueeze(0).float()


def test_short540__resizes_as_pillow() -> None:
    smooth, frames = smooth_picture(960, 720)
    (part,) = VIEWS["short540"].parts(frames)
    expected = np.asarray(smooth.resize((720, 540), Image.Resampling.BILINEAR)).astype(np.float32)
    np.testing.assert_allclose(
        part[0].permute(1, 2, 0).numpy(), expected, atol=1.01
    )  # Pillow rounds to whole numbers, twice
    assert VIEWS["short540"].size(1920, 1080) == (960, 540)
    same = torch.rand(1, 3, 540, 960)
    assert VIEWS["short540"].parts(same)[0] is same


def test_crops768__are_at_the_same_places_in_all_frames_and_runs() -> None:
    frames = torch.cat([ramp(1080, 1920), ramp(1080, 1920) + 1])
    parts = VIEWS["crops768"].parts(frames)
    assert len(parts) == 4
    assert [(int(part[0, 0, 0, 0]), int(part[0, 1, 0, 0])) for part in parts] == crop_corners(1080, 1920)
    assert all(torch.equal(part[1], part[0] + 1) for part in parts)
    assert len(set(crop_corners(1080, 1920))) == 4
    assert crop_corners(1080, 1920) != crop_corners(1080, 1922)


def test_crop_corners__of_short_sides_and_small_frames() -> None:
    assert {top for top, _ in crop_corners(540, 960)} == {0}
    assert VIEWS["crops768"].size(540, 960) == (540, CROP_SIDE)
    assert crop_corners(480, 640) == [(0, 0)]


def test_crop_corners__are_four_unless_nothing_can_move() -> None:
    # equal draws count twice: the paper averages four crops
    assert all(len(crop_corners(540, width)) == 4 for width in range(769, 1300))
    assert len(crop_corners(768, 768)) == 1


def test_center112__resizes_and_crops_as_hara() -> None:
    smooth, frames = smooth_picture(350, 200)
    (part,) = VIEWS["center112"].parts(frames)
    # `Scale(112)` and `CenterCrop(112)` of the released spatial_transforms.py
    small = smooth.resize((int(112 * 350 / 200), 112), Image.Resampling.BILINEAR)
    left = round((small.width - 112) / 2)
    expected = np.asarray(small.crop((left, 0, left + 112, 112))).astype(np.float32)
    np.testing.assert_allclose(part[0].permute(1, 2, 0).numpy(), expected, atol=1.01)
    assert VIEWS["center112"].size(540, 960) == (112, 112)


def test_uniform128__takes_frames_at_equal_intervals() -> None:
    frame_indices = FRAME_RULES["uniform128"].frame_indices
    assert frame_indices is not None
    assert FRAME_RULES["every"].frame_indices is None
    for frames in (129, 240, 1000, 4096):
        steps = np.diff(frame_indices(frames))
        assert (len(frame_indices(frames)), frame_indices(frames)[0]) == (128, 0)
        assert set(steps) <= {frames // 128, frames // 128 + 1}
        assert frames - frame_indices(frames)[-1] <= frames // 128 + 1
    assert frame_indices(128) == list(range(128))
    assert frame_indices(5) == [0, 1, 2, 3, 4]
