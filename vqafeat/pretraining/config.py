"""Recipes of pre-training: named sets of everything that decides how a backbone learns quality."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry, named

# how images are resized (`images.training_size`, `images.validation_size`) → in words, for lists
PREPARATIONS = {
    "crop": "short side, random crop; validation on whole images",
    "square": "the whole image, resized to a square, its proportions not kept",
}
_AT_LEAST_0 = ("weight_decay", "margin", "start_std")
_SIDES = ("short_side", "validation_short_side")
_AT_LEAST_1 = ("decay_every", "epochs", "head_batch_size", "batch_size", *_SIDES)


@dataclass(frozen=True)
class PretrainingRecipe:
    """How a backbone is trained on pairs of images; the optimiser is Adam with an L2 term in the gradient.

    Attributes:
        decay, decay_every: the learning rate is multiplied by `decay` after every `decay_every` epochs.
        head_epochs: first epochs, in which the quality head is trained alone.
        epochs: of both phases together.
        head_batch_size, batch_size: pairs per step in the first phase and afterwards.
        short_side: samples to which larger training images are reduced.
        crop_side: samples of the square that is cut out in training; a smaller image is enlarged to it.
        validation_short_side: samples to which larger validation images, seen whole, are reduced.
        flip: mirror half of the images in training, at random.
        margin: of the hinge loss on the deviations.
        detach_variance: keep the fidelity loss from training the deviations.
        start_std: deviation of every image before training; 0 leaves it to random weights, as released.
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
        epochs, side = self.epochs, self.short_side
        checks = {
            "learning_rate": (0 < self.learning_rate < inf, "above 0 and finite, as 0.0001"),
            "decay": (0 < self.decay <= 1, "above 0 and at most 1, as 0.1"),
            **{key: (0 <= getattr(self, key) < inf, "at least 0") for key in _AT_LEAST_0},
            **{key: (1 <= getattr(self, key) < inf, "at least 1") for key in _AT_LEAST_1},
            "head_epochs": (0 <= self.head_epochs <= epochs, f"from 0 to epochs, which is {epochs}"),
            "crop_side": (1 <= self.crop_side <= side, f"from 1 to short_side, which is {side}"),
        }
        for key, (is_allowed, allowed) in checks.items():
            if not is_allowed:
                raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be {allowed}.")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1 through both phases."""
        return self.learning_rate * self.decay ** ((epoch - 1) // self.decay_every)

    def head_alone(self, epoch: int) -> bool:
        """Whether an epoch, counted from 1, trains the quality head alone."""
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


# https://github.com/zwx8981/TCSVT-2022-BVQA, SpatialExtractor/Main.py and TrainModel.py: the head alone for
# three epochs, then all to epoch 12; the second phase continues with the first one's optimiser, so the
# learning rate has its third epoch behind it
_LI_RELEASED = PretrainingRecipe("li-released")

# Li et al., section IV-A4 and equations 2 to 6: 12 epochs from 1e-4, a tenth every 3, images "uniformly
# adjusted to 384×384×3"; equation 3 detaches no variance. Batch size and weight decay ("a L2 weight decay",
# section III-A) are not stated: as released. Nothing is mirrored
_LI_PAPER = PretrainingRecipe(
    "li-paper",
    head_epochs=0,
    preparation="square",
    short_side=384,
    validation_short_side=384,
    flip=False,
    detach_variance=False,
)

# for a network with random weights and a few hundred small images, such as those of the embedded set
_DEMO = PretrainingRecipe(
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
)

PRETRAINING_RECIPES: Registry[PretrainingRecipe] = Registry("pre-training recipe")
for _recipe in (_LI_RELEASED, _LI_PAPER, _DEMO):
    PRETRAINING_RECIPES.add(_recipe.name, _recipe)
