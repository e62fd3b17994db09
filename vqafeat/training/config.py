"""Recipes: named sets of everything that decides how a head is trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import cos, isfinite, pi
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.heads.pooling import POOLINGS
from vqafeat.losses import LABEL_SCALES, LOSSES, MIXINGS, LossOptions, options_read_by
from vqafeat.registry import Registry, keyword_options

# (share of the optimiser's steps that are behind, epoch from 1) → factor of the learning rate; options are
# values of the recipe
Schedule = Callable[..., float]

SCHEDULES: Registry[Schedule] = Registry("schedule")
SPLIT_ROUNDINGS = ("ceil", "int")
_AT_LEAST = {
    "batch_size": 1,
    "epochs": 1,
    "weight_decay": 0,
    "settling_fraction": 0,
    "decay_every": 1,
    "bucket_batches": 1,
}


@SCHEDULES.register("none")
def constant(done: float, epoch: int) -> float:
    """Keep the learning rate."""
    return 1.0


@SCHEDULES.register("cosine")
def cosine(done: float, epoch: int) -> float:
    """Lower the learning rate to 0 along half a cosine; `done` is the share of the optimiser's steps that are
    behind.
    """
    return 0.5 * (1 + cos(pi * done))


@SCHEDULES.register("step")
def step(done: float, epoch: int, *, decay: float = 0.8, decay_every: int = 2) -> float:
    """Multiply the learning rate by `decay` after every `decay_every` epochs, as StepLR in the released
    main.py of MDTVSFA and Li et al.
    """
    return decay ** ((epoch - 1) // decay_every)


@dataclass(frozen=True)
class Selection:
    """The part whose SROCC chooses the epoch that is kept.

    Attributes:
        part: of the split.
        note: what a reader of the metrics has to know; empty where there is nothing.
    """

    part: str
    note: str = ""


SELECTIONS: Registry[Selection] = Registry("selection")
SELECTIONS.add("validation", Selection("validation"))
SELECTIONS.add(
    "test",
    Selection(
        "test",
        "epochs were chosen by the SROCC of the test part (select=test): these metrics flatter the run",
    ),
)


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; the optimiser is Adam.

    Attributes:
        name: the recipe's name.
        learning_rate: at the start.
        weight_decay: decoupled from the gradient (AdamW); with 0 it is plain Adam.
        batch_size: videos a step; of each data set, where each has a loss of its own.
        epochs: passes over the training part, of the largest data set where there are several.
        schedule: how the learning rate changes from step to step.
        loss: on scaled labels.
        label_scale: what labels are divided by.
        pooling: variant of the hysteresis pooling, for the heads that have it.
        standardise: bring features to mean 0 and deviation 1 over the training part's frames.
        start_at_mean: let the untrained head's scores lie about the training part's mean label.
        settling_fraction: share of the epochs at the start from which none is kept.
        split_rounding: where 60/20/20 is cut, "ceil" (VSFA) or "int" (MDTVSFA, Li).
        soft_rank: see `LossOptions`, as the next three; read by the losses that have it.
        soft_rank_strength: see there.
        loss_weight: see there.
        ranks_read: see there.
        decay: of the schedule "step".
        decay_every: epochs, of the schedule "step".
        drop_last: leave out an epoch's last videos where they do not fill a batch, if there is a full one;
            others in each epoch.
        select: part whose SROCC chooses the epoch, "validation", or "test" to repeat a table that was made
            so.
        mixing: how several data sets share a training: "losses", one each, combined; or "pooled", as one data
            set.
        bucket_batches: videos of similar length share a batch: this many batches' worth of an epoch's
            shuffled videos are sorted by length at a time, and the batches shuffled again; 1 leaves the order
            as drawn. Saves recurrences the steps behind short videos' ends.
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
    soft_rank: str = "l2"
    soft_rank_strength: float = 1.0
    loss_weight: float = 1.0
    ranks_read: str = "relative"
    decay: float = 0.8
    decay_every: int = 2
    drop_last: bool = False
    select: str = "validation"
    mixing: str = "losses"
    bucket_batches: int = 1

    def __post_init__(self) -> None:
        named = ((SCHEDULES, self.schedule), (LABEL_SCALES, self.label_scale), (POOLINGS, self.pooling))
        for registry, name in (*named, (SELECTIONS, self.select), (MIXINGS, self.mixing)):
            registry.get(name)
        options_read_by(self.loss)
        self.loss_options()
        if self.split_rounding not in SPLIT_ROUNDINGS:
            raise ArgumentError(
                f"split_rounding is '{self.split_rounding}'; allowed are {' and '.join(SPLIT_ROUNDINGS)}."
            )
        if not self.learning_rate > 0 or not isfinite(self.learning_rate):
            raise ArgumentError(
                f"learning_rate is {self.learning_rate}; it has to be above 0 and finite, as 0.0003."
            )
        for key, least in _AT_LEAST.items():
            if not least <= getattr(self, key) < float("inf"):
                raise ArgumentError(f"{key} is {getattr(self, key)}; it has to be at least {least}.")
        if not 0 < self.decay <= 1:
            raise ArgumentError(f"decay is {self.decay}; it has to be above 0 and at most 1, as 0.8.")
        if self.settling_fraction >= 1:
            raise ArgumentError(
                f"settling_fraction is {self.settling_fraction}; it has to be below 1, or no epoch could be "
                f"kept."
            )

    def first_checkpoint_epoch(self) -> int:
        """Return the first epoch, counted from 1, that may be kept; 1/6 is the released VSFA.py's zero-based
        `epoch > epochs / 6`.
        """
        if self.settling_fraction == 0:
            return 1
        return min(int(self.settling_fraction * self.epochs) + 2, self.epochs)

    def loss_options(self) -> LossOptions:
        """Return the values that concern losses."""
        return LossOptions.among(asdict(self))

    def rate(self, epoch: int, batch: int, batches: int) -> float:
        """Return the learning rate of a batch, counted from 0, among the batches of an epoch, counted from
        1.
        """
        schedule = SCHEDULES.get(self.schedule)
        done = ((epoch - 1) * batches + batch) / (self.epochs * batches)
        return self.learning_rate * schedule(
            done, epoch, **{name: getattr(self, name) for name in keyword_options(schedule)}
        )

    def videos_an_epoch(self, videos: int) -> int:
        """Return how many of a training part's videos an epoch uses."""
        left = videos % self.batch_size if self.drop_last else 0
        return videos - left or videos

    def overridden(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return this recipe with some values changed.

        Raises:
            ArgumentError: there is no such value, it is of another kind, or neither the loss nor the schedule
                reads it.
        """
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        for key, value in changes.items():
            if key not in own or key == "name":
                raise ArgumentError(
                    f"recipe '{self.name}' has no value '{key}'; it has "
                    f"{', '.join(name for name in own if name != 'name')}."
                )
            kind = type(own[key])
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ArgumentError(
                    f"{key} is {value!r}; it has to be of the kind {kind.__name__}, as {own[key]!r} in the "
                    f"recipe '{self.name}'."
                )
        changed = replace(self, **changes)
        changed._refuse_unread(changes)
        return changed

    def _refuse_unread(self, changes: Mapping[str, Any]) -> None:
        """Refuse a change that would change nothing, of a value that only some losses or schedules read."""
        readers = {name: options_read_by(name) for name in LOSSES}
        readers |= {name: frozenset(keyword_options(SCHEDULES.get(name))) for name in SCHEDULES}
        readers["losses joined by +"] = frozenset({"loss_weight"})
        read = {*options_read_by(self.loss), *keyword_options(SCHEDULES.get(self.schedule))}
        for key, value in changes.items():
            able = [name for name, options in readers.items() if key in options]
            if able and key not in read:
                raise ArgumentError(
                    f"{key} is {value!r}, but the loss '{self.loss}' with the schedule '{self.schedule}' "
                    f"does not read it; "
                    f"leave it out, or use one that does: {', '.join(able)}."
                )

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

# of the candidates in tests/bench/choose_recipe.py ("mean 1e-4, 40 epochs") the one with the highest
# validation SROCC over four heads, at a fiftieth of the released number of epochs; three times the rate takes
# the output of no-time off the labels' scale, and so do standardised features
DEFAULT = RECIPES.add(
    "default", Recipe("default", learning_rate=1e-4, batch_size=16, epochs=40, start_at_mean=True)
)

# for some hundred videos and features of any scale; chosen by validation on the embedded set
DEMO = RECIPES.add(
    "demo",
    Recipe("demo", learning_rate=1e-3, batch_size=16, epochs=120, standardise=True, start_at_mean=True),
)

# https://github.com/lidq92/MDTVSFA, main.py, VQAloss.py ("mixed") and VQAdataset.py
RECIPES.add(
    "mdtvsfa",
    Recipe(
        "mdtvsfa",
        learning_rate=1e-4,
        batch_size=32,
        epochs=40,
        schedule="step",
        loss="plcc+rank-mdtvsfa+l1",
        label_scale="range-of-dataset",
        drop_last=True,
    ),
)

# https://github.com/zwx8981/TCSVT-2022-BVQA, main.py and VQAloss.py ("plcc+srcc"): labels as they are, soft
# ranks of strength 1; the paper (section IV-A4) lets the rate decay "with a ratio of 0.2 for every two
# epochs", the code multiplies by 0.8
LI_RELEASED = RECIPES.add(
    "li-released",
    Recipe(
        "li-released",
        learning_rate=5e-4,
        batch_size=32,
        epochs=40,
        schedule="step",
        loss="plcc+srcc",
        label_scale="none",
        drop_last=True,
    ),
)

# Li et al., sections III-E and IV-A4, as printed: a rate that falls to a fifth every two epochs, the pooling
# of equations 9 to 11, ranks of the fitted score; --option four_parameters=yes of the heads mdtvsfa… learns
# all of equation 13. The paper does not give the strength of the soft ranks; this one ranks 32 scores in [0,
# 1].
RECIPES.add(
    "li",
    replace(
        LI_RELEASED,
        name="li",
        decay=0.2,
        soft_rank_strength=0.01,
        ranks_read="mapped",
        label_scale="unit-of-training",
        pooling="paper",
    ),
)

# Li et al., table VI, "Proposed-LS": all data sets brought to one range and trained on with L1 as one; the
# rest as released
RECIPES.add(
    "li-rescaled",
    replace(LI_RELEASED, name="li-rescaled", loss="l1", label_scale="unit-of-dataset", mixing="pooled"),
)

# Fang et al., section IV ("Training"), frame level; --batch-size 256 for its sample level, 4096 for its cube
# level. What it does not state (epochs, label scale, the kept epoch, where parts are cut) is as in VSFA's
# released code, whose head and pooling it takes
RECIPES.add("fang", replace(VSFA, name="fang", batch_size=128))

# A2INet, section 4.1 and equations 6 to 9; not stated are the epochs (as many as Li et al.) and the labels'
# scale: here [0, 1]
RECIPES.add(
    "a2inet",
    Recipe(
        "a2inet",
        learning_rate=2e-5,
        batch_size=8,
        epochs=40,
        loss="l1+rank",
        label_scale="unit-of-training",
        start_at_mean=True,
    ),
)
