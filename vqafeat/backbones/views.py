"""Views of a frame (the whole frame, a smaller copy, or crops), and rules for which frames are seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SHORT_SIDE = 540
CROP_SIDE = 768
CROPS = 4
CUBE_SIDE = 112


@dataclass(frozen=True)
class View:
    """What a network sees of a frame: one or more parts, whose rows are averaged."""

    # (frame, channel, height, width) → the parts, at the same positions in all frames
    parts: "Callable[[Tensor], list[Tensor]]"
    size: Callable[[int, int], tuple[int, int]]  # (height, width) of a frame → that of a part
    described: str  # for the identity
    is_whole: bool = False  # whether the only part is the frame itself


@dataclass(frozen=True)
class FrameRule:
    """Which frames a network sees."""

    frame_indices: Callable[[int], list[int]] | None  # number of frames → increasing indices; None for all
    described: str  # for the identity
    # of the frames in clips; at 1, clips are those of consecutive frames, and rows those around the indices
    stride: int = 1


def _short_size(height: int, width: int) -> tuple[int, int]:
    scale = SHORT_SIDE / min(height, width)
    return (SHORT_SIDE, round(width * scale)) if height <= width else (round(height * scale), SHORT_SIDE)


def _short(frames: "Tensor") -> "list[Tensor]":
    from torchvision.transforms.functional import InterpolationMode, resize

    size = _short_size(*frames.shape[2:])
    return [resize(frames, list(size), InterpolationMode.BILINEAR, antialias=True)]


def _crop_size(height: int, width: int) -> tuple[int, int]:
    return min(height, CROP_SIDE), min(width, CROP_SIDE)


def crop_corners(height: int, width: int) -> list[tuple[int, int]]:
    """Return (top, left) of the crops, which are random but depend only on the frame size."""
    crop_height, crop_width = _crop_size(height, width)
    random = np.random.default_rng([height, width])
    tops = random.integers(0, height - crop_height + 1, CROPS).tolist()
    lefts = random.integers(0, width - crop_width + 1, CROPS).tolist()
    # a frame that is no larger than a crop is seen once; elsewhere, crops that agree by chance both count
    fits = (crop_height, crop_width) == (height, width)
    return list(zip(tops, lefts, strict=True))[: 1 if fits else CROPS]


def _crops(frames: "Tensor") -> "list[Tensor]":
    height, width = _crop_size(*frames.shape[2:])
    corners = crop_corners(*frames.shape[2:])
    return [frames[:, :, top : top + height, left : left + width] for top, left in corners]


def _center(frames: "Tensor") -> "list[Tensor]":
    from torchvision.transforms.functional import InterpolationMode, center_crop, resize

    small = resize(frames, [CUBE_SIDE], InterpolationMode.BILINEAR, antialias=True)
    return [center_crop(small, [CUBE_SIDE, CUBE_SIDE])]


def _uniform128(frames: int) -> list[int]:
    from vqafeat.store.types import uniform_frames  # here, because the store imports zarr

    return uniform_frames(frames, 128)


_CROPS_WORDS = f"{CROPS} crops of {CROP_SIDE}x{CROP_SIDE} (a shorter side whole)"
VIEWS = {
    "full": View(lambda frames: [frames], lambda height, width: (height, width), "full", is_whole=True),
    "short540": View(_short, _short_size, f"resized to a short side of {SHORT_SIDE}, bilinear, antialiased"),
    "crops768": View(_crops, _crop_size, f"{_CROPS_WORDS} at places drawn by frame size, all averaged"),
    "center112": View(
        _center,
        lambda height, width: (CUBE_SIDE, CUBE_SIDE),
        f"resized to a short side of {CUBE_SIDE}, bilinear, antialiased, centre crop",
    ),
}
FRAME_RULES = {
    "every": FrameRule(None, "every frame"),
    "stride2": FrameRule(lambda frames: list(range(0, frames, 2)), "every second frame", stride=2),
    "uniform128": FrameRule(_uniform128, "128 frames at equal intervals"),
}
