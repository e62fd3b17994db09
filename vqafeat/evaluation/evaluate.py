"""Evaluation of a run on a data set: the metrics of each head, with notes for readers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.evaluation.model import Model
from vqafeat.splits import Split, leak_notes, leakage_of_files
from vqafeat.store import features, open_store
from vqafeat.store.features import FeatureDataset, FeatureReader, FrameSelector
from vqafeat.training.config import SELECTIONS
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.joint_store import strip_dataset_prefix
from vqafeat.training.predictions import Prediction, summarise
from vqafeat.training.results import SPLITS, MetricsSummary, read_json
from vqafeat.training.run import Run

UNKNOWN_TRAINING = "the training videos of the head are not known and may be among the measured ones"
CHANGED_SINCE = "the data set's labels or videos have changed since the fit"

NamedSplits = Sequence[Mapping[str, list[str]]]


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run on a data set, and its metrics with one value per head.

    Attributes:
        measured_on: the measured videos in words, for example "the test parts of the run's 10 splits".
        mapping: applied before PLCC and RMSE.
        across_scales: whether the labels are on another scale than the scores.
    """

    measured_on: str
    summary: MetricsSummary
    predictions: tuple[Prediction, ...]
    mapping: str
    across_scales: bool = False

    def __repr__(self) -> str:
        return f"<Evaluation on {self.measured_on}: {self.summary}>"


def evaluate(
    run: Run | str | Path,
    store: FeatureReader | str | Path,
    *,
    mapping: str | None = None,
    skip_missing: bool = False,
    any_features: bool = False,
    frame_changes: Mapping[str, Any] | None = None,
    part: str | None = None,
) -> Evaluation:
    """Measure each head of a run: on its test videos of the run's data set, or on all videos of another one.

    A final head is measured by its own folder, RUN/final.

    A run on several data sets is measured on one of them, on the label scale of that data set.

    Args:
        run: a finished run, or its folder.
        store: the `FeatureStore` of the data set, or its path.
        mapping: applied before PLCC and RMSE; by default the run's mapping.
        skip_missing: leave out videos without complete features instead of refusing.
        any_features: allow features that were computed differently from those in training.
        frame_changes: values of the run's `frame_input` to change in testing: order, sampling, draws.
        part: official part of the data set, all of whose videos are measured by each head instead.
    """
    source = open_store(store) if isinstance(store, str | Path) else store
    config, dataset = Run(run).config, source.dataset
    dataset.require_labels()
    own = dataset.name in config.dataset_names
    model = Model.load(run, dataset.name if own else None, final=False)
    frame_input = config.frame_input.tested_otherwise(frame_changes or {})
    if not any_features:
        for name in features.split_feature_sets(config.feature_sets):
            model.check_identity(name, source.identity(name))
    recorded = read_json(Path(run) / SPLITS)
    tests, measured_on, notes = _select_tests(recorded, model, source, part)
    required = {name for names in tests for name in names}
    rows = _rows_to_measure(source, config.feature_sets, required, skip_missing)
    if left_out := required.difference(source.dataset.videos[row].name for row in rows):
        notes.append(features.left_out_note(sorted(left_out)))
    sequences = features.load_features(source, config.feature_sets, rows, checked=True)
    if not own:
        notes += _notes_of_other_data(recorded["splits"], model, dataset, sequences.names)
    if frame_input != config.frame_input:
        notes.append(f"tested on other frames than in the fit: {frame_input.words}")
    sampler = FrameSampler(frame_input, sequences)
    sampler.check()
    predictions = _score_tests(model, sequences, tests, sampler.testing(config.seed))
    mapping = mapping or config.mapping
    summary = summarise(predictions, len(tests), mapping, notes)
    if not own:
        summary = summary.across_scales()
    return Evaluation(measured_on, summary, predictions, mapping, across_scales=not own)


def _score_tests(
    model: Model, sequences: FeatureDataset, tests: list[list[str]], draws: Sequence[FrameSelector]
) -> tuple[Prediction, ...]:
    row_of, predictions = {name: row for row, name in enumerate(sequences.names)}, []
    for number, names in enumerate(tests):
        for row in (row_of[name] for name in names if name in row_of):
            indices = [frame_indices(row) for frame_indices in draws]
            output = model.outputs(sequences.features[row], number, indices)
            score = nan if model.calibrations is None else float(model.calibrated(output, number)[0])
            video = sequences.names[row], sequences.contents[row], float(sequences.mos[row])
            predictions.append(Prediction(number, "test", *video, float(output[0]), score))
    return tuple(predictions)


