"""`FitConfig`, which describes a fit."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.heads import HEADS
from vqafeat.heads.base import Head, head_options
from vqafeat.metrics import DEFAULT_MAPPING, MAPPINGS
from vqafeat.registry import named
from vqafeat.splits import SPLIT_PROTOCOLS, parse_ratio
from vqafeat.store.features import split_feature_sets
from vqafeat.training import RECIPES
from vqafeat.training.frame_sampling import FrameInput
from vqafeat.training.recipes import SCHEDULES, SELECTIONS, Recipe

# options of heads that version 1 did not have: left out at their defaults, runs keep their digest
_LATER_OPTIONS = {"learn_lines": True}

__all__ = ["RECIPES", "SCHEDULES", "SELECTIONS", "FitConfig", "Recipe", "is_gradient_based"]


def is_gradient_based(head: str) -> bool:
    """Return whether the optimiser, epochs and loss of a recipe apply to the head of that name."""
    return HEADS.get(head).trainer == "epochs"


def _has_several_scores(head: str) -> bool:
    return HEADS.get(head).outputs is not Head.outputs


@dataclass(frozen=True)
class FitConfig:
    """A fit: everything that decides its numbers, apart from the stored features themselves.

    Attributes:
        features: feature sets joined by `+`; empty for the only one of the store.
        head, recipe: names of `vqafeat list heads` and `vqafeat list recipes`.
        options: options of the head that differ from the recipe's and from its defaults.
        overrides: values of the recipe to change, such as `{"epochs": 20, "loss": "plcc"}`; see `Recipe`.
        splits: number of splits; each trains one head.
        protocol: how videos are split: content, video, stored or official.
        ratio: training/validation/test in percent; 80/20 has no validation part.
        test_part: test part of an official split.
        validation_share: share of an official training part, where no validation part is published.
        seed: of the splits and the training.
        mapping: mapping before PLCC and RMSE; see `vqafeat.metrics`.
        order, sampling, draws: the frames that the head sees; see `FrameInput`.
        skip_missing: leave out videos without complete features instead of refusing to start.
    """

    features: str = ""
    head: str = "sub-gru"
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    splits: int = 10
    protocol: str = "content"
    ratio: str = "60/20/20"
    test_part: str = "test"
    validation_share: float = 0.2
    seed: int = 0
    mapping: str = DEFAULT_MAPPING
    order: str = "OO"
    sampling: str = "all"
    draws: int = 1
    skip_missing: bool = False

    def __post_init__(self) -> None:
        for item in fields(self):
            value, usual = getattr(self, item.name), {} if item.default is MISSING else item.default
            kind = Mapping if usual == {} else type(usual)
            if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
                allowed = f"of type {kind.__name__}, such as {usual!r}"
                raise ArgumentError(f"{item.name} is {value!r}; it has to be {allowed}.")
        for name, least in (("splits", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ArgumentError(f"{name} is {getattr(self, name)}; it has to be at least {least}.")
        named("split protocol", self.protocol, SPLIT_PROTOCOLS)
        MAPPINGS.get(self.mapping)
        parse_ratio(self.ratio)
        if self.features:
            split_feature_sets(self.features)
        if self.overrides and not is_gradient_based(self.head):
            raise ArgumentError(
                f"head '{self.head}' is not trained by gradients and does not use "
                f"{', '.join(self.overrides)}; leave that out, or train another head."
            )
        _ = self.frame_input, self.head_options

    @cached_property
    def resolved_recipe(self) -> Recipe:
        """The recipe with its overrides."""
        return RECIPES.get(self.recipe).overridden(self.overrides)

    @property
    def epochs(self) -> int | None:
        """Epochs of each split; None where the head is not trained in epochs."""
        return self.resolved_recipe.epochs if is_gradient_based(self.head) else None

    @cached_property
    def head_options(self) -> dict[str, Any]:
        """All options of the head: the given ones, then those of the recipe, then its defaults."""
        recipe, known = self.resolved_recipe, head_options(self.head)
        options = {key: value for key, value in recipe.head_options.items() if key in known}
        if "pooling" in self.overrides and "pooling" not in known:
            able = ", ".join(name for name in HEADS if "pooling" in head_options(name))
            problem = f"pooling is '{recipe.pooling}', but head '{self.head}' has no temporal pooling"
            raise ArgumentError(f"{problem}; leave it out, or use a head with one: {able}.")
        if "rank_input" in self.overrides and not _has_several_scores(self.head):
            able = ", ".join(filter(_has_several_scores, HEADS))
            problem = f"rank_input is '{recipe.rank_input}', but head '{self.head}' has one score"
            raise ArgumentError(f"{problem}; leave it out, or use a head with several: {able}.")
        pooling = {"pooling": recipe.pooling} if "pooling" in known else {}
        resolved = head_options(self.head, {**pooling, **options, **self.options})
        return {
            key: value
            for key, value in resolved.items()
            if key in options or _LATER_OPTIONS.get(key) != value
        }

    @cached_property
    def frame_input(self) -> FrameInput:
        """The frames that the head sees."""
        return FrameInput(self.order, self.sampling, self.draws)

    def folder_name(self, dataset: str) -> str:
        """Return the usual name of the run folder of this fit on a data set; `scp` takes `:` for a host."""
        return re.sub('[/\\\\:*?"<>|]', "_", f"{dataset}-{self.features}-{self.head}")
