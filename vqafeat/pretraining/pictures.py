"""Image files as 8-bit RGB, whatever they hold, or a refusal that names them."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vqafeat.datasets.dataset import first_few
from vqafeat.errors import DatasetError
from vqafeat.registry import Registry

# mode of a decoded file → 8-bit RGB
CONVERSIONS: Registry[Callable[[Image.Image], Image.Image]] = Registry("image mode")
_SMALLEST_SIDE = 32  # below it a ResNet's last stage has less than one position of its own
_CHECKED_SIZE = (64, 64)


def read_picture(path: Path) -> Image.Image:
    """Return an image file as 8-bit RGB, turned as its EXIF orientation says.

    Grey and palette images become RGB, CMYK is converted without a colour profile, 16 bits a sample are brought to 8.

    Raises:
        DatasetError: the file is missing, is no image, is damaged, holds transparent parts or numbers without a range.
    """
    return _opened(path, draft=False)


def check_pictures(paths: Sequence[Path], workers: int, on_checked: Callable[[int], None] | None = None) -> None:
    """Read every image once, so that training does not meet a broken one on its second day; JPEG at an eighth of its size, for speed.

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
            f"{len(problems)} of {len(paths)} images cannot be used: {first_few(problems)}. Mend these files or leave their rows out."
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
        raise DatasetError(f"'{path}' holds pixels of the kind '{image.mode}', not one of {', '.join(CONVERSIONS.names())}.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise DatasetError(f"'{path}' is transparent in parts, and no background is known; save it without an alpha channel.")
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
