"""Image files as 8-bit RGB, their sizes and crops, and batches of them that worker processes prepare.

The result does not depend on the number of worker processes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from vqafeat.errors import DatasetError
from vqafeat.io import summarize
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.image_sets import LabelledImage
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.system import exit_with_parent, process_context

_BATCHES_AHEAD = 4
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
    """Read every image once, so that a damaged one does not stop the training later."""
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


class PairBatch(NamedTuple):
    """The pairs of one step."""

    # first, second: (pair, height, width, 3) uint8
    first: Tensor
    second: Tensor
    # probability, std_order: (pair,) labels; see `network.pair_loss`
    probability: Tensor
    std_order: Tensor
    pairs: Tensor  # (pair,) their numbers among all pairs of the training
    share: float = 1.0  # their number, divided by that of all pairs of the step in all processes


class PairImages:
    """All pairs of some image sets; crops and mirroring depend only on seed, epoch and pair."""

    def __init__(self, sets: Sequence[DrawnPairs], recipe: PretrainingRecipe, seed: int) -> None:
        self.images: list[LabelledImage] = [image for item in sets for image in item.image_set.images]
        starts = np.cumsum([0, *(len(item.image_set.images) for item in sets)])
        self.rows = np.concatenate([item.rows + start for item, start in zip(sets, starts[:-1], strict=True)])
        self._probability = torch.from_numpy(np.concatenate([item.probability for item in sets])).float()
        self._std_order = torch.from_numpy(np.concatenate([item.std_order for item in sets])).float()
        self._recipe, self._seed = recipe, seed

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, key: tuple[int, list[int]]) -> PairBatch:
        """Return some pairs, prepared for an epoch; `key` is the epoch and the pairs' numbers."""
        epoch, pairs = key
        # `default_collate` stacks in a worker's shared memory
        sides = ([self._prepared(epoch, pair, side) for pair in pairs] for side in (0, 1))
        first, second = (default_collate(images) if images else torch.empty(0) for images in sides)
        numbers = torch.tensor(pairs, dtype=torch.int64)
        return PairBatch(first, second, self._probability[numbers], self._std_order[numbers], numbers)

    def _prepared(self, epoch: int, pair: int, side: int) -> Tensor:
        recipe, image = self._recipe, read_image(self.images[self.rows[pair, side]].path)
        image = resized(image, training_size(image.size, recipe))
        random = np.random.default_rng((self._seed, epoch, pair, side))
        return random_crop(image, recipe.crop_side, recipe.flip, random)

    def names(self, pairs: Sequence[int]) -> list[str]:
        """Return the paths of the images in some pairs."""
        return [str(self.images[row].path) for pair in pairs for row in self.rows[pair]]


class _Loaded(Dataset[Any]):
    """The result of `load` for a key, or its error, because raising it in a worker would add a traceback."""

    def __init__(self, load: Callable[[Any], Any]) -> None:
        self._load = load

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._load(key)
        except DatasetError as error:
            return error


class _Loader:
    """Yields `load(key)` for each key, computed in worker processes; keys may change between iterations."""

    def __init__(self, load: Callable[[Any], Any], keys: Iterable[Any], workers: int, pinned: bool) -> None:
        theirs, self._ours = Pipe(duplex=False)
        self._loader = DataLoader(
            _Loaded(load),
            batch_size=None,
            sampler=keys,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=_BATCHES_AHEAD if workers else None,
            multiprocessing_context=process_context([__name__]) if workers else None,
            worker_init_fn=partial(_watch_parent, theirs),
            pin_memory=pinned,
            generator=torch.Generator(),  # leaves the global one unchanged
        )

    def __iter__(self) -> Iterator[Any]:
        for item in self._loader:
            if isinstance(item, DatasetError):
                raise item
            yield item


def _watch_parent(parent: "Connection[Any, Any]", _worker: int) -> None:
    exit_with_parent(parent)


class PairLoader:
    """The batches of a training, in a random order for each epoch; a GPU reads pinned ones directly.

    Of several training processes, each loads its share of a step; `rank` is the number of this one, from 0.
    """

    def __init__(
        self,
        sets: Sequence[DrawnPairs],
        recipe: PretrainingRecipe,
        seed: int,
        workers: int,
        pinned: bool = False,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.images = PairImages(sets, recipe, seed)
        self._recipe, self._seed, self._rank, self._processes = recipe, seed, rank, processes
        self._keys: list[tuple[int, list[int]]] = []  # of the current epoch's batches
        self._loader = _Loader(self.images.batch, self._keys, workers, pinned)

    def batches(self, epoch: int) -> Iterator[PairBatch]:
        """Yield this process's share of each step of an epoch, which is counted from 1."""
        steps = self.steps(epoch)
        self._keys[:] = [(epoch, self._share(pairs)) for pairs in steps]
        for batch, pairs in zip(self._loader, steps, strict=True):
            yield batch._replace(share=len(batch.pairs) / len(pairs))

    def steps(self, epoch: int) -> list[list[int]]:
        """Return the numbers of the pairs of each step of an epoch, in all processes."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self.images)).tolist()
        size = self._recipe.pairs_a_step(epoch)
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _share(self, pairs: list[int]) -> list[int]:
        processes = min(self._processes, len(pairs))
        return pairs[len(pairs) * self._rank // processes : len(pairs) * (self._rank + 1) // processes]


class ImageLoader(_Loader):
    """Whole images for validation, (1, height, width, 3) uint8: one at a time, because sizes differ."""

    def __init__(
        self, images: Sequence[LabelledImage], recipe: PretrainingRecipe, workers: int, pinned: bool = False
    ) -> None:
        super().__init__(partial(_whole_image, recipe), images, workers, pinned)


def _whole_image(recipe: PretrainingRecipe, labelled: LabelledImage) -> Tensor:
    image = read_image(labelled.path)
    return as_tensor(resized(image, validation_size(image.size, recipe))).unsqueeze(0)
