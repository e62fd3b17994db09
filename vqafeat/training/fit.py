"""Fit a head on the splits of a data set and write the run folder."""

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import ArgumentError
from vqafeat.heads import HEADS
from vqafeat.io import json_text, write_csv, write_json
from vqafeat.losses import LOSSES
from vqafeat.losses.base import loss_parts, on_label_scale
from vqafeat.losses.label_scaling import fit_label_scaling
from vqafeat.registry import Registry
from vqafeat.splits import PARTS, Split, leak_notes, leakage_of_files
from vqafeat.store import open_store
from vqafeat.store.features import (
    FeatureReader,
    file_digests,
    left_out_note,
    only_feature_sets,
    split_feature_sets,
    to_shared_memory,
)
from vqafeat.system import device_named
from vqafeat.training.checkpoint import SplitResult
from vqafeat.training.config import SELECTIONS, FitConfig, is_gradient_based
from vqafeat.training.fit_videos import FitVideos
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.joint_store import JOINT, scale_name
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
from vqafeat.training.progress import EventFiles, Progress, check_event_files, no_progress
from vqafeat.training.results import CONFIG, CURVE, FINAL, METRICS, SPLITS, STATE, TENSORBOARD
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig, TrainingDataset, software_versions
from vqafeat.training.svr import check_svr
from vqafeat.training.trainer import SplitTask, check_parts
from vqafeat.training.training_features import TrainingFeatures, write_training_features

_NOT_MEASURED = (
    "this head is trained on all videos, so none is left to measure it; the metrics of the splits of its run "
    "estimate how good it is"
)


