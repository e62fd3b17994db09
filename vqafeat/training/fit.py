"""Fit a head on the splits of a data set and leave a run folder."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.heads.base import resolved_options
from vqafeat.io import json_text, write_csv, write_json
from vqafeat.losses import LabelScaling, fit_label_scaling, on_label_scale
from vqafeat.metrics import DEFAULT_MAPPING, MAPPINGS
from vqafeat.remote import map_concurrently
from vqafeat.splits import LeakageReport, Split, SplitRequest, make_split, shared_contents
from vqafeat.system import device_named
from vqafeat.training.calibration import calibration_notes, write_calibrations
from vqafeat.training.config import RECIPES, SELECTIONS, Recipe
from vqafeat.training.data import (
    FeatureDataset,
    FeatureReader,
    complete_rows,
    load_sequences,
    split_feature_sets,
    to_shared_memory,
)
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput, FrameSampler
from vqafeat.training.joint_store import JOINT, joint_splits
from vqafeat.training.loop import check_overrides, trainer_of
from vqafeat.training.parallel import Fit, FitJob, Progress, SplitResult, build_head_on_meta, run_fit
from vqafeat.training.predictions import (
    Prediction,
    fit_calibrations,
    read_metrics,
    read_predictions,
    summarise,
    with_scores,
    write_predictions,
)
from vqafeat.training.results import CONFIG, CURVE, METRICS, SPLITS, STATE, MetricsSummary, read_json
from vqafeat.training.run import open_run_folder
from vqafeat.training.run_config import RunConfig, TrainingDataset, software_versions
from vqafeat.training.trainer import check_parts
from vqafeat.training.training_features import TrainingFeatures, write_training_features


@dataclass(frozen=True)
class DrawnSplits:
    """Splits, and how they were drawn in words, leaks of content included."""

    splits: tuple[Split, ...]
    words: str


def drawn_splits(
    members: Sequence[Dataset],
    protocol: str,
    count: int,
    seed: int,
    ratio: str,
    recipe: str,
    test_part: str = "test",
    validation_share: float = 0.0,
) -> DrawnSplits:
    """Draw the splits of a fit, of several data sets each by itself; the recipe says how a stored permutation
    is cut.
    """
    rounding = RECIPES.get(recipe).split_rounding
    asked = SplitRequest(0, seed, ratio, rounding, test_part, validation_share)  # type: ignore[arg-type]
    drawn = [
        [make_split(member, protocol, replace(asked, run=run)) for run in range(count)] for member in members
    ]
    leaks = [
        len(shared_contents(split, [video.content for video in member.videos]))
        for member, splits in zip(members, drawn, strict=True)
        for split in splits
    ]
    leak = (
        f"up to {max(leaks)} test contents also in training"
        if any(leaks)
        else "no content shared between training and test"
    )
    how = {
        "official": f"tested on '{test_part}', {validation_share:g} of training for validation",
        "stored": ratio,
    }
    words = f"{protocol}, {how.get(protocol, f'{ratio}, seed {seed}')}; {leak}"
    return DrawnSplits(tuple(joint_splits(drawn, [len(member.videos) for member in members])), words)


def set_branch_channels(
    head: str, options: Mapping[str, Any], source: FeatureReader, feature_sets: str
) -> dict[str, Any]:
    """Return the head's options with `first_channels`, if it is one of them and still 0, taken from the first
    feature set's identity.

    Args:
        head: its name, for the message.
        options: all of its options.
        source: the feature store.
        feature_sets: as given, for example `iqa-resnet34:stages+resnet50:stages`.

    Raises:
        ArgumentError: the head has two branches and one feature set was given.
    """
    names = split_feature_sets(feature_sets)
    if options.get("first_channels") != 0:
        return dict(options)
    if len(names) < 2:
        raise ArgumentError(
            f"head '{head}' has a branch for each of two feature sets, got '{feature_sets}' alone; join two "
            f"by +, the quality-aware one "
            "first, as in --features iqa-resnet34:stages+resnet50:stages."
        )
    return {**options, "first_channels": source.identity(names[0]).channels}


PARTS = ("train", "validation", "test")
_FEWEST_TO_MEASURE = 2


@dataclass(frozen=True)
class FittedRun:
    """A finished fit.

    Attributes:
        folder: the run folder.
        config: everything that decided it.
        summary: metrics of the test parts, one value a split.
        predictions: of all parts of all splits.
        kept_epochs: one a split, counted from 1; 0 where the head is not trained in epochs.
        found: it was finished before, by the same configuration, and not repeated.
    """

    folder: Path
    config: RunConfig
    summary: MetricsSummary
    predictions: tuple[Prediction, ...]
    kept_epochs: tuple[int, ...]
    found: bool = False


@dataclass(frozen=True, eq=False)
class _Videos:
    """The videos that a fit uses: their features, the splits counted within them, and the names of those left
    out.
    """

    rows: tuple[int, ...]
    sequences: FeatureDataset
    splits: tuple[Split, ...]
    skipped: tuple[str, ...]


def fit(
    source: FeatureReader,
    feature_sets: str,
    head: str,
    splits: Sequence[Split],
    out: Path,
    *,
    recipe: str | Recipe = "default",
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    jobs: int = 1,
    mapping: str = DEFAULT_MAPPING,
    split_kind: str = "given",
    skip_missing: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    frame_input: FrameInput = WHOLE_VIDEOS,
    memory_bytes: int | None = None,
    reuse: bool = False,
    cluster: ClusterOptions | None = None,
    progress: Progress | None = None,
) -> FittedRun:
    """Train a head on each split, measure it on the test part, and write the run folder; metrics.json,
    written last, says that it is whole.

    A run that was stopped goes on where it was; one that is finished is returned as it is. Both are known by
    the digest of their configuration.

    Args:
        source: the feature store, or a `JointStore` of several.
        feature_sets: one name, or several joined by `+`.
        head: name of the head.
        splits: rows count within the store's data set.
        out: the run folder.
        recipe: name of a recipe, or one.
        overrides: single values of the recipe to change; `pooling` only for a head that has it.
        options: single options of the head to change.
        seed: the same seed gives the same run.
        jobs: processes; results do not depend on it.
        mapping: what PLCC and RMSE are read after; see `vqafeat.metrics`.
        split_kind: how the splits were drawn, in words, for the record.
        skip_missing: leave out videos without complete features instead of refusing to start.
        overwrite: replace what the folder holds of a run.
        device: where the heads train: "cpu", "cuda" or "cuda:NUMBER", or several joined by commas, which
            share the splits.
        frame_input: the frames that are taken, sampled and shuffled, in training and in testing.
        memory_bytes: that features may take; larger ones are read from the store again and again. None for
            half of what is free.
        elsewhere: where `out` is taken by another run, look for this one in the folders beside it, or name
            one after its digest.
        cluster: the Ray cluster whose machines train, where `jobs` and `device` do not count; None trains on
            this machine.
        progress: called with a split's number and each epoch's record.

    Raises:
        ClusterError: the cluster cannot be had.
        ArgumentError: an argument is not allowed, or `out` holds something else.
        UnknownNameError: a head, recipe or mapping of that name does not exist.
        StoreError: features are missing, or cannot be sampled as `frame_input` asks.
        TrainingError: the fit cannot start, or went astray.
    """
    chosen = (RECIPES.get(recipe) if isinstance(recipe, str) else recipe).overridden(overrides or {})
    resolved = resolved_options(head, options, chosen.pooling, asked_for="pooling" in (overrides or {}))
    resolved = set_dataset_outputs(
        head, set_branch_channels(head, resolved, source, feature_sets), source, chosen.mixing
    )
    check_overrides(head, overrides or {})
    MAPPINGS.get(mapping)
    if jobs < 1 or seed < 0:
        raise ArgumentError(
            f"jobs is {jobs} and seed is {seed}; jobs has to be at least 1 and seed at least 0."
        )
    devices = _devices(device) if cluster is None else (cluster.device_name,)
    videos = _videos(source, feature_sets, splits, skip_missing)
    lines = _lines(source, videos, chosen)
    plan = FitJob(
        source, feature_sets, videos.rows, head, resolved, chosen, lines, seed, devices, out, frame_input
    )
    _check_start(plan, videos)
    config = _config(plan, videos, split_kind, mapping)
    folder = open_run_folder(out, config, overwrite, reuse)
    if folder.finished:
        return _load_finished(folder.path, config)
    plan = replace(plan, out=folder.path)
    write_json(folder.path / CONFIG, config.as_dict())
    write_json(
        folder.path / SPLITS, {**_named_splits(videos, split_kind), "sha256": _file_digests(source, videos)}
    )
    sequences = (
        to_shared_memory(videos.sequences, memory_bytes)
        if trainer_of(head).is_gradient_based
        else videos.sequences
    )
    outcomes = run_fit(Fit(sequences, videos.splits, plan, jobs, cluster), progress)
    trained = {row for split in videos.splits for row in split.train}
    if (features := TrainingFeatures.of(sequences, sorted(trained))) is not None:
        write_training_features(folder.path, features)
    return _finished(folder.path, config, videos, outcomes)


def _devices(names: str) -> tuple[str, ...]:
    """Return the devices of this machine that are named, each of which has to be there."""
    devices = tuple(name.strip() for name in names.split(","))
    for name in devices:
        device_named(name)
    return devices


def set_dataset_outputs(
    head: str, options: Mapping[str, Any], source: FeatureReader, mixing: str
) -> dict[str, Any]:
    """Return the head's options with a line for each of several data sets, where it has lines and each data
    set a loss of its own.

    Raises:
        ArgumentError: lines of other data sets were asked for.
    """
    names = JOINT.join(member.name for member in source.datasets)
    if "datasets" not in options or len(source.datasets) == 1 or mixing != "losses":
        return dict(options)
    if options["datasets"] not in ("", names):
        raise ArgumentError(
            f"option 'datasets' of head '{head}' is '{options['datasets']}', but the data sets are {names}; "
            f"leave the option out."
        )
    return {**options, "datasets": names}


def _config(plan: FitJob, videos: _Videos, split_kind: str, mapping: str) -> RunConfig:
    source = plan.source
    datasets = tuple(
        TrainingDataset(
            member.name,
            member.digest,
            member.score_name,
            member.mos_range,
            tuple(lines[number] for lines in plan.lines),
        )
        for number, member in enumerate(source.datasets)
    )
    return RunConfig(
        head=plan.head,
        options=plan.options,
        recipe=plan.recipe.as_dict() if trainer_of(plan.head).is_gradient_based else {},
        seed=plan.seed,
        feature_sets=plan.feature_sets,
        identities={name: source.identity(name).as_dict() for name in split_feature_sets(plan.feature_sets)},
        channels=videos.sequences.channels,
        datasets=datasets,
        split_kind=split_kind,
        mapping=mapping,
        origin="vqafeat fit",
        versions=software_versions(),
        frame_input=plan.frame_input,
        splits_digest=sha256(json_text(_named_splits(videos, split_kind)).encode()).hexdigest(),
    )


def _lines(source: FeatureReader, videos: _Videos, recipe: Recipe) -> tuple[tuple[LabelScaling, ...], ...]:
    """Return each split's label lines; the scale sees the labels of the whole data set, in use or not."""
    names = [member.name for member in source.datasets]
    mos = np.array([video.mos for video in source.dataset.videos], dtype=np.float64)
    return tuple(
        tuple(
            fit_label_scaling(
                recipe.label_scale,
                names,
                source.member_numbers,
                mos,
                [videos.rows[row] for row in split.train],
            )
        )
        for split in videos.splits
    )


