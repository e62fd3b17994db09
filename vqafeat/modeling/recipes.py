"""Recipes: named sets of everything that decides how a head is trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import cos, isfinite, pi
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.modeling.losses import LABEL_SCALES, LOSSES
from vqafeat.modeling.pooling import POOLINGS
from vqafeat.registry import Registry

Schedule = Callable[[float], float]

SCHEDULES: Registry[Schedule] = Registry("schedule")
SPLIT_ROUNDINGS = ("ceil", "int")
_AT_LEAST = {"batch_size": 1, "epochs": 1, "weight_decay": 0, "settling_fraction": 0}


@SCHEDULES.register("none")
def constant(done: float) -> float:
    """Keep the learning rate."""
    return 1.0


@SCHEDULES.register("cosine")
def cosine(done: float) -> float:
    """Lower the learning rate to 0 along half a cosine; `done` is the share of the optimiser's steps that are behind."""
    return 0.5 * (1 + cos(pi * done))


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; the optimiser is Adam.

    Attributes:
        name: the recipe's name.
        learning_rate: at the start.
        weight_decay: decoupled from the gradient (AdamW); with 0 it is plain Adam.
        batch_size: videos a step.
        epochs: passes over the training part.
        schedule: how the learning rate changes from step to step.
        loss: on scaled labels.
        label_scale: what labels are divided by.
        pooling: variant of the hysteresis pooling, for the heads that have it.
        standardise: bring features to mean 0 and deviation 1 over the training part's frames.
        start_at_mean: let the untrained head's scores lie about the training part's mean label.
        settling_fraction: share of the epochs at the start from which none is kept.
        split_rounding: where 60/20/20 is cut, "ceil" (VSFA) or "int" (MDTVSFA, Li).
    """

    name: str
    learning_rate: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    schedule: str = "none"
    loss: str = "l1"
    label_scale: str = "largest-of-training"
    pooling: str = "released"
    standardise: bool = False
    start_at_mean: bool = False
    settling_fraction: float = 0.0
    split_rounding: str = "int"

    def __post_init__(self) -> None:
        for registry, name in ((SCHEDULES, self.schedule), (LOSSES, self.loss), (LABEL_SCALES, self.label_scale), (POOLINGS, self.pooling)):
            registry.get(name)
        if self.split_rounding not in SPLIT_ROUNDINGS:
            raise ArgumentError(f"split_rounding is '{self.split_rounding}'; allowed are {' and '.join(SPLIT_ROUNDINGS)}.")
        if not self.learning_rate > 0 or not isfinite(self.learning_rate):
            raise ArgumentError(f"learning_rate is {self.learning_rate}; it has to be above 0 and finite, as 0.0003.")
        for key, least in _AT_LEAST.items():
            if not least <= getattr(self, key) < float("inf"):
                raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be at least {least}.")
        if self.settling_fraction >= 1:
            raise ArgumentError(f"settling_fraction is {self.settling_fraction}; it has to be below 1, or no epoch could be kept.")

    def first_kept_epoch(self) -> int:
        """Return the first epoch, counted from 1, that may be kept; 1/6 is the released VSFA.py's zero-based `epoch > epochs / 6`."""
        if self.settling_fraction == 0:
            return 1
        return min(int(self.settling_fraction * self.epochs) + 2, self.epochs)

    def overridden(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return this recipe with some values changed.

        Raises:
            ArgumentError: there is no such value, or it is of another kind.
        """
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        for key, value in changes.items():
            if key not in own or key == "name":
                raise ArgumentError(
                    f"recipe '{self.name}' has no value '{key}'; it has {', '.join(name for name in own if name != 'name')}."
                )
            kind = type(own[key])
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ArgumentError(
                    f"{key} is {value!r}; it has to be of the kind {kind.__name__}, as {own[key]!r} in the recipe '{self.name}'."
                )
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return asdict(self)


RECIPES: Registry[Recipe] = Registry("recipe")

# https://github.com/lidq92/VSFA, README and VSFA.py; a StepLR is built there but never stepped
VSFA = RECIPES.add(
    "vsfa",
    Recipe(
        "vsfa",
        learning_rate=1e-5,
        batch_size=16,
        epochs=2000,
        label_scale="largest-of-dataset",
        settling_fraction=1 / 6,
        split_rounding="ceil",
    ),
)

# of the candidates in tests/bench/choose_recipe.py the one with the highest validation SROCC ("plain 3e-4, 40 epochs"), at a fiftieth of
# the released number of epochs; standardised features and a falling rate lowered it, a start at the mean label made no clear difference
DEFAULT = RECIPES.add("default", Recipe("default", learning_rate=3e-4, batch_size=16, epochs=40))

# for a few dozen videos and features of any scale, such as those of a network with random weights; chosen by validation on the embedded set
DEMO = RECIPES.add("demo", Recipe("demo", learning_rate=1e-3, batch_size=16, epochs=40, standardise=True, start_at_mean=True))