def fit(
    store: FeatureReader | str | Path,
    config: FitConfig,
    out: str | Path,
    *,
    splits: Sequence[Split] | None = None,
    final: bool = False,
    jobs: int = 1,
    device: str = "cpu",
    memory_bytes: int | None = None,
    overwrite: bool = False,
    reuse: bool = False,
    cluster: ClusterOptions | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a head on each split, measure it on the test part, and write the run folder.

    A stopped fit resumes; a finished one is returned as it is. Both are recognised by the digest of their
    configuration.

    Args:
        store: a `FeatureStore` or its path, or a `JointStore` of several.
        config: everything that decides the numbers.
        out: the run folder.
        splits: splits of the store's data set, in place of those that `config` draws.
        final: after the splits, train one more head on all videos, for use on new ones: `Run.final`.
        jobs: number of processes; results do not depend on it.
        device: "cpu", "cuda" or "cuda:NUMBER", or several joined by commas, which share the splits.
        memory_bytes: most memory for features; larger ones are read from the store again and again. None for
            half of the free memory.
        overwrite: replace what the folder holds of a run.
        reuse: where `out` holds another run, look for this one in the folders next to it, or name a folder
            after the settings that differ.
        cluster: the Ray cluster that trains, in place of `jobs` and `device`.
        tensorboard: write TensorBoard's event files to the folder tensorboard of the run folder.
        progress: called with a split's number and each epoch's record; the final head has the next number.
    """
    if jobs < 1:
        raise ArgumentError(f"jobs is {jobs}; it has to be at least 1.")
    store = open_store(store) if isinstance(store, str | Path) else store
    for dataset in store.datasets:
        dataset.require_labels()
    config = _resolved(config, store)
    devices = tuple(str(device_named(name.strip())) for name in device.split(","))
    if cluster is not None:
        devices = (cluster.device_name,)
    if tensorboard:
        check_event_files(config)
    videos = FitVideos.of_splits(store, config, splits)
    all_videos = FitVideos.of_final_head(store, config) if final else None
    _check_start(config, videos, *([all_videos] if all_videos else []))
    computing = jobs, devices, memory_bytes, cluster, tensorboard
    show = progress or no_progress
    run = _fit_splits(store, config, Path(out), videos, *computing, show, overwrite, reuse)
    if all_videos is not None:
        all_videos, count = all_videos.until_median_of(run.kept_epochs), len(videos.splits)
        _fit_splits(store, config, run.path / FINAL, all_videos, *computing, lambda _, row: show(count, row))
    if tensorboard and not (run.path / TENSORBOARD).is_dir():
        again = "fit it again with --overwrite to write them"
        warnings.warn(f"'{run.path}' was finished without event files; {again}.", stacklevel=2)
    return run


def _fit_splits(
    store: FeatureReader,
    config: FitConfig,
    out: Path,
    videos: FitVideos,
    jobs: int,
    devices: tuple[str, ...],
    memory_bytes: int | None,
    cluster: ClusterOptions | None,
    tensorboard: bool,
    progress: Progress,
    overwrite: bool = False,
    reuse: bool = False,
) -> Run:
    """Train on the splits and write the run folder, unless it is finished."""
    tasks = _tasks(store, config, videos)
    run = Run.open(out, _run_config(store, config, videos, tasks), overwrite, reuse)
    if run.finished:
        return run
    write_json(run.path / CONFIG, run.config.as_dict())
    digests = file_digests(store, videos.data.names)  # `predict` recognises training videos by them
    leak = leakage_of_files(videos.splits, videos.data.contents, videos.data.names, digests)
    if "identical" in leak:
        warnings.warn(leak["identical"]["note"], stacklevel=3)
    write_json(run.path / SPLITS, {**videos.named_splits(), "leak": leak, "sha256": digests})
    # a head without epochs reads each video once, so no copy is needed
    data = to_shared_memory(videos.data, memory_bytes if is_gradient_based(config.head) else 0)
    job = FitJob(store, config, videos.rows, devices, run.path)
    epochs = videos.epochs or config.epochs
    progress = EventFiles(run.path / TENSORBOARD, epochs, progress) if tensorboard else progress
    results = run_fit(data, tasks, job, jobs, cluster, progress)
    trained = sorted({row for split in videos.splits for row in split.train})
    if (features := TrainingFeatures.of(data, trained)) is not None:
        write_training_features(run.path, features)
    _write_results(run, videos, leak_notes(leak), results)
    return run


def _resolved(config: FitConfig, store: FeatureReader) -> FitConfig:
    """Return the configuration with all options of the head and the names of the features."""
    config = replace(config, features=config.features or only_feature_sets(store))
    options, head = dict(config.head_options), config.head
    if "multi_dataset" in config.overrides and len(store.datasets) == 1:
        problem = f"multi_dataset is '{config.overrides['multi_dataset']}', but there is one data set"
        raise ArgumentError(f"{problem}, '{store.dataset.name}'; leave it out, or train on several.")
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
        names = JOINT.join(scale_name(dataset.name) for dataset in store.datasets)
        if options["datasets"] not in ("", names):
            raise ArgumentError(
                f"option 'datasets' of head '{head}' is '{options['datasets']}', but the data sets are "
                f"{names}; leave the option out."
            )
        options["datasets"] = names
    return replace(config, options=options)


def _tasks(store: FeatureReader, config: FitConfig, videos: FitVideos) -> list[SplitTask]:
    """Return the splits to train on; their scalings depend on all labels of the data set, in use or not."""
    names = [dataset.name for dataset in store.datasets]
    mos = np.array([video.mos for video in store.dataset.videos], dtype=np.float64)
    scale, numbers, tasks = config.resolved_recipe.label_scaling, store.member_numbers, list[SplitTask]()
    for number, split in enumerate(videos.splits):
        trained = [videos.rows[row] for row in split.train]
        # the scale only divides the weights of svr, which is fitted to the labels as they are
        as_is = not is_gradient_based(config.head) and mos[trained].max() <= 0
        scalings = fit_label_scaling("none" if as_is else scale, names, numbers, mos, trained)
        seed = split_seed(config.seed, number)
        tasks.append(SplitTask(number, split, seed, tuple(scalings), videos.epochs))
    return tasks


def _check_start(config: FitConfig, *trainings: FitVideos) -> None:
    """Refuse what would stop a split or the final head at its start, before the run folder is touched."""
    for videos in trainings:
        FrameSampler(config.frame_input, videos.data).check()
        for split in videos.splits:
            check_parts(split, videos.data, config.resolved_recipe)
            if not is_gradient_based(config.head):
                check_svr(videos.data, split, config)
    build_head_on_meta(config, trainings[0].data.channels)


def _run_config(
    store: FeatureReader, config: FitConfig, videos: FitVideos, tasks: Sequence[SplitTask]
) -> RunConfig:
    scalings = zip(*(task.label_scalings for task in tasks), strict=True)
    datasets = tuple(
        TrainingDataset(one.name, one.digest, one.score_name, one.mos_range, own)
        for one, own in zip(store.datasets, scalings, strict=True)
    )
    # a head or loss of a plug-in whose code has changed gives another run
    losses = loss_parts(config.resolved_recipe.loss) if is_gradient_based(config.head) else ()
    entries: list[tuple[Registry[Any], str]] = [(HEADS, config.head), *((LOSSES, part) for part in losses)]
    sources = {
        f"source of the {registry.kind} {name}": source
        for registry, name in entries
        if (source := registry.plugin_source(name))
    }
    return RunConfig(
        head=config.head,
        options=dict(config.options),
        recipe=config.resolved_recipe.as_dict() if is_gradient_based(config.head) else {},
        seed=config.seed,
        feature_sets=config.features,
        identities={name: store.identity(name).as_dict() for name in split_feature_sets(config.features)},
        channels=videos.data.channels,
        datasets=datasets,
        split_kind=videos.words,
        mapping=config.mapping,
        origin="vqafeat fit",
        versions={**software_versions(), **sources},
        frame_input=config.frame_input,
        splits_digest=sha256(json_text(videos.named_splits()).encode()).hexdigest(),
    )


def _write_results(run: Run, videos: FitVideos, leaks: list[str], results: Sequence[SplitResult]) -> None:
    """Write predictions, calibration, curve and metrics.json, which marks the run as finished."""
    config = run.config
    data = videos.data
    rows = [
        Prediction(number, part, data.names[row], data.contents[row], float(data.mos[row]), score)
        for number, (split, result) in enumerate(zip(videos.splits, results, strict=True))
        for part in PARTS
        for row, score in zip(getattr(split, part), result.scores[part], strict=True)
    ]
    calibrations = fit_calibrations(rows, config)
    predictions = with_scores(rows, config, calibrations)
    # a head without epochs has no recipe: it selects on validation and scores on the labels' scale
    recipe = {"loss": "l1", "select": "validation", **config.recipe}
    notes = _notes(videos, leaks, recipe["loss"], recipe["select"]) + calibration_notes(config, calibrations)
    measured = sum(bool(split.test) for split in videos.splits)
    summary = summarise(predictions, measured, config.mapping, notes, config.dataset_names)
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


def _notes(videos: FitVideos, leaks: list[str], loss: str, select: str) -> list[str]:
    skipped = left_out_note(videos.skipped) if videos.skipped else ""
    open_scale = (
        f"the loss '{loss}' leaves the scale of the heads' own output open: only calibrated scores are on "
        "the labels' scale"
    )
    about_tests = [*leaks, SELECTIONS[select]] if videos.splits[0].test else [_NOT_MEASURED]
    return [note for note in (skipped, *about_tests, "" if on_label_scale(loss) else open_scale) if note]
