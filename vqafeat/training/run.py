"""Everything that decides a run, as its folder keeps it."""

import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vqafeat
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import json_text, list_first
from vqafeat.losses import LabelLine
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.results import (
    CALIBRATION,
    CONFIG,
    METRICS,
    PREDICTIONS,
    SPLITS,
    STATE,
    TRAINING_FEATURES,
    WEIGHTS,
    Prediction,
    read_json,
    read_predictions,
)

FORMAT_VERSION = 2


def software_versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on."""
    return {"vqafeat": vqafeat.__version__, "python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


@dataclass(frozen=True)
class TrainedOn:
    """A data set that a run was trained on, and its label scale.

    Attributes:
        name: of the data set.
        digest: of its labels; empty where it is not known.
        score_name: what the labels are, for example "MOS".
        mos_range: smallest and largest label of the data set's scale.
        lines: one a split: how a head's output becomes a score.

    Raises:
        WeightsError: there is no line.
    """

    name: str
    digest: str
    score_name: str
    mos_range: tuple[float, float]
    lines: tuple[LabelLine, ...]

    def __post_init__(self) -> None:
        if not self.lines:
            raise WeightsError(f"the run has no label line for '{self.name}'; there has to be one for each split. Fit again.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainedOn":
        """Return what `dataclasses.asdict` made of one.

        Raises:
            WeightsError: a key is missing or unknown, or a line is none.
        """
        try:
            lines = tuple(LabelLine(**line) for line in values["lines"])
            return cls(**{**values, "mos_range": tuple(values["mos_range"]), "lines": lines})
        except (TypeError, KeyError, ArgumentError) as error:
            raise WeightsError(
                f"a data set of the run is {dict(values)}, which this vqafeat does not read ({error}). Fit again."
            ) from error


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, resolved.

    Attributes:
        head: name in the registry of heads.
        options: all of the head's options.
        recipe: all values of the recipe; empty for an imported head and for one that follows none.
        seed: of the whole run; each split draws its own from it.
        feature_sets: as given, for example `resnet50+slowfast-fast`.
        identities: feature set → what its numbers depend on; empty where it is not known (imported heads).
        channels: width of a frame's features.
        datasets: those that the heads were trained on.
        split_kind: how the splits were drawn, in words.
        mapping: what PLCC and RMSE are read after.
        origin: the command or file that the run comes from.
        versions: of the software.
        frame_input: the frames that the heads were trained on and are tested on.
        splits_digest: SHA-256 over the videos of each part of each split; empty where they are not known.
        format_version: of the run folder.
    """

    head: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    feature_sets: str
    identities: dict[str, dict[str, Any]]
    channels: int
    datasets: tuple[TrainedOn, ...]
    split_kind: str
    mapping: str
    origin: str
    versions: dict[str, str]
    frame_input: FrameInput = WHOLE_VIDEOS
    splits_digest: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.datasets or len({len(one.lines) for one in self.datasets}) != 1:
            raise WeightsError("the run needs at least one data set, each with as many label lines as there are splits; fit again.")
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
        """How many splits the run has, each with a head of its own."""
        return len(self.datasets[0].lines)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the run's numbers, software included; two runs of one digest are the same run."""
        python = {"python": ""}  # its own version moves no number
        values = {**self.as_dict(), "origin": "", "versions": {**self.versions, **python}}
        return sha256(json_text(values).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {**asdict(self), "frame_input": self.frame_input.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "RunConfig":
        """Return the configuration that `as_dict` described.

        Raises:
            WeightsError: a key is missing or unknown.
        """
        if values.get("format_version") != FORMAT_VERSION:
            raise WeightsError(
                f"{where} has format version {values.get('format_version')}, this vqafeat reads {FORMAT_VERSION}; fit again."
            )
        known = [item.name for item in fields(cls)]
        problems = [f"'{key}' is missing" for key in known if key not in values] + [
            f"'{key}' is not known" for key in values if key not in known
        ]
        if problems:
            raise WeightsError(f"{where} is not a configuration that this vqafeat reads: {list_first(problems)}. Fit again.")
        datasets = tuple(TrainedOn.from_dict(one) for one in values["datasets"])
        return cls(**{**values, "datasets": datasets, "frame_input": FrameInput.from_dict(values["frame_input"])})


def chosen_scale(config: RunConfig, scale_of: str | None) -> TrainedOn:
    """Return the data set of a run whose label scale is asked for; without a name, the first.

    Raises:
        ArgumentError: the run was not trained on it.
    """
    if scale_of is None:
        return config.datasets[0]
    found = [one for one in config.datasets if one.name == scale_of]
    if not found:
        raise ArgumentError(f"the run has no label scale of '{scale_of}'; it was trained on {config.dataset.replace('+', ', ')}.")
    return found[0]


_DIGITS = 8


@dataclass(frozen=True)
class RunFolder:
    """Where a run goes.

    Attributes:
        path: the folder.
        finished: it holds this very run already.
    """

    path: Path
    finished: bool


def prepared(out: Path, config: RunConfig, overwrite: bool, elsewhere: bool) -> RunFolder:
    """Return the folder of a run, ready to be written to, or with that run finished or stopped half-way in it.

    Args:
        out: the folder that is asked for.
        config: of the run.
        overwrite: what `out` holds of a run is removed.
        elsewhere: where another run has `out`, this one is looked for beside it, and else goes to a folder named after its digest.

    Raises:
        ArgumentError: the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"'{out}' is a file; name a folder for the run with --out.")
    if overwrite:
        _refuse_foreign(out)
        _clear(out)
        return RunFolder(out, finished=False)
    if elsewhere:
        beside = [out, *sorted(path.parent for path in out.parent.glob(f"*/{CONFIG}"))]
        same = [path for path in beside if _digest(path) == config.digest]
        finished = [path for path in same if (path / METRICS).is_file()]
        taken = (out / CONFIG).is_file() or (out.is_dir() and any(out.iterdir()))
        out = next(iter([*finished, *same]), out.with_name(f"{out.name}-{config.digest[:_DIGITS]}") if taken else out)
    _refuse_foreign(out)
    same_run, finished_run = _digest(out) == config.digest, (out / METRICS).is_file()
    if (out / CONFIG).is_file() and not same_run:
        state = "a finished run" if finished_run else "an unfinished run"
        raise ArgumentError(
            f"'{out}' holds {state} of another configuration; name another folder with --out, or replace it with --overwrite."
        )
    return RunFolder(out, finished_run and same_run)


def _digest(folder: Path) -> str | None:
    """Return the digest of the run in a folder, or None where there is none that this vqafeat reads."""
    try:
        return RunConfig.from_dict(read_json(folder / CONFIG), str(folder)).digest
    except WeightsError:
        return None


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG).is_file():
        raise ArgumentError(f"'{out}' holds files that are not of a run; name another folder with --out.")


def _clear(out: Path) -> None:
    """Remove what would be taken for part of a run; its mark of completeness goes first."""
    for name in (METRICS, CALIBRATION, TRAINING_FEATURES):
        (out / name).unlink(missing_ok=True)
    for folder in (WEIGHTS, STATE):
        shutil.rmtree(out / folder, ignore_errors=True)


PARTS = ("train", "validation", "test")
_OUTSIDE_TRAINING = ("validation", "test")


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A finished run as its folder tells it.

    Attributes:
        folder: the run folder.
        config: everything that decided the run.
        metrics: what metrics.json holds.
        splits: one a head: part → names of its videos.
        rows: (split, part, video) → the score, of the validation and test parts.

    Raises:
        WeightsError: a video of a validation or test part has no score.
    """

    folder: Path
    config: RunConfig
    metrics: Mapping[str, Any]
    splits: Sequence[Mapping[str, list[str]]]
    rows: Mapping[tuple[int, str, str], Prediction]

    def __post_init__(self) -> None:
        named = [(number, part, video) for number, split in enumerate(self.splits) for part in _OUTSIDE_TRAINING for video in split[part]]
        missing = [key for key in named if key not in self.rows]
        if missing:
            number, part, video = missing[0]
            raise WeightsError(
                f"'{self.folder / PREDICTIONS}' lacks {len(missing)} of {len(named)} scores that '{SPLITS}' names (first: {video}, {part} "
                f"part of split {number}); run `vqafeat fit` again."
            )

    @classmethod
    def read(cls, folder: Path) -> "RecordedRun":
        """Read a run folder.

        Raises:
            WeightsError: it is no finished run of `vqafeat fit`, or a file of it is damaged.
        """
        metrics = read_json(folder / METRICS)
        config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
        splits = read_json(folder / SPLITS)["splits"]
        if not splits or not (folder / PREDICTIONS).is_file():
            raise WeightsError(
                f"'{folder}' has no predictions on splits of its own (an imported head has none); give runs of `vqafeat fit`."
            )
        rows = {(row.split, row.part, row.video): row for row in read_predictions(folder, config) if row.part in _OUTSIDE_TRAINING}
        return cls(folder, config, metrics, splits, rows)


def check_same(one: RecordedRun, two: RecordedRun, parts: Sequence[str] = PARTS, verb: str = "compare") -> None:
    """Refuse two runs that are not on the same videos of the same data set with the same labels.

    Args:
        one: a run.
        two: another one.
        parts: of each split, which have to hold the same videos.
        verb: what is to be done with the runs, for the message.

    Raises:
        ArgumentError: data set, label list, kind of score, number of splits, or the videos of a part differ.
    """
    for name in ("dataset", "dataset_digest", "score_name"):
        values = getattr(one.config, name), getattr(two.config, name)
        if values[0] != values[1]:
            raise ArgumentError(
                f"{name} of '{one.folder}' is {values[0]!r}, of '{two.folder}' {values[1]!r}; {verb} runs on one data set and label list."
            )
    if len(one.splits) != len(two.splits):
        raise ArgumentError(
            f"'{one.folder}' has {len(one.splits)} splits, '{two.folder}' {len(two.splits)}; fit both with the same splits."
        )
    for number, (own, other) in enumerate(zip(one.splits, two.splits, strict=True)):
        for part in parts:
            if sorted(own[part]) != sorted(other[part]):
                raise ArgumentError(
                    f"split {number} has other {part} videos in '{two.folder}' than in '{one.folder}'; "
                    "fit both with the same splits and seed."
                )
