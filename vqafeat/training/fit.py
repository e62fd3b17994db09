"""Fit a head on the splits of a data set and write the run folder."""

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.io import json_text, write_csv, write_json
from vqafeat.losses.base import on_label_scale
from vqafeat.losses.label_scaling import fit_label_scaling
from vqafeat.splits import (
    PARTS,
    Split,
    SplitRequest,
    leak_notes,
    leakage,
    leakage_of_files,
    make_split,
    shared_contents,
)
from vqafeat.store.features import (
    FeatureDataset,
    FeatureReader,
    complete_rows,
    file_digests,
    load_features,
    only_feature_sets,
    split_feature_sets,
    to_shared_memory,
)
from vqafeat.system import device_named
from vqafeat.training.checkpoint import SplitResult
from vqafeat.training.config import SELECTIONS, FitConfig, is_gradient_based
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.joint_store import JOINT, joint_splits
from vqafeat.training.loop import Progress, no_progress
from vqafeat.training.parallel import FitJob, build_head_on_meta, run_fit, split_seed
from vqafeat.training.predictions import (
    Prediction,
    calibration_notes,
    fit_calibrations,
    summarise,
    with_scores,
    write_calibrations,
    write_predictions,
)
from vqafeat.training.results import CONFIG, CURVE, METRICS, SPLITS, STATE
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig, TrainingDataset, software_versions
from vqafeat.training.trainer import SplitTask, check_parts
from vqafeat.training.training_features import TrainingFeatures, write_training_features

_FEWEST_TO_MEASURE = 2


@dataclass(frozen=True)
class DrawnSplits:
    """Splits, and how they were drawn, in words."""

    splits: tuple[Split, ...]
    words: str = "given"


def draw_splits(datasets: Sequence[Dataset], config: FitConfig) -> DrawnSplits:
    """Draw the splits of the data sets of a fit."""
    rounding = config.resolved_recipe.split_rounding
    request = SplitRequest(0, config.seed, config.ratio, rounding, config.test_part, config.validation_share)  # type: ignore[arg-type]
    splits = [
        [make_split(dataset, config.protocol, replace(request, run=run)) for run in range(config.splits)]
        for dataset in datasets
    ]
    leaks = [
        len(shared_contents(split, [video.content for video in dataset.videos]))
        for dataset, own in zip(datasets, splits, strict=True)
        for split in own
    ]
    leak = (
        f"up to {max(leaks)} test contents also in training"
        if any(leaks)
        else "no content shared between training and test"
    )
    how = {
        "official": f"tested on '{config.test_part}', {config.validation_share:g} of training for validation",
        "stored": config.ratio,
    }.get(config.protocol, f"{config.ratio}, seed {config.seed}")
    joined = joint_splits(splits, [len(dataset.videos) for dataset in datasets])
    return DrawnSplits(tuple(joined), f"{config.protocol}, {how}; {leak}")


@dataclass(frozen=True, eq=False)
class _Videos:
    """The videos that a fit uses: rows in the store, features, splits, and the names of skipped videos."""

    rows: tuple[int, ...]
    data: FeatureDataset
    splits: DrawnSplits
    skipped: tuple[str, ...]


