"""Image files as 8-bit RGB, whatever they hold, or a refusal that names them."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vqafeat.errors import DatasetError
from vqafeat.io import summarize
from vqafeat.registry import Registry

# mode of a decoded file → 8-bit RGB
CONVERSIONS: Registry[Callable[[Image.Image], Image.Image]] = Registry("image mode")
_SMALLEST_SIDE = 32  # below it a ResNet's last stage has less than one position of its own
_CHECKED_SIZE = (64, 64)


def read_picture(path: Path) -> Image.Image:
    """Return an image file as 8-bit RGB, turned as its EXIF orientation says.

    Grey and palette images become RGB, CMYK is converted without a colour profile, 16 bits a sample are
    brought to 8.

    Raises:
        DatasetError: the file is missing, is no image, is damaged, holds transparent parts or numbers without
            a range.
    """
    return _opened(path, draft=False)


def check_pictures(
    paths: Sequence[Path], workers: int, on_checked: Callable[[int], None] | None = None
) -> None:
    """Read every image once, so that training does not meet a broken one on its second day; JPEG at an eighth
    of its size, for speed.

    Args:
        workers: threads that read.
        on_checked: is told how many are done.

    Raises:
        DatasetError: images cannot be used; all are counted, the first ones named with their reason.
    """
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        problems = []
        for done, problem in enumerate(pool.map(_problem, paths), start=1):
            problems += [problem] if problem else []
            if on_checked is not None:
                on_checked(done)
    if problems:
        raise DatasetError(
            f"{len(problems)} of {len(paths)} images cannot be used: {summarize(problems)}. Mend these "
            f"files or leave their rows out."
        )


def _problem(path: Path) -> str | None:
    try:
        _opened(path, draft=True)
    except DatasetError as error:
        return str(error).rstrip(".")
    return None


def _opened(path: Path, draft: bool) -> Image.Image:
    try:
        with Image.open(path) as file:
            if draft:
                file.draft(None, _CHECKED_SIZE)
            file.load()
            return _as_rgb(file, path)
    except FileNotFoundError as error:
        raise DatasetError(f"'{path}' does not exist.") from error
    except UnidentifiedImageError as error:
        raise DatasetError(f"'{path}' is no image that Pillow reads.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(f"'{path}' is a damaged image or cannot be read ({error}).") from error


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if min(image.size) < 1 or image.mode not in CONVERSIONS:
        raise DatasetError(
            f"'{path}' holds pixels of the kind '{image.mode}', not one of {', '.join(CONVERSIONS.names())}."
        )
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise DatasetError(
            f"'{path}' is transparent in parts, and no background is known; save it without an alpha channel."
        )
    turned = ImageOps.exif_transpose(image)
    return CONVERSIONS.get(turned.mode)(turned)


def _plainly(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _by_way_of_alpha(image: Image.Image) -> Image.Image:
    # straight to RGB, Pillow warns of palettes with transparent entries, even where no pixel has one
    return image.convert("RGBA").convert("RGB")


def _sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"its numbers run from {values.min()} to {values.max()}, outside of 16 bits")
    return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)).convert("RGB")


def _add(modes: Iterable[str], conversion: Callable[[Image.Image], Image.Image]) -> None:
    for mode in modes:
        CONVERSIONS.add(mode, conversion)


_add(("RGB", "1", "L", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"), _plainly)
_add(("P", "PA", "LA", "RGBA", "La", "RGBa"), _by_way_of_alpha)
_add(("I;16", "I;16L", "I;16B", "I;16N", "I"), _sixteen_bits)

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
    """Return the size of an image whose short side becomes `short_side`, if both are at least as long
    (`AdaptiveResize` of UNIQUE).
    """
    return size if min(size) < short_side else _with_short_side(size, short_side)


def _with_short_side(size: Size, short_side: int) -> Size:
    width, height = size
    # as torchvision's Resize: the long side is cut off, not rounded
    return (
        (short_side, int(short_side * height / width))
        if width <= height
        else (int(short_side * width / height), short_side)
    )


def _cropped_size(size: Size, sides: Sides) -> Size:
    smaller = shortened(size, sides.short_side)
    return smaller if min(smaller) >= sides.crop_side else _with_short_side(size, sides.crop_side)


def _whole_size(size: Size, sides: Sides) -> Size:
    return shortened(size, sides.validation_short_side)


def _square_size(size: Size, sides: Sides) -> Size:
    return (sides.crop_side, sides.crop_side)


PREPARATIONS.add(
    "crop", Preparation(_cropped_size, _whole_size, "short side, random crop; validation on whole images")
)
PREPARATIONS.add(
    "square",
    Preparation(_square_size, _square_size, "the whole image, resized to a square, its proportions not kept"),
)


def resized(image: Image.Image, size: Size) -> Image.Image:
    """Return an image at a size (width, height): bilinear and low-passed, as torchvision resizes a PIL
    image.
    """
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def cut(image: Image.Image, side: int, flip: bool, random: np.random.Generator) -> Tensor:
    """Return a random square of an image that is at least as large, mirrored every other time where `flip` is
    set.

    Returns:
        (side, side, 3) uint8.
    """
    left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
    mirrored = flip and bool(random.integers(2))
    part = image.crop((left, top, left + side, top + side))
    return as_tensor(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part)


def as_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (height, width, 3) uint8: as it lies in memory, and as networks with channels
    last want it.
    """
    return torch.from_numpy(np.array(image))