def _check_start(plan: FitJob, videos: _Videos) -> None:
    """Refuse what would stop a split at its start, before the run folder is touched."""
    FrameSampler(plan.frame_input, videos.sequences).check()
    for split in videos.splits:
        check_parts(split, videos.sequences, plan.recipe)
    build_head_on_meta(plan, videos.sequences.channels)


def _videos(source: FeatureReader, feature_sets: str, splits: Sequence[Split], skip_missing: bool) -> _Videos:
    if not splits:
        raise ArgumentError("splits is empty; give at least one split, as with --splits 10.")
    videos = source.dataset.videos
    wanted = sorted({row for split in splits for part in PARTS for row in getattr(split, part)})
    if wanted[-1] >= len(videos):
        raise TrainingError(
            f"a split names video {wanted[-1]}, '{source.dataset.name}' has 0 to {len(videos) - 1}; use "
            f"splits of this data set."
        )
    complete = set(complete_rows(source, feature_sets)) if skip_missing else set(wanted)
    rows = tuple(row for row in wanted if row in complete)
    local = tuple(_restrict_split(split, number, rows) for number, split in enumerate(splits))
    skipped = tuple(videos[row].name for row in wanted if row not in complete)
    return _Videos(rows, load_sequences(source, feature_sets, rows), local, skipped)


