"""What the network sees of an image: its size, and the part that is cut out of it in training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqafeat.registry import Registry

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Sides:
    """The lengths, in samples, that a recipe states.

    Attributes:
        short_side: an image is made smaller to in training; never larger.
        crop_side: of the square that is cut out in training; an image that is smaller is enlarged to it.
        validation_short_side: an image is made smaller to in validation, where it is seen whole.
    """

    short_side: int
    crop_side: int
    validation_short_side: int


@dataclass(frozen=True)
class Preparation:
    """One way to bring an image to the sizes of training and validation.

    Attributes:
        training_size, validation_size: size of an image and the recipe's sides → size it is resized to.
        described: in words, for lists.
    """

    training_size: Callable[[Size, Sides], Size]
    validation_size: Callable[[Size, Sides], Size]
    described: str


PREPARATIONS: Registry[Preparation] = Registry("preparation")


def shortened(size: Size, short_side: int) -> Size:
    """Return the size of an image whose short side becomes `short_side`, if both are at least as long (`AdaptiveResize` of UNIQUE)."""
    return size if min(size) < short_side else _with_short_side(size, short_side)


def _with_short_side(size: Size, short_side: int) -> Size:
    width, height = size
    # as torchvision's Resize: the long side is cut off, not rounded
    return (short_side, int(short_side * height / width)) if width <= height else (int(short_side * width / height), short_side)


def _cropped_size(size: Size, sides: Sides) -> Size:
    smaller = shortened(size, sides.short_side)
    return smaller if min(smaller) >= sides.crop_side else _with_short_side(size, sides.crop_side)


def _whole_size(size: Size, sides: Sides) -> Size:
    return shortened(size, sides.validation_short_side)


def _square_size(size: Size, sides: Sides) -> Size:
    return (sides.crop_side, sides.crop_side)


PREPARATIONS.add("crop", Preparation(_cropped_size, _whole_size, "short side, random crop; validation on whole images"))
PREPARATIONS.add("square", Preparation(_square_size, _square_size, "the whole image, resized to a square, its proportions not kept"))


def resized(image: Image.Image, size: Size) -> Image.Image:
    """Return an image at a size (width, height): bilinear and low-passed, as torchvision resizes a PIL image."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def cut(image: Image.Image, side: int, flip: bool, random: np.random.Generator) -> Tensor:
    """Return a random square of an image that is at least as large, mirrored every other time where `flip` is set.

    Returns:
        (side, side, 3) uint8.
    """
    left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
    mirrored = flip and bool(random.integers(2))
    part = image.crop((left, top, left + side, top + side))
    return as_tensor(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part)


def as_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (height, width, 3) uint8: as it lies in memory, and as networks with channels last want it."""
    return torch.from_numpy(np.array(image))
