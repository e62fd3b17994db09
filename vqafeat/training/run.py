"""Everything that decides a run, as its folder keeps it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.training.predictions import Prediction, read_predictions
from vqafeat.training.results import (
    CALIBRATION,
    CONFIG,
    METRICS,
    PREDICTIONS,
    SPLITS,
    STATE,
    TRAINING_FEATURES,
    WEIGHTS,
    read_json,
)
from vqafeat.training.run_config import RunConfig

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


def open_run_folder(out: Path, config: RunConfig, overwrite: bool, reuse: bool) -> RunFolder:
    """Return the folder of a run, ready to be written to, or with that run finished or stopped half-way in
    it.

    Args:
        out: the folder that is asked for.
        config: of the run.
        overwrite: what `out` holds of a run is removed.
        elsewhere: where another run has `out`, this one is looked for beside it, and else goes to a folder
            named after its digest.

    Raises:
        ArgumentError: the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"'{out}' is a file; name a folder for the run with --out.")
    if overwrite:
        _refuse_foreign(out)
        _clear(out)
        return RunFolder(out, finished=False)
    if reuse:
        beside = [out, *sorted(path.parent for path in out.parent.glob(f"*/{CONFIG}"))]
        same = [path for path in beside if _digest(path) == config.digest]
        finished = [path for path in same if (path / METRICS).is_file()]
        taken = (out / CONFIG).is_file() or (out.is_dir() and any(out.iterdir()))
        out = next(
            iter([*finished, *same]), out.with_name(f"{out.name}-{config.digest[:_DIGITS]}") if taken else out
        )
    _refuse_foreign(out)
    same_run, finished_run = _digest(out) == config.digest, (out / METRICS).is_file()
    if (out / CONFIG).is_file() and not same_run:
        state = "a finished run" if finished_run else "an unfinished run"
        raise ArgumentError(
            f"'{out}' holds {state} of another configuration; name another folder with --out, or replace it "
            f"with --overwrite."
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
class FinishedRun:
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
        named = [
            (number, part, video)
            for number, split in enumerate(self.splits)
            for part in _OUTSIDE_TRAINING
            for video in split[part]
        ]
        missing = [key for key in named if key not in self.rows]
        if missing:
            number, part, video = missing[0]
            raise WeightsError(
                f"'{self.folder / PREDICTIONS}' lacks {len(missing)} of {len(named)} scores that '{SPLITS}' "
                f"names (first: {video}, {part} "
                f"part of split {number}); run `vqafeat fit` again."
            )

    @classmethod
    def read(cls, folder: Path) -> "FinishedRun":
        """Read a run folder.

        Raises:
            WeightsError: it is no finished run of `vqafeat fit`, or a file of it is damaged.
        """
        metrics = read_json(folder / METRICS)
        config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
        splits = read_json(folder / SPLITS)["splits"]
        if not splits or not (folder / PREDICTIONS).is_file():
            raise WeightsError(
                f"'{folder}' has no predictions on splits of its own (an imported head has none); give runs "
                f"of `vqafeat fit`."
            )
        rows = {
            (row.split, row.part, row.video): row
            for row in read_predictions(folder, config)
            if row.part in _OUTSIDE_TRAINING
        }
        return cls(folder, config, metrics, splits, rows)


def check_same(
    one: FinishedRun, two: FinishedRun, parts: Sequence[str] = PARTS, verb: str = "compare"
) -> None:
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
                f"{name} of '{one.folder}' is {values[0]!r}, of '{two.folder}' {values[1]!r}; {verb} runs "
                f"on one data set and label list."
            )
    if len(one.splits) != len(two.splits):
        raise ArgumentError(
            f"'{one.folder}' has {len(one.splits)} splits, '{two.folder}' {len(two.splits)}; fit both with "
            f"the same splits."
        )
    for number, (own, other) in enumerate(zip(one.splits, two.splits, strict=True)):
        for part in parts:
            if sorted(own[part]) != sorted(other[part]):
                raise ArgumentError(
                    f"split {number} has other {part} videos in '{two.folder}' than in '{one.folder}'; "
                    "fit both with the same splits and seed."
                )