def _restrict_split(split: Split, number: int, rows: Sequence[int]) -> Split:
    """Return the split counted within `rows`, without the videos that are not among them."""
    place = {row: position for position, row in enumerate(rows)}
    parts = {part: tuple(place[row] for row in getattr(split, part) if row in place) for part in PARTS}
    if not parts["train"] or len(parts["test"]) < _FEWEST_TO_MEASURE:
        raise TrainingError(
            f"split {number} has {len(parts['train'])} training, {len(parts['test'])} test video(s) with "
            f"features; it takes at least 1 and "
            f"{_FEWEST_TO_MEASURE}. Use more videos, or larger parts, as --ratio 40/30/30."
        )
    return Split(**parts)


def _named_splits(videos: _Videos, kind: str) -> dict[str, Any]:
    names = videos.sequences.names
    named = [
        {part: [names[row] for row in getattr(split, part)] for part in PARTS} for split in videos.splits
    ]
    return {"kind": kind, "skipped": videos.skipped, "leak": _leak(videos).as_dict(), "splits": named}


def _file_digests(source: FeatureReader, videos: _Videos) -> dict[str, str]:
    """Return video → SHA-256 of its file, where that is known, so that `predict` can recognise a training
    video.
    """
    names = videos.sequences.names
    found = map_concurrently(source.path, source.source, names)
    return {name: str(known["sha256"]) for name, known in zip(names, found, strict=True) if known}


