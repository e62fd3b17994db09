"""What a network sees of a frame: the whole of it, a smaller copy, or crops."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms import functional
from torchvision.transforms.functional import InterpolationMode

from vqafeat.registry import Registry
from vqafeat.store.types import uniform_frames

SHORT_SIDE = 540
CROP_SIDE = 768
CROPS = 4


@dataclass(frozen=True)
class View:
    """One way to look at frames.

    Attributes:
        parts: (frame, channel, height, width) → the parts of every frame that a network sees, at the same
            places in all; its rows for the parts are averaged.
        size: (height, width) of a frame → that of a part.
        described: what it does, for the identity.
    """

    parts: Callable[[Tensor], list[Tensor]]
    size: Callable[[int, int], tuple[int, int]]
    described: str


VIEWS: Registry[View] = Registry("view")


def _whole(frames: Tensor) -> list[Tensor]:
    return [frames]


def _short_size(height: int, width: int) -> tuple[int, int]:
    scale = SHORT_SIDE / min(height, width)
    return (SHORT_SIDE, round(width * scale)) if height <= width else (round(height * scale), SHORT_SIDE)


def _short(frames: Tensor) -> list[Tensor]:
    size = _short_size(*frames.shape[2:])
    if size == tuple(frames.shape[2:]):
        return [frames]
    return [functional.resize(frames, list(size), InterpolationMode.BILINEAR, antialias=True)]


def _crop_size(height: int, width: int) -> tuple[int, int]:
    return min(height, CROP_SIDE), min(width, CROP_SIDE)


def crop_places(height: int, width: int) -> list[tuple[int, int]]:
    """Return (top, left) of the crops in frames of this size: drawn once for the size, so the same in all
    frames and in every run.
    """
    crop_height, crop_width = _crop_size(height, width)
    random = np.random.default_rng([height, width])
    tops = random.integers(0, height - crop_height + 1, CROPS).tolist()
    lefts = random.integers(0, width - crop_width + 1, CROPS).tolist()
    # a frame that is no larger than a crop is seen once, not four times
    return list(dict.fromkeys(zip(tops, lefts, strict=True)))


def _crops(frames: Tensor) -> list[Tensor]:
    height, width = _crop_size(*frames.shape[2:])
    return [
        frames[:, :, top : top + height, left : left + width] for top, left in crop_places(*frames.shape[2:])
    ]


VIEWS.add("full", View(_whole, lambda height, width: (height, width), "full"))
VIEWS.add(
    "short540", View(_short, _short_size, f"resized to a short side of {SHORT_SIDE}, bilinear, antialiased")
)
VIEWS.add(
    "crops768",
    View(
        _crops,
        _crop_size,
        f"{CROPS} crops of {CROP_SIDE}x{CROP_SIDE} (a shorter side whole) at places drawn by frame size, "
        f"averaged",
    ),
)


@dataclass(frozen=True)
class FrameRule:
    """A choice of frames.

    Attributes:
        picks: number of frames of the video → the indices to see, increasing; None where every frame is seen,
            whatever the number.
        described: for the identity.
    """

    frame_indices: Callable[[int], list[int]] | None
    described: str


FRAME_RULES: Registry[FrameRule] = Registry("frame rule")
FRAME_RULES.add("every", FrameRule(None, "every frame"))
FRAME_RULES.add(
    "uniform128", FrameRule(lambda frames: uniform_frames(frames, 128), "128 frames at equal intervals")
)
