"""A run folder: read, opened for writing, and compared with another one."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.splits import PART_WORDS, PARTS
from vqafeat.store.types import FeatureSetIdentity
from vqafeat.training import results
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import (
    Calibrations,
    Prediction,
    fit_calibrations,
    read_calibrations,
    read_rows,
    summarise,
    with_scores,
)
from vqafeat.training.recipes import FORMER_NAMES
from vqafeat.training.run_config import RunConfig

_LONGEST_SETTINGS = 60  # characters of a folder's name


class Run:
    """What `fit` leaves in a folder: configuration, splits, predictions, metrics and weights.

    Files are read when they are first needed. Attributes raise `WeightsError` where a file is missing or
    damaged.

    Attributes:
        was_finished: an earlier call of `fit` finished the run.
    """

    def __init__(
        self, path: "str | Path | Run", config: RunConfig | None = None, was_finished: bool = False
    ) -> None:
        self.path, self.was_finished = Path(path), was_finished
        where = self.path / results.CONFIG
        self.config = config or RunConfig.from_dict(results.read_json(where), f"'{where}'")

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        config = self.config
        if not self.finished:
            state = "not finished"
        elif self.metrics.n:
            state = f"SROCC {self.metrics.srocc.mean:.3f}"
        else:
            state = "not measured"
        what = f"{config.head} on {config.feature_sets} of {config.dataset}"
        return f"<Run '{self.path}': {what}, {config.splits} splits, {state}>"

    @classmethod
    def open(cls, out: Path, config: RunConfig, overwrite: bool, reuse: bool) -> "Run":
        """Return a run whose folder can be written to, or that is finished already; see `fit`."""
        if out.exists() and not out.is_dir():
            raise ArgumentError(f"'{out}' is a file; name a folder for the run with --out.")
        if reuse:
            out = _reusable(out, config)
        if out.is_dir() and any(out.iterdir()) and not (out / results.CONFIG).is_file():
            raise ArgumentError(f"'{out}' holds files that are not of a run; name another folder with --out.")
        if overwrite:
            # what would be taken for part of a run; its mark of completeness first
            for name in (results.METRICS, results.CALIBRATION, results.TRAINING_FEATURES):
                (out / name).unlink(missing_ok=True)
            for folder in (results.WEIGHTS, results.STATE, results.TENSORBOARD, results.FINAL):
                shutil.rmtree(out / folder, ignore_errors=True)
            return cls(out, config)
        same_run, finished = _digest(out) == config.digest, (out / results.METRICS).is_file()
        if (out / results.CONFIG).is_file() and not same_run:
            state = "a finished run" if finished else "an unfinished run"
            raise ArgumentError(
                f"'{out}' holds {state} of another configuration; name another folder with --out, or replace "
                "it with --overwrite."
            )
        return cls(out, config, was_finished=finished and same_run)

    @property
    def finished(self) -> bool:
        """Whether metrics.json, which is written last, exists."""
        return (self.path / results.METRICS).is_file()

    @property
    def final(self) -> "Run | None":
        """The run of the final head, trained on all videos; None if there is none."""
        path = self.path / results.FINAL
        return Run(path) if (path / results.CONFIG).is_file() else None

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """The epoch that each split kept, counted from 1; 0 where the head is not trained in epochs."""
        return tuple(results.read_json(self.path / results.METRICS).get("kept_epochs", ()))

    @cached_property
    def metrics(self) -> results.MetricsSummary:
        """Metrics of the test parts; those that an earlier version did not write follow from predictions."""
        values, config = results.read_json(self.path / results.METRICS), self.config
        with results.reading(self.path / results.METRICS):
            summary = results.MetricsSummary.from_dict(values)
        complete = not summary.n or all(name in values for name in results.PLAIN_MEASURES)
        if complete or not (self.path / results.PREDICTIONS).is_file():
            return summary
        if not all(isfinite(row.prediction) for row in self.predictions if row.part == "test"):
            return summary
        names = config.dataset_names
        return summary.with_plain(summarise(self.predictions, config.splits, config.mapping, (), names))

    @cached_property
    def predictions(self) -> tuple[Prediction, ...]:
        """Predictions for all parts of all splits; `vars(prediction)` gives the row of a data frame."""
        rows = read_rows(self.path)
        return with_scores(rows, self.config, self.calibrations or ())

    @cached_property
    def calibrations(self) -> Calibrations | None:
        """The calibration of each data set and split, fitted if none is stored; None for an imported head."""
        stored = read_calibrations(self.path, self.config)
        if stored is not None or not (self.path / results.PREDICTIONS).is_file():
            return stored
        return fit_calibrations(read_rows(self.path), self.config)

    @cached_property
    def splits(self) -> list[dict[str, list[str]]]:
        """The names of the videos in each part, one mapping for each split."""
        splits: list[dict[str, list[str]]] = results.read_json(self.path / results.SPLITS)["splits"]
        return splits

    @property
    def tested_videos(self) -> Counter[str]:
        """Data set → the number of its videos that are in a test part."""
        names = self.config.dataset_names
        videos = {video for split in self.splits for video in split["test"]}
        return Counter(names[dataset_number(video, names)] for video in videos)

    @cached_property
    def held_out(self) -> Mapping[tuple[int, str, str], Prediction]:
        """(split, part, video) → prediction, of the validation and test parts."""
        parts = ("validation", "test")
        rows = {(row.split, row.part, row.video): row for row in self.predictions if row.part in parts}
        named = [
            (number, part, video)
            for number, split in enumerate(self.splits)
            for part in parts
            for video in split[part]
        ]
        if missing := [key for key in named if key not in rows]:
            number, part, video = missing[0]
            first = f"first: {video}, {part} part of split {number}"
            raise WeightsError(
                f"'{self.path / results.PREDICTIONS}' lacks {len(missing)} of {len(named)} scores that "
                f"'{results.SPLITS}' names ({first}); run `vqafeat fit` again."
            )
        return rows

    def check_finished(self) -> "Run":
        """Return this run; refuse an unfinished one, and one without predictions of test videos."""
        results.read_json(self.path / results.METRICS)
        if not any(split["test"] for split in self.splits) or not (self.path / results.PREDICTIONS).is_file():
            raise WeightsError(
                f"'{self.path}' has no test predictions, as an imported or a final head; give runs of "
                "`vqafeat fit`."
            )
        _ = self.held_out
        return self

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of the run; without a finished fit, its metrics are null."""
        config, measured = self.config, self.finished and bool(self.metrics.n)
        metrics = self.metrics if measured else results.MetricsSummary.of(())
        return {
            "run": str(self.path),
            "head": config.head,
            "features": config.feature_sets,
            "loss": config.recipe.get("loss", ""),
            "dataset": config.dataset,
            **metrics.as_json(self.tested_videos if measured else {}),
            "splits": config.splits,
            "finished": self.finished,
        }

    def describe(self) -> dict[str, Mapping[str, Any]]:
        """Return what decided the run, as groups of names and values."""
        config = self.config
        run = {
            "folder": str(self.path),
            "origin": config.origin,
            "head": config.head,
            "feature sets": config.feature_sets,
            "channels": config.channels,
            "frames": config.frame_input.words,
            "seed": config.seed,
            "splits": f"{config.splits}, {config.split_kind}",
            "digest of the splits": config.splits_digest,
            "mapping before PLCC and RMSE": config.mapping,
            "digest of the configuration": config.digest,
        }
        if self.final is not None:
            run["final head"] = f"{self.final.config.split_kind}; in {self.final.path.name}/"
        recipe = {FORMER_NAMES.get(name, name): value for name, value in config.recipe.items()}
        groups = {"Run": run, "Recipe": recipe, "Head options": config.options}
        for name, identity in config.identities.items():
            digest = FeatureSetIdentity(**identity).digest()
            groups[f"Features {name}"] = {**identity, "digest of the identity": digest}
        for one in config.datasets:
            scale = f"{one.mos_range[0]:g} to {one.mos_range[1]:g}"
            groups[f"Data set {one.name}"] = {"labels": one.score_name, "range": scale, "digest": one.digest}
        return {**groups, "Software": config.versions}