def _leak(videos: _Videos) -> LeakageReport:
    return LeakageReport.of(videos.splits, videos.sequences.contents)


def _notes(videos: _Videos, recipe: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the metrics has to know."""
    skipped = f"{len(videos.skipped)} video(s) without complete features left out" if videos.skipped else ""
    own_scale = f"the loss '{recipe['loss']}' leaves the scale of the heads' own output open: only calibrated scores are on the labels' scale"
    free = "" if on_label_scale(recipe["loss"]) else own_scale
    return [
        note for note in (skipped, _leak(videos).note, SELECTIONS.get(recipe["select"]).note, free) if note
    ]


def _finished(out: Path, config: RunConfig, videos: _Videos, outcomes: Sequence[SplitResult]) -> FittedRun:
    rows = [row for number, outcome in enumerate(outcomes) for row in _predictions(videos, number, outcome)]
    calibrations = fit_calibrations(rows, config)
    predictions = with_scores(rows, config, calibrations)
    # a head without epochs follows no recipe: it chooses on validation, and its scores are on the labels'
    # scale
    recipe = {"loss": "l1", "select": "validation", **config.recipe}
    names = [one.name for one in config.datasets]
    notes = [*_notes(videos, recipe), *calibration_notes(config, calibrations)]
    summary = summarise(predictions, len(outcomes), config.mapping, notes, names)
    write_predictions(out, predictions)
    write_calibrations(out, config, calibrations)
    columns = ("epoch", "loss", "validation_srocc", *(["test_srocc"] if recipe["select"] == "test" else []))
    curve = [
        (number, *(getattr(record, column) for column in columns))
        for number, outcome in enumerate(outcomes)
        for record in outcome.curve
    ]
    write_csv(out / CURVE, ("split", *columns), curve)
    kept = tuple(outcome.kept_epoch for outcome in outcomes)
    because = [outcome.kept_because for outcome in outcomes]
    write_json(out / METRICS, {**summary.as_dict(), "kept_epochs": kept, "kept_because": because})
    shutil.rmtree(out / STATE, ignore_errors=True)
    return FittedRun(out, config, summary, predictions, kept)


def _load_finished(folder: Path, config: RunConfig) -> FittedRun:
    metrics = read_json(folder / METRICS)
    predictions = read_predictions(folder, config)
    return FittedRun(
        folder, config, read_metrics(folder, config), predictions, tuple(metrics["kept_epochs"]), found=True
    )


def _predictions(videos: _Videos, number: int, outcome: SplitResult) -> list[Prediction]:
    known = videos.sequences
    return [
        Prediction(number, part, known.names[row], known.contents[row], float(known.mos[row]), score)
        for part in PARTS
        for row, score in zip(getattr(videos.splits[number], part), outcome.scores[part], strict=True)
    ]
