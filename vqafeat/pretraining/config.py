"""Recipes of pre-training: named sets of everything that decides how a backbone learns quality."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from vqafeat.errors import ArgumentError
from vqafeat.io import read_toml
from vqafeat.registry import Registry
from vqafeat.schema import parse

# preparation of images (`images.training_size`, `images.validation_size`) → its description for lists
PREPARATIONS = {
    "crop": "short side, random crop; validation on whole images",
    "square": "the whole image, resized to a square, its proportions not kept",
}
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class PretrainingRecipe:
    """How a backbone is trained on pairs of images; the optimiser is Adam with an L2 term in the gradient."""

    name: str
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    weight_decay: _NotNegative = 5e-4
    # decay, decay_every: the learning rate is multiplied by `decay` after every `decay_every` epochs
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    decay_every: _Count = 3
    head_epochs: Annotated[int, Field(ge=0)] = 3  # number of first epochs, which train the quality head alone
    epochs: _Count = 12  # number of all epochs
    # head_batch_size, batch_size: pairs per step in the first epochs, and in the others
    head_batch_size: _Count = 128
    batch_size: _Count = 32
    preparation: Literal["crop", "square"] = "crop"
    short_side: _Count = 512  # pixels to which the short side of larger training images is reduced
    crop_side: _Count = 384  # side of the square training crops in pixels; a smaller image is enlarged to it
    # pixels to which the short side of larger validation images is reduced
    validation_short_side: _Count = 768
    flip: bool = True  # mirror training images at random
    margin: _NotNegative = 0.025  # margin of the hinge loss on the standard deviations
    detach_variance: bool = True  # do not train the standard deviations by the fidelity loss
    # standard deviation of every image before training; 0 leaves it to random weights
    start_std: _NotNegative = 0.0

    def __post_init__(self) -> None:
        sides = () if self.preparation == "square" else (("crop_side", "short_side"),)
        for key, most in (("head_epochs", "epochs"), *sides):
            value, limit = getattr(self, key), getattr(self, most)
            if value > limit:
                raise ArgumentError(f"{key} is {value}; it has to be at most {most}, which is {limit}.")

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
        recipe = parse(PretrainingRecipe, {**asdict(self), **changes}, f"recipe '{self.name}'", ArgumentError)
        if recipe.preparation == "square" and "short_side" in changes:
            raise ArgumentError("preparation 'square' takes no short_side; it resizes images to crop_side.")
        return recipe


PRETRAINING_RECIPES: Registry[PretrainingRecipe] = Registry("pre-training recipe")
_FILE = Path(__file__).with_name("recipes.toml")
for _name, _values in read_toml(_FILE, "recipes").items():
    PRETRAINING_RECIPES.add(_name, parse(PretrainingRecipe, {"name": _name, **_values}, f"'{_FILE}'"))
