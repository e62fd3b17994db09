"""Batches of images, which worker processes decode, resize and crop; the result does not depend on them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

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
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.system import exit_with_parent, process_context

_BATCHES_AHEAD = 4


def usual_workers() -> int:
    """Return the default number of worker processes: one per core."""
    return len(os.sched_getaffinity(0))


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
    """The batches of a training, in a random order for each epoch.

    Args:
        workers: processes that load batches while the loader exists; 0 loads them in this process.
        pinned: put batches into memory that a GPU reads directly.
        rank, processes: number of this training process, from 0, and of all; each loads its share of a step.
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
