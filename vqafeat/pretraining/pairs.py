"""The training and validation parts of image sets, and random pairs of training images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.pretraining.image_sets import IMAGE_SETS, ImageSet, LabelledImage
from vqafeat.splits import content_split

PAIRS_PER_IMAGE = 10  # where no paper states a number; Li et al. draw 11 from KonIQ-10k and SPAQ
FEWEST_FOR_SROCC = 3
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DrawnPairs:
    """The pairs of one image set."""

    image_set: ImageSet
    # training, validation: indices of images of the set
    training: tuple[int, ...]
    validation: tuple[int, ...]
    rows: Index  # (pair, 2) indices of training images

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != 2 or not np.isin(self.rows, self.training).all():
            problem = f"rows of '{self.image_set.name}' has the shape {self.rows.shape}"
            raise ArgumentError(f"{problem}; it has to be (pair, 2) indices of training images.")

    @property
    def validation_images(self) -> list[LabelledImage]:
        """The images of the validation part."""
        return [self.image_set.images[row] for row in self.validation]

    @property
    def probability(self) -> npt.NDArray[np.float64]:
        """(pair,) probability that people prefer the first image (Li et al., eq. 2; `GT_Gaussian.m`)."""
        mos, std = self._labels()
        spread = np.sqrt((std**2).sum(1)) + np.finfo(np.float64).eps
        return np.asarray(ndtr((mos[:, 0] - mos[:, 1]) / spread))

    @property
    def std_order(self) -> npt.NDArray[np.float64]:
        """(pair,) sign of the difference of the standard deviations."""
        std = self._labels()[1]
        return np.asarray(np.sign(std[:, 0] - std[:, 1]))

    def _labels(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        labels = np.array([(image.mos, image.std) for image in self.image_set.images])[self.rows]
        return labels[..., 0], labels[..., 1]


def draw_pairs(
    sets: Sequence[ImageSet],
    pairs: Mapping[str, int],
    validation_percent: int,
    seed: int,
    *,
    default_pairs: int | None = None,
) -> tuple[DrawnPairs, ...]:
    """Divide each set by content, and draw different pairs of its training images.

    The pairs of a set depend on the seed and the set's name. As in UNIQUE's `data_BID.m`, they are drawn
    without replacement; if a set has fewer pairs than requested, all are used. For a set that `pairs` does
    not name, the number is `default_pairs`, else that of Li et al., else ten per training image.
    """
    names = [item.name for item in sets]
    if twice := duplicates(names):
        raise ArgumentError(f"--images names '{twice[0]}' twice; give each set its own name.")
    if unknown := [name for name in pairs if name not in names]:
        known = ", ".join(names)
        raise ArgumentError(f"--pairs names '{unknown[0]}', which is not among the image sets {known}.")
    if not 0 <= validation_percent < 100:
        raise ArgumentError(f"validation_percent is {validation_percent}; it has to be 0 (none) to 99.")
    return tuple(_draw(item, pairs.get(item.name, default_pairs), validation_percent, seed) for item in sets)


def parse_pairs(options: Sequence[str]) -> tuple[dict[str, int], int | None]:
    """Return the numbers of pairs in options `NAME=NUMBER`, by set, and in `NUMBER`, for all sets."""
    numbers: dict[str, int] = {}
    for option in options:
        name, separator, text = option.rpartition("=")
        if not text.isdecimal() or int(text) < 1 or (separator and not name):
            allowed = "NUMBER or NAME=NUMBER with a number of at least 1"
            raise ArgumentError(f"--pairs {option} has to be {allowed}, such as koniq=90000.")
        numbers[name] = int(text)
    for_all = numbers.pop("", None)
    return numbers, for_all


def _draw(image_set: ImageSet, pairs: int | None, validation_percent: int, seed: int) -> DrawnPairs:
    parts = _divide(image_set, validation_percent, seed)
    training = np.array(parts[0], dtype=np.int64)
    if len(training) < 2:
        raise _too_small(image_set, f"{len(training)} image(s) for training; a pair needs two")
    if pairs is None:
        published = IMAGE_SETS[image_set.name].pairs if image_set.name in IMAGE_SETS else None
        pairs = published or PAIRS_PER_IMAGE * len(training)
    random = np.random.default_rng([seed, *image_set.name.encode()])
    rows = training[different_pairs(len(training), pairs, random)]
    return DrawnPairs(image_set, *parts, random.permuted(rows, axis=1))


def _divide(image_set: ImageSet, percent: int, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices of the images for training and for validation."""
    contents = [image.content for image in image_set.images]
    if percent == 0:
        return tuple(range(len(contents))), ()
    different = len(set(contents))
    if different * (100 - percent) // 100 < 1:
        left = f"and with {percent} percent for validation none is left for training"
        raise _too_small(image_set, f"{different} content(s) in {len(contents)} image(s), {left}")
    split = content_split(contents, seed, f"{100 - percent}/{percent}")
    if len(split.test) < FEWEST_FOR_SROCC:
        names = [image_set.images[row].name for row in split.test]
        problem = f"{len(split.test)} image(s) for validation ({summarize(names)})"
        least = f"a rank correlation needs {FEWEST_FOR_SROCC}, and --validation-percent 0 needs none"
        raise _too_small(image_set, f"{problem}; {least}")
    return split.train, split.test


def _too_small(image_set: ImageSet, problem: str) -> DatasetError:
    next_step = f"Add images to '{image_set.labels}', or leave the set out"
    return DatasetError(f"image set '{image_set.name}' has {problem}. {next_step}.")


def different_pairs(items: int, number: int, random: np.random.Generator) -> Index:
    """Return (pair, 2) different pairs i < j below `items`: `number` of them, or all if there are fewer."""
    first_number = np.arange(items) * (np.arange(items) - 1) // 2  # number of the pair (0, j), by j
    count = items * (items - 1) // 2
    numbers = np.arange(count) if number >= count else random.choice(count, number, replace=False)
    larger = np.searchsorted(first_number, numbers, side="right") - 1
    return np.stack([numbers - first_number[larger], larger], axis=1)
