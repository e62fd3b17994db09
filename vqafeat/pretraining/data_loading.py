"""Images on their way to the network: processes decode, resize and crop; the result does not depend on how
many there are.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from vqafeat.errors import DatasetError
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.image_sets import LabelledImage
from vqafeat.pretraining.images import (
    as_tensor,
    random_crop,
    read_image,
    resized,
    training_size,
    validation_size,
)
from vqafeat.pretraining.losses import PairLabels
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.system import process_context

_BATCHES_AHEAD = 4


def usual_workers() -> int:
    """Return how many processes load images by default: one a core."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, eq=False)
class PairBatch:
    """One step's pairs.

    Attributes:
        first, second: (pair, height, width, 3) uint8.
        labels: of the pairs.
        pairs: their numbers among all pairs of the training.
    """

    first: Tensor
    second: Tensor
    labels: PairLabels
    pairs: tuple[int, ...]


class PairImages(Dataset[tuple[Tensor, Tensor, int]]):
    """The two prepared images of a pair; crops and mirroring depend on seed, epoch and pair alone."""

    def __init__(self, sets: Sequence[DrawnPairs], recipe: PretrainingRecipe, seed: int) -> None:
        self.images: list[LabelledImage] = [image for item in sets for image in item.image_set.images]
        starts = np.cumsum([0, *(len(item.image_set.images) for item in sets)])
        self.rows = np.concatenate([item.rows + start for item, start in zip(sets, starts[:-1], strict=True)])
        self._recipe, self._seed = recipe, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> tuple[Tensor, Tensor, int]:
        epoch, pair = key
        first, second = (
            self._prepared(self.images[row], (self._seed, epoch, pair, side))
            for side, row in enumerate(self.rows[pair])
        )
        return first, second, pair

    def _prepared(self, labelled: LabelledImage, seed: tuple[int, ...]) -> Tensor:
        recipe, image = self._recipe, read_image(labelled.path)
        image = resized(image, training_size(image.size, recipe))
        return random_crop(image, recipe.crop_side, recipe.flip, np.random.default_rng(seed))

    def names(self, pairs: Sequence[int]) -> list[str]:
        """Return the paths of the images in some pairs."""
        return [str(self.images[row].path) for pair in pairs for row in self.rows[pair]]


class WholeImages(Dataset[Tensor]):
    """Images as validation sees them: (height, width, 3) uint8."""

    def __init__(self, images: Sequence[LabelledImage], recipe: PretrainingRecipe) -> None:
        self._images, self._recipe = images, recipe

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> Tensor:
        image = read_image(self._images[row].path)
        return as_tensor(resized(image, validation_size(image.size, self._recipe)))


class _PairBatches:
    """The (epoch, pair) keys of each batch of an epoch, in an order drawn for that epoch."""

    def __init__(self, pairs: int, recipe: PretrainingRecipe, seed: int) -> None:
        self._pairs, self._recipe, self._seed = pairs, recipe, seed
        self.epoch = 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._pairs).tolist()
        size = self._recipe.pairs_a_step(self.epoch)
        for start in range(0, len(order), size):
            yield [(self.epoch, pair) for pair in order[start : start + size]]

    def __len__(self) -> int:
        return ceil(self._pairs / self._recipe.pairs_a_step(self.epoch))


class PairLoader:
    """The batches of a training; its processes live as long as it does.

    Args:
        workers: processes that load; 0 loads in this one.
        pinned: put batches into memory that a GPU reads directly.
    """

    def __init__(
        self,
        sets: Sequence[DrawnPairs],
        recipe: PretrainingRecipe,
        seed: int,
        workers: int,
        pinned: bool = False,
    ) -> None:
        self.images = PairImages(sets, recipe, seed)
        self._probability = torch.from_numpy(np.concatenate([item.probability for item in sets])).float()
        self._std_order = torch.from_numpy(np.concatenate([item.std_order for item in sets])).float()
        self._batches = _PairBatches(len(self.images), recipe, seed)
        self._loader = _loader(self.images, workers, pinned, batch_sampler=self._batches)

    def batches(self, epoch: int) -> Iterator[PairBatch]:
        """Yield all pairs of an epoch, counted from 1."""
        self._batches.epoch = epoch
        for first, second, pairs in _checked(self._loader):
            labels = PairLabels(self._probability[pairs], self._std_order[pairs])
            yield PairBatch(first, second, labels, tuple(pairs.tolist()))

    def steps(self, epoch: int) -> int:
        """Return the number of batches of an epoch."""
        self._batches.epoch = epoch
        return len(self._batches)


class ImageLoader:
    """Whole images one at a time, as they differ in size; its processes live as long as it does."""

    def __init__(
        self, images: Sequence[LabelledImage], recipe: PretrainingRecipe, workers: int, pinned: bool = False
    ) -> None:
        self._loader = _loader(WholeImages(images, recipe), workers, pinned, batch_size=1, shuffle=False)

    def __iter__(self) -> Iterator[Tensor]:
        yield from _checked(self._loader)


class _ErrorsAsItems(Dataset[Any]):
    """A data set whose errors are items: one raised in a process would arrive in that process's traceback."""

    def __init__(self, images: PairImages | WholeImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._images[key]
        except DatasetError as error:
            return error


def _loader(images: PairImages | WholeImages, workers: int, pinned: bool, **order: Any) -> DataLoader[Any]:
    if workers:
        context = process_context([__name__])
        order |= {"prefetch_factor": _BATCHES_AHEAD, "multiprocessing_context": context}
    return DataLoader(
        _ErrorsAsItems(images),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
        generator=torch.Generator(),  # so that the global one is left as it was
        collate_fn=_collate,
        **order,
    )


def _collate(samples: list[Any]) -> Any:
    errors = (sample for sample in samples if isinstance(sample, DatasetError))
    return next(errors, None) or default_collate(samples)


def _checked(loader: DataLoader[Any]) -> Iterator[Any]:
    for batch in loader:
        if isinstance(batch, DatasetError):
            raise batch
        yield batch
