"""What a cell of a table asks to be trained: everything that `vqafeat fit` takes, checked as soon as it is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vqafeat.datasets.manifest import build
from vqafeat.errors import ArgumentError
from vqafeat.heads import HEADS, head_options
from vqafeat.metrics import DEFAULT_MAPPING, MAPPINGS
from vqafeat.splits import SPLIT_PROTOCOLS, Ratio
from vqafeat.training.config import RECIPES
from vqafeat.training.data import split_feature_sets
from vqafeat.training.frame_sampling import FrameInput


@dataclass(frozen=True)
class Need:
    """A feature set of a data set, without which a cell cannot be measured."""

    dataset: str
    feature_set: str


@dataclass(frozen=True)
class RunRequest:
    """A fit that a table asks for.

    Attributes:
        datasets: to train on; several are trained on together.
        features: feature sets, joined by `+`.
        head: its name.
        options: of the head, over its own.
        recipe: its name.
        overrides: values of the recipe to change.
        order, sampling, draws: the frames that are taken, as in `FrameInput`.
        protocol: how splits are drawn.
        ratio: of the parts.
        splits: their number.
        seed: of splits and training.
        test_part, validation_share: of the protocol `official`.
        mapping: what PLCC and RMSE are read after.

    Raises:
        ArgumentError: a value is not allowed.
        UnknownNameError: a head, recipe, protocol or mapping does not exist.
    """

    datasets: tuple[str, ...] = ()
    features: str = ""
    head: str = "sub-gru"
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    order: str = "OO"
    sampling: str = "all"
    draws: int = 1
    protocol: str = "content"
    ratio: str = "60/20/20"
    splits: int = 10
    seed: int = 0
    test_part: str = "test"
    validation_share: float = 0.2
    mapping: str = DEFAULT_MAPPING

    def __post_init__(self) -> None:
        if len(set(self.datasets)) < len(self.datasets):
            raise ArgumentError(f"datasets is {', '.join(self.datasets)}; name each data set once.")
        if self.splits < 1:
            raise ArgumentError(f"splits is {self.splits}; it has to be at least 1.")
        HEADS.get(self.head)
        head_options(self.head, self.options)
        RECIPES.get(self.recipe).overridden(self.overrides)
        SPLIT_PROTOCOLS.get(self.protocol)
        MAPPINGS.get(self.mapping)
        Ratio.parse(self.ratio)
        _ = self.frame_input
        if self.features:
            split_feature_sets(self.features)

    @property
    def frame_input(self) -> FrameInput:
        """The frames that are taken."""
        return FrameInput(self.order, self.sampling, self.draws)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The feature sets of the data sets that the fit reads."""
        return self.needs_of(self.datasets)

    def needs_of(self, datasets: tuple[str, ...]) -> tuple[Need, ...]:
        """Return the fit's feature sets of other data sets."""
        return tuple(Need(dataset, name) for dataset in datasets for name in split_feature_sets(self.features))

    def changed(self, changes: Mapping[str, Any]) -> "RunRequest":
        """Return the request with some values changed; those of `options` and `overrides` one by one.

        Raises:
            DatasetError: there is no such value, or it is of another kind.
        """
        joined = {key: {**getattr(self, key, {}), **value} if isinstance(value, dict) else value for key, value in changes.items()}
        return build(RunRequest, {**vars(self), "datasets": list(self.datasets), **joined}, "run")

    @property
    def folder(self) -> str:
        """The name that a run folder has where nothing else is said, as in `vqafeat fit`."""
        return f"{'+'.join(self.datasets)}-{self.features}-{self.head}".replace("/", "_")
