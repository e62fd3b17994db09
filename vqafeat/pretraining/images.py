"""Image files as 8-bit RGB, and their sizes and crops in training and validation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vqafeat.errors import DatasetError
from vqafeat.io import summarize
from vqafeat.pretraining.config import PretrainingRecipe

_CHECKED_SIZE = (64, 64)
Size = tuple[int, int]  # width, height


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"its values from {values.min()} to {values.max()} do not fit into 16 bits")
    return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)).convert("RGB")


# mode of a decoded file → conversion to 8-bit RGB; CMYK is converted without a colour profile
CONVERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **dict.fromkeys(
        ("RGB", "1", "L", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"), lambda image: image.convert("RGB")
    ),
    # a direct conversion to RGB warns of palettes with transparent entries, even if no pixel uses them
    **dict.fromkeys(
        ("P", "PA", "LA", "RGBA", "La", "RGBa"), lambda image: image.convert("RGBA").convert("RGB")
    ),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N", "I"), _from_16_bits),
}


def read_image(path: Path, draft: Size | None = None) -> Image.Image:
    """Return an image file as 8-bit RGB, turned as its EXIF orientation says.

    For speed, a JPEG may be decoded at a lower resolution of at least the size `draft`.
    """
    try:
        with Image.open(path) as file:
            if draft is not None:
                file.draft(None, draft)
            file.load()
            return _as_rgb(file, path)
    except FileNotFoundError as error:
        raise DatasetError(f"'{path}' does not exist.") from error
    except UnidentifiedImageError as error:
        raise DatasetError(f"'{path}' is not an image that Pillow can read.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(f"'{path}' is a damaged image or cannot be read ({error}).") from error


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if min(image.size) < 1 or image.mode not in CONVERSIONS:
        known = ", ".join(CONVERSIONS)
        raise DatasetError(f"'{path}' has the pixel mode '{image.mode}', not one of {known}.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        problem = "is transparent in parts, and no background is known"
        raise DatasetError(f"'{path}' {problem}; save it without an alpha channel.")
    turned = ImageOps.exif_transpose(image)
    return CONVERSIONS[turned.mode](turned)


def check_images(
    paths: Sequence[Path], workers: int, on_checked: Callable[[int], None] | None = None
) -> None:
    """Read every image once, so that a damaged one does not stop the training later.

    `on_checked` is called with the number of checked images.
    """
    problems = []
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for done, problem in enumerate(pool.map(_problem, paths), start=1):
            problems += [problem] if problem else []
            if on_checked is not None:
                on_checked(done)
    if problems:
        bad = f"{len(problems)} of {len(paths)} images cannot be used: {summarize(problems)}"
        raise DatasetError(f"{bad}. Repair these files or leave their rows out.")


def _problem(path: Path) -> str | None:
    try:
        read_image(path, _CHECKED_SIZE)
    except DatasetError as error:
        return str(error).rstrip(".")
    return None


def training_size(size: Size, recipe: PretrainingRecipe) -> Size:
    """Return the size that a recipe resizes a training image to."""
    # smaller images stay as they are (`AdaptiveResize` of UNIQUE), unless no crop fits into them
    short_side = max(min(*size, recipe.short_side), recipe.crop_side)
    return _with_short_side(size, short_side, recipe)


def validation_size(size: Size, recipe: PretrainingRecipe) -> Size:
    """Return the size that a recipe resizes a validation image to."""
    return _with_short_side(size, min(*size, recipe.validation_short_side), recipe)


def _with_short_side(size: Size, short_side: int, recipe: PretrainingRecipe) -> Size:
    if recipe.preparation == "square":
        return (recipe.crop_side, recipe.crop_side)
    # as torchvision's Resize, which cuts decimals off
    width, height = (int(short_side * side / min(size)) for side in size)
    return (width, height)


def resized(image: Image.Image, size: Size) -> Image.Image:
    """Return a resized image, bilinear with a low-pass, as by torchvision."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def random_crop(image: Image.Image, side: int, flip: bool, random: np.random.Generator) -> Tensor:
    """Return a random square of an image as (side, side, 3) uint8; `flip` mirrors half of them."""
    left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
    mirrored = flip and bool(random.integers(2))
    part = image.crop((left, top, left + side, top + side))
    return as_tensor(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part)


def as_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (height, width, 3) uint8."""
    return torch.from_numpy(np.array(image))
