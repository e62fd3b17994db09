"""How well a network ranks the validation images of each set."""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import numpy as np
import numpy.typing as npt
import torch

from vqafeat.metrics import evaluate_predictions
from vqafeat.pretraining.loading import ImageLoader
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.pretraining.recipes import PretrainingRecipe
from vqafeat.pretraining.spreading import Replicas


class Validation:
    """The validation images of all sets; sets without any are left out."""

    def __init__(self, sets: Sequence[DrawnPairs], recipe: PretrainingRecipe, workers: int, pinned: bool = False) -> None:
        self._sets = [item for item in sets if item.validation]
        images = [item.image_set.images[row] for item in self._sets for row in item.validation]
        self._loader = ImageLoader(images, recipe, workers, pinned)

    def sroccs(self, replicas: Replicas) -> dict[str, float]:
        """Return the SROCC of the means by set; NaN where scores are constant or not finite."""
        if not self._sets:
            return {}
        means = predict(replicas, self._loader)[:, 0]
        parts = np.split(means, np.cumsum([len(item.validation) for item in self._sets])[:-1])
        return {item.image_set.name: _srocc(part, item) for item, part in zip(self._sets, parts, strict=True)}


@torch.no_grad()
def predict(replicas: Replicas, images: ImageLoader) -> npt.NDArray[np.float64]:
    """Return (image, 2) mean and deviation of whole images, in eval mode on the first device."""
    network, device = replicas.network.eval(), replicas.devices[0]
    found = []
    for image in images:
        with replicas.autocast(device):
            mean, std = network(image.to(device, non_blocking=True))
        found.append(torch.stack([mean, std], dim=1))
    return torch.cat(found).double().cpu().numpy()


def mean_srocc(sroccs: Mapping[str, float]) -> float:
    """Return the mean over sets; NaN where there are none, or one is not defined."""
    return float(np.mean(list(sroccs.values()))) if sroccs and not any(map(isnan, sroccs.values())) else nan


def pair_accuracy(means: npt.ArrayLike, mos: npt.ArrayLike) -> float:
    """Return the share of all pairs with different labels that (image,) means put in the labels' order; equal means count as half right."""
    predicted, labels = np.asarray(means, dtype=float), np.asarray(mos, dtype=float)
    first, second = np.triu_indices(len(labels), 1)
    order = np.sign(labels[first] - labels[second])
    agreed = np.sign(predicted[first] - predicted[second]) * order
    return float((1 + agreed[order != 0]).mean() / 2)


def _srocc(means: npt.NDArray[np.float64], item: DrawnPairs) -> float:
    if not np.isfinite(means).all():
        return nan
    return evaluate_predictions(means, [item.image_set.images[row].mos for row in item.validation], mapping="none").srocc
