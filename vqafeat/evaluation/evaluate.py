"""Measure a run on a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from vqafeat.datasets import SPLIT_NAMES, Dataset
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.evaluation.model import Model
from vqafeat.splits import LeakageReport, Split
from vqafeat.training.config import SELECTIONS
from vqafeat.training.data import (
    FeatureDataset,
    FeatureReader,
    FrameSelector,
    complete_rows,
    load_features,
    split_feature_sets,
    take,
)
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.joint_store import strip_dataset_prefix
from vqafeat.training.predictions import Prediction, summarise
from vqafeat.training.results import CONFIG, SPLITS, MetricsSummary, read_json
from vqafeat.training.run_config import RunConfig

UNKNOWN_TRAINING = "the head's own training videos are not known and may be among the measured ones"
CHANGED_SINCE = "the data set's labels or videos have changed since the fit"

NamedSplits = Sequence[Mapping[str, list[str]]]


def videos_of_part(
    part: str, splits: NamedSplits, model: Model, dataset: Dataset
) -> tuple[list[list[str]], str, list[str]]:
    """Return the names for each head, where they are from in words, and notes.

    Args:
        part: official part of the data set.
        splits: the run's own ones of this data set; none where it was not trained on it, or where they are
            not known.
        model: of the run, on the label scale of this data set where it has that.
        dataset: to be measured on.

    Raises:
        ArgumentError: no video is in the part, or one was in a head's own training or validation part.
    """
    videos = [video.name for video in dataset.videos if video.split == part]
    if not videos:
        raise ArgumentError(
            f"no video of '{dataset.name}' is in the official part '{part}' ({_parts(dataset)}); name a "
            f"part that is there."
        )
    config, notes = model.config, list[str]()
    if splits:
        _refuse_seen(part, videos, splits)
        changed = CHANGED_SINCE if dataset.digest != model.trained_on.digest else ""
        notes = [
            note
            for note in (
                changed,
                _leak_note(videos, splits, dataset),
                _selection_note(videos, splits, config),
            )
            if note
        ]
    elif not config.splits_digest:
        notes = [UNKNOWN_TRAINING]
    return (
        [videos] * len(model.heads),
        f"all {len(videos)} videos of the official part '{part}' of '{dataset.name}'",
        notes,
    )


def _parts(dataset: Dataset) -> str:
    counts = {part: sum(video.split == part for video in dataset.videos) for part in SPLIT_NAMES}
    there = ", ".join(f"{part} {count}" for part, count in counts.items() if count)
    return f"there: {there}" if there else "its label list names no parts"


def _refuse_seen(part: str, videos: Sequence[str], splits: NamedSplits) -> None:
    for number, split in enumerate(splits):
        fitted = {*split["train"], *split["validation"]}
        if seen := [video for video in videos if video in fitted]:
            raise ArgumentError(
                f"{len(seen)} of the {len(videos)} videos of the part '{part}' were in the training or "
                f"validation part of the run's head "
                f"{number} (first: {seen[0]}); name a part that no head was fitted on, or fit with "
                f"--protocol official."
            )


def _leak_note(videos: Sequence[str], splits: NamedSplits, dataset: Dataset) -> str:
    """Return what the measured videos share with training; the run's own report is of its own test parts."""
    row = {video.name: number for number, video in enumerate(dataset.videos)}
    measured = tuple(row[name] for name in videos)
    trained = [tuple(row[name] for name in split["train"] if name in row) for split in splits]
    drawn = [Split(rows, (), measured) for rows in trained if rows]
    return LeakageReport.of(drawn, [video.content for video in dataset.videos]).note


def _selection_note(videos: Sequence[str], splits: NamedSplits, config: RunConfig) -> str:
    tested = {name for split in splits for name in split["test"]}
    return SELECTIONS[config.recipe.get("select", "validation")] if tested & set(videos) else ""


@dataclass(frozen=True)
class Evaluation:
    """What a run scores on a data set.

    Attributes:
        measured_on: in words, for example "the test parts of its own 10 splits".
        summary: one value a head.
        predictions: of the videos that were measured.
        mapping: what PLCC and RMSE were read after.
    """

    measured_on: str
    summary: MetricsSummary
    predictions: tuple[Prediction, ...]
    mapping: str


def feature_sets_of(run: Path) -> str:
    """Return the feature sets, joined by +, that the heads of a run take.

    Raises:
        WeightsError: the folder is no finished run.
    """
    return RunConfig.from_dict(read_json(run / CONFIG), f"'{run / CONFIG}'").feature_sets


