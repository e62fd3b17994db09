"""Recipes: named sets of values that decide how a head is trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import cos, inf, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vqafeat.errors import ArgumentError
from vqafeat.heads.pooling import POOLINGS
from vqafeat.losses import LOSSES
from vqafeat.losses.base import MIXINGS, SCORES, options_read_by
from vqafeat.losses.label_scaling import LABEL_SCALES
from vqafeat.losses.soft_rank import SOFT_RANKS
from vqafeat.registry import keyword_options, named
from vqafeat.schema import parse
from vqafeat.training import RECIPE_TABLE, recipe_summary


def constant(done: float, epoch: int) -> float:
    """Keep the learning rate."""
    return 1.0


def cosine(done: float, epoch: int) -> float:
    """Lower the learning rate to 0 along half a cosine."""
    return 0.5 * (1 + cos(pi * done))


def step(done: float, epoch: int, *, decay: float = 0.8, decay_every: int = 2) -> float:
    """Multiply the learning rate by `decay` every `decay_every` epochs (main.py of MDTVSFA and Li et al.)."""
    return decay ** ((epoch - 1) // decay_every)


# (share of the optimiser's steps that are done, epoch from 1) → factor of the learning rate; keyword options
# are values of the recipe
SCHEDULES: dict[str, Callable[..., float]] = {"none": constant, "cosine": cosine, "step": step}
# part of the split whose SROCC selects the epoch → what a reader of the metrics has to know
SELECTIONS = {
    "validation": "",
    "test": "epochs were chosen by the SROCC of the test part (select=test): these metrics are too good",
}
# names of version 1, as run folders store them → present names
FORMER_NAMES = {
    "ranks_read": "rank_input",
    "label_scale": "label_scaling",
    "mixing": "multi_dataset",
    "settling_fraction": "warmup_fraction",
    "bucket_batches": "length_bucket_size",
}
_NOT_OVERRIDDEN = ("name", "head_options")  # options of the head are given by themselves
_LEAST = dict.fromkeys(("batch_size", "epochs", "decay_every", "length_bucket_size"), 1)
_LEAST |= {"weight_decay": 0, "warmup_fraction": 0}


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; the optimiser is Adam.

    Attributes:
        weight_decay: decoupled from the gradient (AdamW); with 0 it is plain Adam.
        batch_size: videos a step; of each data set, where each has its own loss.
        epochs: passes over the training part, of the largest data set where there are several.
        standardise: bring features to mean 0 and deviation 1 over the training part's frames.
        start_at_mean: make the untrained head's scores start at the training part's mean label.
        warmup_fraction: share of the epochs at the start from which none is kept; 1/6 is the zero-based
            `epoch > epochs / 6` of VSFA.py.
        split_rounding: where 60/20/20 is cut, "ceil" (VSFA) or "int" (MDTVSFA, Li).
        soft_rank, soft_rank_strength: see `srcc_loss`.
        loss_weight: of the second and later losses of a sum (λ of Li et al., η of A2INet).
        rank_input: score that rank losses read, "relative" (released code) or "mapped" (Li et al.).
        decay, decay_every: factor and epochs of the schedule "step".
        drop_last: leave out an epoch's last videos where they do not fill a batch, if there is a full one.
        select: part whose SROCC selects the epoch, "validation", or "test" to repeat a table that did so.
        multi_dataset: loss of several data sets: "losses", one each, combined; or "pooled", as one data set.
        head_options: options of the head that differ from its defaults, where the head has them.
        length_bucket_size: this many batches' worth of an epoch's shuffled videos are sorted by length at a
            time, and the batches shuffled again, which saves a recurrence the steps after short videos' ends.
    """

    name: str
    learning_rate: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    schedule: str = "none"
    loss: str = "l1"
    label_scaling: str = "largest-of-training"
    pooling: str = "released"
    standardise: bool = False
    start_at_mean: bool = False
    warmup_fraction: float = 0.0
    split_rounding: str = "int"
    soft_rank: str = "l2"
    soft_rank_strength: float = 1.0
    loss_weight: float = 1.0
    rank_input: str = "relative"
    decay: float = 0.8
    decay_every: int = 2
    drop_last: bool = False
    select: str = "validation"
    multi_dataset: str = "losses"
    length_bucket_size: int = 1
    head_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named("label scale", self.label_scaling, LABEL_SCALES)
        POOLINGS.get(self.pooling)
        named("mixing", self.multi_dataset, MIXINGS)
        options_read_by(self.loss)
        named("soft rank", self.soft_rank, SOFT_RANKS)
        named("schedule", self.schedule, SCHEDULES)
        named("selection", self.select, SELECTIONS)
        if self.split_rounding not in ("ceil", "int"):
            raise ArgumentError(f"split_rounding is '{self.split_rounding}'; allowed are ceil and int.")
        if self.rank_input not in SCORES:
            raise ArgumentError(f"rank_input is '{self.rank_input}'; allowed are {', '.join(SCORES)}.")
        for key, least in _LEAST.items():
            if not least <= getattr(self, key) < inf:
                raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be at least {least}.")
        ranges = {
            "learning_rate": (0 < self.learning_rate < inf, "above 0 and finite, such as 0.0003"),
            "soft_rank_strength": (0 < self.soft_rank_strength < inf, "above 0 and finite, such as 0.1"),
            "loss_weight": (0 <= self.loss_weight < inf, "at least 0 and finite, such as 1"),
            "decay": (0 < self.decay <= 1, "above 0 and at most 1, such as 0.8"),
            "warmup_fraction": (self.warmup_fraction < 1, "below 1, or no epoch could be kept"),
        }
        for key, (allowed, words) in ranges.items():
            if not allowed:
                raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be {words}.")
        # what `vqafeat list recipes` prints of a recipe that a plug-in adds
        defaults = {item.name: item.default for item in fields(self)}
        defaults |= {"name": self.name, "loss": None, "head_options": {}}
        own = {key: value for key, value in vars(self).items() if value != defaults[key]}
        vars(self)["__doc__"] = recipe_summary(own)

    def first_checkpoint_epoch(self) -> int:
        """Return the first epoch, from 1, that may be kept."""
        if self.warmup_fraction == 0:
            return 1
        return min(int(self.warmup_fraction * self.epochs) + 2, self.epochs)

    def loss_options(self) -> dict[str, Any]:
        """Return the values that losses read."""
        names = ("soft_rank", "soft_rank_strength", "loss_weight", "rank_input")
        return {name: getattr(self, name) for name in names}

    def scheduler(self, optimiser: Optimizer, steps_per_epoch: int) -> LambdaLR:
        """Return the schedule of the learning rate; it steps after each step of the optimiser."""
        schedule, steps = SCHEDULES[self.schedule], self.epochs * steps_per_epoch
        options = {name: getattr(self, name) for name in keyword_options(schedule)}
        return LambdaLR(
            optimiser, lambda step: schedule(step / steps, step // steps_per_epoch + 1, **options)
        )

    def videos_an_epoch(self, videos: int) -> int:
        """Return how many of a training part's videos an epoch uses."""
        left = videos % self.batch_size if self.drop_last else 0
        return videos - left or videos

    def overridden(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return this recipe with some other values, which have to be read; names of version 1 work too."""
        changes = {FORMER_NAMES.get(key, key): value for key, value in changes.items()}
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        for key, value in changes.items():
            if key not in own or key in _NOT_OVERRIDDEN:
                known = ", ".join(name for name in own if name not in _NOT_OVERRIDDEN)
                raise ArgumentError(f"recipe '{self.name}' has no value '{key}'; it has {known}.")
            kind = type(own[key])
            if type(value) is not kind and not (kind is float and type(value) is int):
                usual = f"of type {kind.__name__}, such as {own[key]!r} in the recipe '{self.name}'"
                raise ArgumentError(f"{key} is {value!r}; it has to be {usual}.")
        changed = replace(self, **changes)
        readers = {name: set(options_read_by(name)) for name in LOSSES}
        readers |= {name: set(keyword_options(schedule)) for name, schedule in SCHEDULES.items()}
        readers["losses joined by +"] = {"loss_weight"}
        read = {*options_read_by(changed.loss), *keyword_options(SCHEDULES[changed.schedule])}
        for key, value in changes.items():
            able = [name for name, options in readers.items() if key in options]
            if able and key not in read:
                raise ArgumentError(
                    f"{key} is {value!r}, but the loss '{changed.loss}' with the schedule "
                    f"'{changed.schedule}' does not read it; leave it out, or use one that does: "
                    f"{', '.join(able)}."
                )
        return changed

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them, under the names of version 1, without the head's options."""
        stored = {new: old for old, new in FORMER_NAMES.items()}
        values = asdict(self)
        del values["head_options"]
        return {stored.get(name, name): value for name, value in values.items()}


def __getattr__(name: str) -> Recipe:
    """Return a recipe of `recipes.toml`; `RECIPES` imports each by its name."""
    if name not in RECIPE_TABLE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return parse(Recipe, {"name": name, **RECIPE_TABLE[name]}, name)
