"""`RunConfig`: everything that decides a run, as its folder stores it."""

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch

import vqafeat
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import json_text
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.schema import parse
from vqafeat.training import RECIPES
from vqafeat.training.frame_sampling import ORDER_READING, WHOLE_VIDEOS, FrameInput
from vqafeat.training.recipes import FORMER_NAMES

FORMAT_VERSION = 2
# the settings in the words of `split_kind`
_SPLIT_KIND = re.compile(
    r"(?P<protocol>\w+)(?:, tested on '(?P<test_part>[^']*)', (?P<validation_share>[\d.]+) of"
    r"|, (?P<ratio>\d+(?:/\d+)+))?"
)


def software_versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on."""
    return {
        "vqafeat": vqafeat.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


@dataclass(frozen=True)
class TrainingDataset:
    """A data set that a run was trained on, and its label scale."""

    name: str
    digest: str  # SHA-256 of its labels; empty where it is not known
    score_name: str  # what the labels are, for example "MOS"
    mos_range: tuple[int | float, int | float]  # a whole number stays one, since the run's digest covers it
    lines: tuple[LabelScaling, ...]  # how a head's output becomes a score, one for each split


@dataclass(frozen=True)
class RunConfig:
    """Everything that decided a run, resolved."""

    head: str
    options: dict[str, Any]
    recipe: dict[str, Any]  # empty for heads that follow none
    seed: int
    feature_sets: str  # names joined by `+`, for example `resnet50+slowfast-fast`
    identities: dict[str, dict[str, Any]]  # of the feature sets; empty for an imported head
    channels: int
    datasets: tuple[TrainingDataset, ...]
    split_kind: str  # how the splits were drawn, in words
    mapping: str
    origin: str  # the command or file that the run comes from
    versions: dict[str, str]
    frame_input: FrameInput = WHOLE_VIDEOS
    splits_digest: str = ""  # SHA-256 of the videos of each part of each split; empty where not known
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if len({len(one.lines) for one in self.datasets}) != 1 or not self.splits:
            needed = "at least one data set, each with one label line for each split"
            raise WeightsError(f"the run needs {needed}; fit again.")
        if self.channels < 1:
            raise WeightsError(f"channels of the run is {self.channels}; it has to be at least 1.")

    @property
    def dataset_names(self) -> list[str]:
        """The names of the data sets."""
        return [one.name for one in self.datasets]

    @property
    def dataset(self) -> str:
        """The names of the data sets, joined."""
        return "+".join(self.dataset_names)

    @property
    def score_name(self) -> str:
        """What the labels are, joined."""
        return "+".join(one.score_name for one in self.datasets)

    @property
    def splits(self) -> int:
        """Number of splits, each with its own head."""
        return len(self.datasets[0].lines)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the run's numbers, software included: the run's identity."""
        # the version of Python moves no number
        values = {**self.as_dict(), "origin": "", "versions": {**self.versions, "python": ""}}
        return sha256(json_text(values).encode()).hexdigest()

    def changed_settings(self, other: "RunConfig") -> dict[str, Any]:
        """Return the settings that differ from those of a run; with another recipe, from that recipe."""
        before, recipe = other._settings(), str(self.recipe.get("name", ""))
        if recipe in RECIPES and recipe != before.get("recipe"):
            named = RECIPES.get(recipe)
            before |= {**named.head_options, **_recipe_settings(named.as_dict()), "recipe": None}
        own = {name: value for name, value in self._settings().items() if value is not None}
        return {name: value for name, value in own.items() if before.get(name) != value}

    def _settings(self) -> dict[str, Any]:
        words = _SPLIT_KIND.match(self.split_kind)
        return {
            "dataset": self.dataset,
            "features": self.feature_sets,
            "head": self.head,
            **_recipe_settings(self.recipe),
            **self.options,
            **{key: getattr(self.frame_input, key) for key in ("order", "sampling", "draws")},
            **(words.groupdict() if words else {}),
            "splits": self.splits,
            "mapping": self.mapping,
            "seed": self.seed,
            **{key: value for key, value in self.versions.items() if key != "python"},
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them."""
        return {**asdict(self), "frame_input": self.frame_input.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "RunConfig":
        """Return the configuration that `as_dict` described; messages name `where`."""
        if (version := values.get("format_version")) != FORMAT_VERSION:
            known = f"this vqafeat reads {FORMAT_VERSION}"
            raise WeightsError(f"{where} has format version {version}, {known}; fit again.")
        frame_input = values.get("frame_input")
        if not isinstance(frame_input, dict) or frame_input.get("order_reading") != ORDER_READING:
            allowed = f"its order_reading has to be '{ORDER_READING}'"
            raise WeightsError(f"{where}: frame_input is {frame_input}; {allowed}. Fit again.")
        frame_input = {key: value for key, value in frame_input.items() if key != "order_reading"}
        return parse(cls, {**values, "frame_input": frame_input}, where, WeightsError)


def _recipe_settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a stored recipe under their present names."""
    names = {**FORMER_NAMES, "name": "recipe"}
    return {names.get(name, name): value for name, value in stored.items()}


def dataset_with_scale(config: RunConfig, scale_of: str | None) -> TrainingDataset:
    """Return the data set of a run with the requested label scale; without a name, the first."""
    names = config.dataset_names
    if scale_of is not None and scale_of not in names:
        trained_on = ", ".join(names)
        raise ArgumentError(f"the run has no label scale of '{scale_of}'; it was trained on {trained_on}.")
    return config.datasets[0 if scale_of is None else names.index(scale_of)]