def _reusable(out: Path, config: RunConfig) -> Path:
    """Return the folder of this run, finished or not, at `out` or next to it, or else a free one."""
    candidates = [out, *sorted(path.parent for path in out.parent.glob(f"*/{results.CONFIG}"))]
    same = [path for path in candidates if _digest(path) == config.digest]
    if same:
        return next((path for path in same if (path / results.METRICS).is_file()), same[0])
    is_taken = out.is_dir() and any(out.iterdir())
    return _name_by_settings(out, config) if is_taken else out


def _name_by_settings(out: Path, config: RunConfig) -> Path:
    """Return a folder named by the settings that differ from the run in `out`, and by a digest if need be."""
    try:
        changed = config.changed_settings(Run(out).config)
    except WeightsError:
        changed = {}
    shown = list[str]()
    for name, value in changed.items():
        text = _setting_text(name, value)
        if len("-".join([*shown, text])) <= _LONGEST_SETTINGS:
            shown.append(text)
    folder = out.with_name("-".join([out.name, *shown]))
    if 0 < len(shown) == len(changed) and not folder.exists():
        return folder
    return folder.with_name(f"{folder.name}-{config.digest[:8]}")


def _setting_text(name: str, value: object) -> str:
    """Return for example `loss=mae`, with characters that every file system accepts."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name}={re.sub('[^A-Za-z0-9_.+-]+', '-', text).rstrip('-.') or 'none'}"


def _digest(folder: Path) -> str | None:
    """Return the digest of the run in a folder, or None where there is none that this vqafeat reads."""
    try:
        return Run(folder).config.digest
    except WeightsError:
        return None


def check_same(one: Run, two: Run, parts: Sequence[str] = PARTS, verb: str = "compare") -> None:
    """Refuse two runs on other data sets or labels, or with other videos in `parts` of a split.

    `verb` is what the caller does with the runs, for the message.
    """
    for name, what in (("name", "data set"), ("digest", "label digest"), ("score_name", "score name")):
        own, other = ("+".join(getattr(item, name) for item in run.config.datasets) for run in (one, two))
        if own != other:
            raise ArgumentError(
                f"{what} of '{one.path}' is '{own}', of '{two.path}' '{other}'; {verb} runs on one data set "
                "and label list."
            )
    if len(one.splits) != len(two.splits):
        raise ArgumentError(
            f"'{one.path}' has {len(one.splits)} splits, '{two.path}' {len(two.splits)}; fit both with the "
            "same splits."
        )
    for number, (split, other_split) in enumerate(zip(one.splits, two.splits, strict=True)):
        for part in parts:
            if sorted(split[part]) != sorted(other_split[part]):
                raise ArgumentError(
                    f"split {number} has other {PART_WORDS[part]} videos in '{two.path}' than in "
                    f"'{one.path}'; fit both with the same splits and seed."
                )