def evaluate(
    run: Path,
    source: FeatureReader,
    *,
    mapping: str | None = None,
    skip_missing: bool = False,
    any_features: bool = False,
    frame_changes: Mapping[str, Any] | None = None,
    part: str | None = None,
) -> Evaluation:
    """Measure a run: on its own data set each head on the test part of its split, on another data set each
    head on all videos.

    A run on several data sets is measured on one of them at a time, on that one's label scale.

    Args:
        run: the run folder.
        source: the feature store to measure on.
        mapping: what PLCC and RMSE are read after; without it, the run's own.
        skip_missing: leave out videos without complete features instead of refusing.
        any_features: allow features that were computed differently than the ones in training.
        frame_changes: single choices of the run's `frame_input` to change in testing: order, sampling, draws.
        part: official part of the data set whose videos are measured by each head instead.

    Raises:
        ArgumentError: a change is not allowed, or a video of `part` was in a head's training or validation
            part.
        WeightsError: the folder is no finished run.
        IdentityError: the features were computed differently than the ones in training.
        StoreError: features are missing.
    """
    config = RunConfig.from_dict(read_json(run / CONFIG), f"'{run / CONFIG}'")
    own = source.dataset.name in [one.name for one in config.datasets]
    model = Model.load(run, source.dataset.name if own else None)
    sets, frame_input = (
        model.config.feature_sets,
        model.config.frame_input.tested_otherwise(frame_changes or {}),
    )
    if not any_features:
        for name in split_feature_sets(sets):
            model.check_identity(name, source.identity(name))
    recorded = read_json(run / SPLITS)
    splits = recorded["splits"]
    if part is not None:
        tests, measured_on, notes = videos_of_part(
            part, _own_splits(splits, model, source.dataset.name) if own else [], model, source.dataset
        )
    else:
        tests, measured_on, notes = _videos_to_measure(splits, model, source)
        if own:
            notes += _notes_of_the_fit(recorded, model)
    wanted = {name for names in tests for name in names}
    rows = _rows_to_measure(source, sets, wanted, skip_missing)
    if len(rows) < len(wanted):
        notes.append(f"{len(wanted) - len(rows)} video(s) without complete features left out")
    sequences = load_features(source, sets, rows)
    if not own:
        scale, labels = model.trained_on.name, source.dataset.name
        notes.append(
            f"scores are on the scale of '{scale}', labels on that of '{labels}': RMSE without a mapping is "
            f"left out"
        )
        notes += _trained_on(
            [split for one in config.datasets for split in _own_splits(splits, model, one.name)],
            sequences.names,
        )
    if frame_input != model.config.frame_input:
        notes.append(f"tested on other frames than the run's own: {frame_input.words}")
    draws = FrameSampler(frame_input, sequences)
    draws.check()
    drawn = draws.testing(model.config.seed)
    predictions = tuple(
        row for number, names in enumerate(tests) for row in _scored(model, number, sequences, names, drawn)
    )
    read_after = mapping or model.config.mapping
    summary = summarise(predictions, len(tests), read_after, notes)
    return Evaluation(
        measured_on, summary if own else summary.across_scales(read_after), predictions, read_after
    )


def _videos_to_measure(
    splits: Sequence[dict[str, list[str]]], model: Model, source: FeatureReader
) -> tuple[list[list[str]], str, list[str]]:
    """Return the names for each head, where they are from in words, and notes."""
    dataset, trained_on = source.dataset, model.trained_on
    everything = [video.name for video in dataset.videos]
    if dataset.name != trained_on.name or not splits:
        notes = [UNKNOWN_TRAINING] if not splits else []
        return [everything] * len(model.heads), f"all {len(everything)} videos of '{dataset.name}'", notes
    tests = [split["test"] for split in _own_splits(splits, model, dataset.name)]
    gone = sorted({name for names in tests for name in names} - set(everything))
    if gone:
        raise ArgumentError(
            f"{len(gone)} test videos of the run are not in '{source.path}' (first: {gone[0]}); use its own "
            f"store, or fit again."
        )
    notes = [CHANGED_SINCE] if dataset.digest != trained_on.digest else []
    return tests, f"the test parts of its own {len(splits)} splits of '{dataset.name}'", notes


def _own_splits(
    splits: Sequence[dict[str, list[str]]], model: Model, dataset: str
) -> list[dict[str, list[str]]]:
    """Return what of each split is from one data set, under the names that its videos have there."""
    if len(model.config.datasets) == 1:
        return list(splits)
    return [{part: strip_dataset_prefix(names, dataset) for part, names in split.items()} for split in splits]


def _notes_of_the_fit(recorded: Mapping[str, Any], model: Model) -> list[str]:
    """Return what holds for the run's own test parts; runs of an earlier vqafeat and imported heads record
    none of it.
    """
    leak = recorded.get("leak", {}).get("note", "")
    selection = SELECTIONS[model.config.recipe.get("select", "validation")]
    return [note for note in (leak, selection) if note]


def _rows_to_measure(
    source: FeatureReader, feature_sets: str, wanted: set[str], skip_missing: bool
) -> list[int]:
    rows = [row for row, video in enumerate(source.dataset.videos) if video.name in wanted]
    if not skip_missing:
        return rows
    complete = set(complete_rows(source, feature_sets))
    if complete.isdisjoint(rows):
        raise StoreError(
            f"none of the {len(wanted)} videos to be measured has complete features '{feature_sets}' in "
            f"'{source.path}'; "
            f"run `vqafeat extract --dataset {source.dataset.name}` first."
        )
    return [row for row in rows if row in complete]


def _trained_on(splits: Sequence[dict[str, list[str]]], measured: Sequence[str]) -> list[str]:
    """Return a note where measured videos are named as training videos of another data set are; some sets
    hold the same clips.
    """
    shared = set(measured) & {name for split in splits for name in split["train"]}
    if not shared:
        return []
    return [
        f"{len(shared)} of the {len(measured)} measured videos are named as videos in the run's own "
        f"training parts; if they are the same "
        "ones, the metrics flatter the run"
    ]


def _scored(
    model: Model, number: int, sequences: FeatureDataset, names: Sequence[str], draws: Sequence[FrameSelector]
) -> list[Prediction]:
    place, found = {name: row for row, name in enumerate(sequences.names)}, []
    for row in (place[name] for name in names if name in place):
        values = sequences.features[row]
        output = np.mean(
            [model.outputs(take(values, frame_indices(row)), number) for frame_indices in draws], axis=0
        )
        score = nan if model.calibrations is None else float(model.calibrated(output, number)[0])
        known = sequences.names[row], sequences.contents[row], float(sequences.mos[row])
        found.append(Prediction(number, "test", *known, float(output[0]), score))
    return found
