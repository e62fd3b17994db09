"""Recipes of pre-training: named sets of everything that decides how a backbone learns quality."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry, named

# how images are brought to size (`images.training_size`, `images.validation_size`) → in words, for lists
PREPARATIONS = {
    "crop": "short side, random crop; validation on whole images",
    "square": "the whole image, resized to a square, its proportions not kept",
}
_AT_LEAST_0 = ("weight_decay", "head_epochs", "margin", "start_std")
_SIDES = ("short_side", "crop_side", "validation_short_side")
_AT_LEAST_1 = ("decay_every", "epochs", "head_batch_size", "batch_size", *_SIDES)


@dataclass(frozen=True)
class PretrainingRecipe:
    """How a backbone is trained on pairs of images; the optimiser is Adam, its weight decay an L2 term in the
    gradient.

    Attributes:
        decay, decay_every: the learning rate is multiplied by `decay` after every `decay_every` epochs.
        head_epochs: first epochs, in which the quality head is trained alone.
        epochs: of both phases together.
        head_batch_size, batch_size: pairs a step in the first phase and afterwards.
        preparation: one of `PREPARATIONS`.
        short_side: samples that training images are made smaller to; never larger.
        crop_side: samples of the square that is cut out in training; a smaller image is enlarged to it.
        validation_short_side: samples that validation images, seen whole, are made smaller to.
        flip: mirror every other image in training.
        margin: of the hinge loss on the deviations.
        detach_variance: keep the fidelity loss from training the deviations.
        start_std: deviation that the head gives every image before training; 0 leaves it to the head's
            random weights, as released.
    """

    name: str
    learning_rate: float = 1e-4
    weight_decay: float = 5e-4
    decay: float = 0.1
    decay_every: int = 3
    head_epochs: int = 3
    epochs: int = 12
    head_batch_size: int = 128
    batch_size: int = 32
    preparation: str = "crop"
    short_side: int = 512
    crop_side: int = 384
    validation_short_side: int = 768
    flip: bool = True
    margin: float = 0.025
    detach_variance: bool = True
    start_std: float = 0.0

    def __post_init__(self) -> None:
        named("preparation", self.preparation, PREPARATIONS)
        rate = self.learning_rate
        self._require("learning_rate", rate > 0 and isfinite(rate), "above 0 and finite, as 0.0001")
        self._require("decay", 0 < self.decay <= 1, "above 0 and at most 1, as 0.1")
        for least, keys in enumerate((_AT_LEAST_0, _AT_LEAST_1)):
            for key in keys:
                self._require(key, least <= getattr(self, key) < inf, f"at least {least}")
        if self.head_epochs > self.epochs:
            raise ArgumentError(
                f"head_epochs is {self.head_epochs}, but there are {self.epochs} epochs in all; lower it or "
                f"raise epochs."
            )
        if self.crop_side > self.short_side:
            raise ArgumentError(
                f"crop_side is {self.crop_side}, above short_side {self.short_side}; a crop has to fit into "
                f"the image."
            )

    def _require(self, key: str, allowed: bool, words: str) -> None:
        if not allowed:
            raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be {words}.")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1 through both phases."""
        return self.learning_rate * self.decay ** ((epoch - 1) // self.decay_every)

    def head_alone(self, epoch: int) -> bool:
        """Tell whether an epoch, counted from 1, trains the quality head alone."""
        return epoch <= self.head_epochs

    def pairs_a_step(self, epoch: int) -> int:
        """Return the batch size of an epoch, counted from 1."""
        return self.head_batch_size if self.head_alone(epoch) else self.batch_size

    def overridden(self, changes: Mapping[str, Any]) -> "PretrainingRecipe":
        """Return this recipe with some values changed."""
        names = [item.name for item in fields(self) if item.name != "name"]
        if unknown := [key for key in changes if key not in names]:
            raise ArgumentError(
                f"recipe '{self.name}' has no value '{unknown[0]}'; it has {', '.join(names)}."
            )
        return replace(self, **changes)


PRETRAINING_RECIPES: Registry[PretrainingRecipe] = Registry("pre-training recipe")

# https://github.com/zwx8981/TCSVT-2022-BVQA, SpatialExtractor/Main.py and TrainModel.py: the head alone for
# three epochs, then all to epoch 12; the second phase continues with the first one's optimiser, so the
# learning rate has its third epoch behind it
PRETRAINING_RECIPES.add("li-released", PretrainingRecipe("li-released"))

# Li et al., section IV-A4 and equations 2 to 6: 12 epochs from 1e-4, a tenth every 3, images "uniformly
# adjusted to 384×384×3"; equation 3 detaches no variance. Batch size and weight decay ("a L2 weight decay",
# section III-A) are not stated: as released. Nothing is mirrored
PRETRAINING_RECIPES.add(
    "li-paper",
    PretrainingRecipe(
        "li-paper",
        head_epochs=0,
        preparation="square",
        short_side=384,
        validation_short_side=384,
        flip=False,
        detach_variance=False,
    ),
)

# for a network with random weights and a few hundred small images, such as those of the embedded set
PRETRAINING_RECIPES.add(
    "demo",
    PretrainingRecipe(
        "demo",
        learning_rate=1e-3,
        weight_decay=0.0,
        decay=0.5,
        decay_every=2,
        head_epochs=0,
        epochs=6,
        batch_size=16,
        short_side=64,
        crop_side=56,
        validation_short_side=64,
        start_std=1.0,
    ),
)
