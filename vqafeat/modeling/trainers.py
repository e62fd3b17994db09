"""Ways to train a head: epoch by epoch, or all at once."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.heads import HEADS
from vqafeat.modeling.checkpoints import Checkpoint
from vqafeat.modeling.recipes import Recipe
from vqafeat.modeling.records import Assignment, EpochRecord, TrainingResult
from vqafeat.modeling.sampling import FrameInput
from vqafeat.modeling.sequences import Sequences
from vqafeat.modeling.svr_training import train_svrs
from vqafeat.modeling.training import train_together
from vqafeat.registry import Registry

Train = Callable[
    [Sequences, "Sequence[Assignment]", str, Mapping[str, Any], Recipe, str, FrameInput, Checkpoint | None],
    Generator[tuple[int, EpochRecord], None, list[TrainingResult]],
]


@dataclass(frozen=True)
class Trainer:
    """A way to train a head on some splits.

    Attributes:
        train: yields (split, record) an epoch, if it has epochs, and returns what is kept of each split.
        follows_recipe: whether the recipe's optimiser, epochs and loss mean anything to it.
    """

    train: Train
    follows_recipe: bool


TRAINERS: Registry[Trainer] = Registry("trainer")
TRAINERS.add("epochs", Trainer(train_together, follows_recipe=True))
TRAINERS.add("svr", Trainer(train_svrs, follows_recipe=False))


def trainer_of(head: str) -> Trainer:
    """Return how the head of that name is trained."""
    return TRAINERS.get(HEADS.get(head).trainer)


def check_overrides(head: str, overrides: Mapping[str, Any]) -> None:
    """Refuse values of a recipe that were asked for and mean nothing to the head.

    Raises:
        ArgumentError: there are such values.
    """
    if overrides and not trainer_of(head).follows_recipe:
        raise ArgumentError(
            f"head '{head}' is not trained by gradients, so {', '.join(overrides)} mean(s) nothing to it; "
            "leave it out, or train another head."
        )
