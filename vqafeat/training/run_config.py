"""Everything that decides a run, as its folder stores it."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

import numpy as np
import torch

import vqafeat
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import json_text, summarize
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput

FORMAT_VERSION = 2


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
    """A data set that a run was trained on, and its label scale.

    Attributes:
        digest: of its labels; empty where it is not known.
        score_name: what the labels are, for example "MOS".
        mos_range: smallest and largest label of the data set's scale.
        lines: one a split: how a head's output becomes a score.
    """

    name: str
    digest: str
    score_name: str
    mos_range: tuple[float, float]
    lines: tuple[LabelScaling, ...]

    def __post_init__(self) -> None:
        if not self.lines:
            raise WeightsError(
                f"the run has no label line for '{self.name}'; there has to be one for each split. Fit again."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingDataset":
        """Return what `dataclasses.asdict` made of one."""
        try:
            lines = tuple(LabelScaling(**line) for line in values["lines"])
            return cls(**{**values, "mos_range": tuple(values["mos_range"]), "lines": lines})
        except (TypeError, KeyError, ArgumentError) as error:
            raise WeightsError(
                f"a data set of the run is {dict(values)}, which this vqafeat does not read ({error}). Fit "
                "again."
            ) from error


@dataclass(frozen=True)
class RunConfig:
    """Everything that decided a run, resolved.

    Attributes:
        options: all of the head's options.
        recipe: all values of the recipe as stored; empty for an imported head and for one that follows none.
        seed: of the whole run; each split draws its own from it.
        feature_sets: for example `resnet50+slowfast-fast`.
        identities: feature set → what its numbers depend on; empty where it is not known (imported heads).
        channels: of a frame.
        split_kind: how the splits were drawn, in words.
        mapping: applied before PLCC and RMSE.
        origin: the command or file that the run comes from.
        frame_input: the frames that the heads were trained on and are tested on.
        splits_digest: SHA-256 over the videos of each part of each split; empty where they are not known.
    """

    head: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    feature_sets: str
    identities: dict[str, dict[str, Any]]
    channels: int
    datasets: tuple[TrainingDataset, ...]
    split_kind: str
    mapping: str
    origin: str
    versions: dict[str, str]
    frame_input: FrameInput = WHOLE_VIDEOS
    splits_digest: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.datasets or len({len(one.lines) for one in self.datasets}) != 1:
            raise WeightsError(
                "the run needs at least one data set, each with as many label lines as there are splits; "
                "fit again."
            )
        if self.channels < 1:
            raise WeightsError(f"channels of the run is {self.channels}; it has to be at least 1.")

    @property
    def dataset(self) -> str:
        """The names of the data sets, joined."""
        return "+".join(one.name for one in self.datasets)

    @property
    def dataset_digest(self) -> str:
        """The digests of the data sets, joined."""
        return "+".join(one.digest for one in self.datasets)

    @property
    def score_name(self) -> str:
        """What the labels are, joined."""
        return "+".join(one.score_name for one in self.datasets)

    @property
    def splits(self) -> int:
        """How many splits the run has, each with its own head."""
        return len(self.datasets[0].lines)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the run's numbers, software included: the run's identity."""
        python = {"python": ""}  # its version moves no number
        values = {**self.as_dict(), "origin": "", "versions": {**self.versions, **python}}
        return sha256(json_text(values).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them."""
        return {**asdict(self), "frame_input": self.frame_input.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "RunConfig":
        """Return the configuration that `as_dict` described; `where` is named in messages."""
        if values.get("format_version") != FORMAT_VERSION:
            raise WeightsError(
                f"{where} has format version {values.get('format_version')}, this vqafeat reads "
                f"{FORMAT_VERSION}; fit again."
            )
        known = [item.name for item in fields(cls)]
        problems = [f"'{key}' is missing" for key in known if key not in values] + [
            f"'{key}' is not known" for key in values if key not in known
        ]
        if problems:
            raise WeightsError(
                f"{where} is not a configuration that this vqafeat reads: {summarize(problems, 3, '; ')}. "
                "Fit again."
            )
        datasets = tuple(TrainingDataset.from_dict(one) for one in values["datasets"])
        frame_input = FrameInput.from_dict(values["frame_input"])
        return cls(**{**values, "datasets": datasets, "frame_input": frame_input})


def dataset_with_scale(config: RunConfig, scale_of: str | None) -> TrainingDataset:
    """Return the data set of a run with the requested label scale; without a name, the first."""
    if scale_of is None:
        return config.datasets[0]
    for dataset in config.datasets:
        if dataset.name == scale_of:
            return dataset
    trained_on = config.dataset.replace("+", ", ")
    raise ArgumentError(f"the run has no label scale of '{scale_of}'; it was trained on {trained_on}.")