def fit(
    store: FeatureReader,
    config: FitConfig,
    out: str | Path,
    *,
    splits: DrawnSplits | Sequence[Split] | None = None,
    jobs: int = 1,
    device: str = "cpu",
    memory_bytes: int | None = None,
    overwrite: bool = False,
    reuse: bool = False,
    cluster: ClusterOptions | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a head on each split, measure it on the test part, and write the run folder.

    A stopped fit resumes; a finished one is returned as it is. Both are recognised by the digest of their
    configuration.

    Args:
        store: a `FeatureStore`, or a `JointStore` of several.
        config: everything that decides the numbers.
        out: the run folder.
        splits: splits of the store's data set, in place of those that `config` draws.
        jobs: number of processes; results do not depend on it.
        device: "cpu", "cuda" or "cuda:NUMBER", or several joined by commas, which share the splits.
        memory_bytes: most memory for features; larger ones are read from the store again and again. None for
            half of the free memory.
        overwrite: replace what the folder holds of a run.
        reuse: where `out` holds another run, look for this one in the folders next to it, or name a folder
            after its digest.
        cluster: the Ray cluster that trains, in place of `jobs` and `device`.
        progress: called with a split's number and each epoch's record.
    """
    if jobs < 1:
        raise ArgumentError(f"jobs is {jobs}; it has to be at least 1.")
    for dataset in store.datasets:
        dataset.require_labels()
    config = _resolved(config, store)
    if cluster is None:
        devices = tuple(str(device_named(name.strip())) for name in device.split(","))
    else:
        devices = (cluster.device_name,)
    videos = _videos(store, config, draw_splits(store.datasets, config) if splits is None else splits)
    tasks = _tasks(store, config, videos)
    _check_start(config, videos)
    run = Run.open(Path(out), _run_config(store, config, videos, tasks), overwrite, reuse)
    if run.finished:
        return run
    write_json(run.path / CONFIG, run.config.as_dict())
    digests = file_digests(store, videos.data.names)  # `predict` recognises training videos by them
    leak = leakage_of_files(videos.splits.splits, videos.data.contents, videos.data.names, digests)
    if "identical" in leak:
        warnings.warn(leak["identical"]["note"], stacklevel=2)
    write_json(run.path / SPLITS, {**_named_splits(videos), "leak": leak, "sha256": digests})
    in_memory = is_gradient_based(config.head)
    data = to_shared_memory(videos.data, memory_bytes) if in_memory else videos.data
    job = FitJob(store, config, videos.rows, devices, run.path)
    results = run_fit(data, tasks, job, jobs, cluster, progress or no_progress)
    trained = sorted({row for split in videos.splits.splits for row in split.train})
    if (features := TrainingFeatures.of(data, trained)) is not None:
        write_training_features(run.path, features)
    _write_results(run, videos, leak_notes(leak), results)
    return run


def _resolved(config: FitConfig, store: FeatureReader) -> FitConfig:
    """Return the configuration with all options of the head and the names of the features."""
    config = replace(config, features=config.features or only_feature_sets(store))
    options, head = dict(config.head_options), config.head
    if options.get("first_channels") == 0:
        first, *others = split_feature_sets(config.features)
        if not others:
            raise ArgumentError(
                f"head '{head}' has a branch for each of two feature sets, got '{config.features}' alone; "
                "join two by +, the quality-aware one first, as in --features "
                "iqa-resnet34:stages+resnet50:stages."
            )
        options["first_channels"] = store.identity(first).channels
    if "datasets" in options and len(store.datasets) > 1 and config.resolved_recipe.multi_dataset == "losses":
        names = JOINT.join(dataset.name for dataset in store.datasets)
        if options["datasets"] not in ("", names):
            raise ArgumentError(
                f"option 'datasets' of head '{head}' is '{options['datasets']}', but the data sets are "
                f"{names}; leave the option out."
            )
        options["datasets"] = names
    return replace(config, options=options)


def _videos(store: FeatureReader, config: FitConfig, splits: DrawnSplits | Sequence[Split]) -> _Videos:
    given = splits if isinstance(splits, DrawnSplits) else DrawnSplits(tuple(splits))
    if not given.splits:
        raise ArgumentError("splits is empty; give at least one split, as with --splits 10.")
    videos = store.dataset.videos
    required = sorted({row for split in given.splits for part in PARTS for row in getattr(split, part)})
    if required[-1] >= len(videos):
        raise TrainingError(
            f"a split names video {required[-1]}, '{store.dataset.name}' has 0 to {len(videos) - 1}; use "
            "splits of this data set."
        )
    complete = set(complete_rows(store, config.features)) if config.skip_missing else set(required)
    rows = tuple(row for row in required if row in complete)
    local = tuple(_restrict_split(split, number, rows) for number, split in enumerate(given.splits))
    skipped = tuple(videos[row].name for row in required if row not in complete)
    data = load_features(store, config.features, rows)
    return _Videos(rows, data, replace(given, splits=local), skipped)


def _restrict_split(split: Split, number: int, rows: Sequence[int]) -> Split:
    """Return the split as positions in `rows`, without the videos that are not among them."""
    index = {row: position for position, row in enumerate(rows)}
    parts = {part: tuple(index[row] for row in getattr(split, part) if row in index) for part in PARTS}
    if not parts["train"] or len(parts["test"]) < _FEWEST_TO_MEASURE:
        raise TrainingError(
            f"split {number} has {len(parts['train'])} training, {len(parts['test'])} test video(s) with "
            f"features; it takes at least 1 and {_FEWEST_TO_MEASURE}. Use more videos, or larger parts, as "
            "--ratio 40/30/30."
        )
    return Split(**parts)


def _tasks(store: FeatureReader, config: FitConfig, videos: _Videos) -> list[SplitTask]:
    """Return the splits to train on; their scalings depend on all labels of the data set, in use or not."""
    names = [dataset.name for dataset in store.datasets]
    mos = np.array([video.mos for video in store.dataset.videos], dtype=np.float64)
    scale, numbers, tasks = config.resolved_recipe.label_scaling, store.member_numbers, list[SplitTask]()
    for number, split in enumerate(videos.splits.splits):
        trained = [videos.rows[row] for row in split.train]
        scalings = fit_label_scaling(scale, names, numbers, mos, trained)
        tasks.append(SplitTask(number, split, split_seed(config.seed, number), tuple(scalings)))
    return tasks


def _check_start(config: FitConfig, videos: _Videos) -> None:
    """Refuse what would stop a split at its start, before the run folder is touched."""
    FrameSampler(config.frame_input, videos.data).check()
    for split in videos.splits.splits:
        check_parts(split, videos.data, config.resolved_recipe)
    build_head_on_meta(config, videos.data.channels)


def _run_config(
    store: FeatureReader, config: FitConfig, videos: _Videos, tasks: Sequence[SplitTask]
) -> RunConfig:
    scalings = zip(*(task.label_scalings for task in tasks), strict=True)
    datasets = tuple(
        TrainingDataset(one.name, one.digest, one.score_name, one.mos_range, own)
        for one, own in zip(store.datasets, scalings, strict=True)
    )
    return RunConfig(
        head=config.head,
        options=dict(config.options),
        recipe=config.resolved_recipe.as_dict() if is_gradient_based(config.head) else {},
        seed=config.seed,
        feature_sets=config.features,
        identities={name: store.identity(name).as_dict() for name in split_feature_sets(config.features)},
        channels=videos.data.channels,
        datasets=datasets,
        split_kind=videos.splits.words,
        mapping=config.mapping,
        origin="vqafeat fit",
        versions=software_versions(),
        frame_input=config.frame_input,
        splits_digest=sha256(json_text(_named_splits(videos)).encode()).hexdigest(),
    )


def _named_splits(videos: _Videos) -> dict[str, Any]:
    """Return what the digest of the splits is of; its leak is of contents alone, as in earlier runs."""
    names, splits = videos.data.names, videos.splits.splits
    leak = leakage(splits, videos.data.contents)
    named = [{part: [names[row] for row in getattr(split, part)] for part in PARTS} for split in splits]
    return {"kind": videos.splits.words, "skipped": videos.skipped, "leak": leak, "splits": named}


def _write_results(run: Run, videos: _Videos, leaks: list[str], results: Sequence[SplitResult]) -> None:
    """Write predictions, calibration, curve and metrics.json, which marks the run as finished."""
    config = run.config
    rows = [row for number, result in enumerate(results) for row in _predictions(videos, number, result)]
    calibrations = fit_calibrations(rows, config)
    predictions = with_scores(rows, config, calibrations)
    # a head without epochs has no recipe: it selects on validation and scores on the labels' scale
    recipe = {"loss": "l1", "select": "validation", **config.recipe}
    notes = _notes(videos, leaks, recipe["loss"], recipe["select"]) + calibration_notes(config, calibrations)
    summary = summarise(predictions, len(results), config.mapping, notes, config.dataset_names)
    write_predictions(run.path, predictions)
    write_calibrations(run.path, config, calibrations)
    columns = ("epoch", "loss", "validation_srocc", *(["test_srocc"] if recipe["select"] == "test" else []))
    curve = [
        (number, *(getattr(record, column) for column in columns))
        for number, result in enumerate(results)
        for record in result.curve
    ]
    write_csv(run.path / CURVE, ("split", *columns), curve)
    kept = [result.kept_epoch for result in results]
    because = [result.kept_because for result in results]
    write_json(run.path / METRICS, {**summary.as_dict(), "kept_epochs": kept, "kept_because": because})
    shutil.rmtree(run.path / STATE, ignore_errors=True)


def _notes(videos: _Videos, leaks: list[str], loss: str, select: str) -> list[str]:
    count = len(videos.skipped)
    skipped = f"{count} video(s) without complete features left out" if count else ""
    open_scale = (
        f"the loss '{loss}' leaves the scale of the heads' own output open: only calibrated scores are on "
        "the labels' scale"
    )
    notes = (skipped, *leaks, SELECTIONS[select], "" if on_label_scale(loss) else open_scale)
    return [note for note in notes if note]


def _predictions(videos: _Videos, number: int, result: SplitResult) -> list[Prediction]:
    data, split = videos.data, videos.splits.splits[number]
    return [
        Prediction(number, part, data.names[row], data.contents[row], float(data.mos[row]), score)
        for part in PARTS
        for row, score in zip(getattr(split, part), result.scores[part], strict=True)
    ]