def _select_tests(
    recorded: Mapping[str, Any], model: Model, source: FeatureReader, part: str | None
) -> tuple[list[list[str]], str, list[str]]:
    """Return the videos on which each head is measured, what they are in words, and notes.

    They are the test parts of the run's splits, or all videos of a named part or of another data set.
    """
    dataset, splits = source.dataset, _splits_of(recorded["splits"], model, source.dataset.name)
    videos = [video.name for video in dataset.videos if part in (None, video.split)]
    if not videos:
        counts = Counter(video.split for video in dataset.videos if video.split)
        known = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no parts"
        missing = f"no video of '{dataset.name}' is in the official part '{part}'"
        raise ArgumentError(f"{missing}; its label list has {known}.")
    all_videos = [videos] * len(model.heads)
    of_part = f"the official part '{part}' of " if part else ""
    words = f"all {len(videos)} videos of {of_part}'{dataset.name}'"
    if not splits:
        return all_videos, words, [] if recorded["splits"] else [UNKNOWN_TRAINING]
    own_tests = [split["test"] for split in splits]
    tested = {name for names in own_tests for name in names}
    changed = CHANGED_SINCE if dataset.digest != model.trained_on.digest else ""
    selection = SELECTIONS[model.config.recipe.get("select", "validation")]
    if part is not None:
        _refuse_fitted(part, videos, splits)
        notes = [changed, *_leak_notes(videos, splits, source), selection if tested & set(videos) else ""]
        return all_videos, words, [note for note in notes if note]
    if not tested:
        raise ArgumentError(
            f"the head of '{model.folder}' is trained on all videos of '{dataset.name}', so none is left to "
            "measure it; evaluate its run, whose metrics estimate how good it is, or use another data set."
        )
    if gone := sorted(tested - set(videos)):
        missing = f"{len(gone)} test videos of the run are not in '{source.path}' (first: {gone[0]})"
        raise ArgumentError(f"{missing}; use the store of the run, or fit again.")
    words = f"the test parts of the run's {len(splits)} splits of '{dataset.name}'"
    notes = [changed, *leak_notes(recorded.get("leak", {})), selection]
    return own_tests, words, [note for note in notes if note]


def _refuse_fitted(part: str, videos: Sequence[str], splits: NamedSplits) -> None:
    for number, split in enumerate(splits):
        fitted = {*split["train"], *split["validation"]}
        if seen := [video for video in videos if video in fitted]:
            raise ArgumentError(
                f"{len(seen)} of the {len(videos)} videos of the part '{part}' were in the training or "
                f"validation part of the run's head {number} (first: {seen[0]}); name a part that no head "
                "was fitted on, or fit with --protocol official."
            )


def _leak_notes(videos: Sequence[str], splits: NamedSplits, source: FeatureReader) -> list[str]:
    """Return what the measured videos share with the training parts."""
    contents = {video.name: video.content for video in source.dataset.videos}
    row = {name: number for number, name in enumerate(contents)}
    measured = tuple(row[name] for name in videos)
    trained = [tuple(row[name] for name in split["train"] if name in row) for split in splits]
    tested = [Split(rows, (), measured) for rows in trained if rows]
    names = list(contents)
    digests = features.file_digests(source, names)
    return leak_notes(leakage_of_files(tested, list(contents.values()), names, digests))


def _splits_of(splits: NamedSplits, model: Model, dataset: str) -> NamedSplits:
    """Return the splits restricted to the videos of one data set, by their names there; empty if none are."""
    names = model.config.dataset_names
    if dataset not in names:
        return []
    if len(names) == 1:
        return splits
    return [{part: strip_dataset_prefix(names, dataset) for part, names in split.items()} for split in splits]


def _notes_of_other_data(
    splits: NamedSplits, model: Model, dataset: Dataset, measured: Sequence[str]
) -> list[str]:
    """Return notes on scales and on names of training videos; some data sets contain the same clips."""
    scales = f"scores are on the scale of '{model.trained_on.name}', labels on that of '{dataset.name}'"
    notes = [f"{scales}: RMSE without a mapping is left out"]
    own = [split for name in model.config.dataset_names for split in _splits_of(splits, model, name)]
    if shared := set(measured) & {name for split in own for name in split["train"]}:
        notes.append(
            f"{len(shared)} of the {len(measured)} measured videos have names of videos in the run's "
            "training parts; if they are the same videos, the metrics are too good"
        )
    return notes


def _rows_to_measure(
    source: FeatureReader, feature_sets: str, required: set[str], skip_missing: bool
) -> list[int]:
    rows = [row for row, video in enumerate(source.dataset.videos) if video.name in required]
    if not skip_missing:
        return rows
    complete = set(features.complete_rows(source, feature_sets))
    if complete.isdisjoint(rows):
        raise StoreError(
            f"none of the {len(required)} videos to measure has complete features '{feature_sets}' in "
            f"'{source.path}'; extract them first with `vqafeat extract`."
        )
    return [row for row in rows if row in complete]
