"""`vqafeat show`: what a store or a run holds, and where its numbers came from."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click import option

import vqafeat as vf
from vqafeat.errors import StoreError
from vqafeat.remote import StorePath
from vqafeat_cli.options import flag, paths_option


@click.command()
@click.argument("path", metavar="STORE|RUN|FOLDER")
@paths_option("path")
@flag("--digest", help="Read the whole store and print the digest of its content, which packing keeps.")
@option("--video", metavar="NAME", help="Show where this video's file, frames and features came from.")
def show(path: StorePath, digest: bool, video: str | None) -> None:
    """Show the content and the provenance of a run, of a store, or of all stores in a folder.

    \b
    Examples:
      vqafeat show features/konvid.zarr --digest
      vqafeat show features/konvid.zarr --video 7734711690.mp4
      vqafeat show runs/konvid-resnet50-sub-gru
    """
    if isinstance(path, Path) and (path / "config.json").is_file():
        if digest or video:
            raise click.UsageError(f"'{path}' is a run; --digest and --video are for stores: leave them out.")
        lines = _run_lines(vf.Run(path))
    elif digest and video is not None:
        raise click.UsageError("--digest is for a whole store and --video for one video; leave one out.")
    else:
        lines = _store_lines(path, digest) if video is None else _video_lines(path, video)
    for text in lines:
        click.echo(text)


def stores_at(path: StorePath) -> "Iterator[vf.FeatureStore]":
    """Open the stores in a folder one after the other, or the path itself."""
    from vqafeat.store import stores_in

    return map(vf.FeatureStore.open, stores_in(path) or [path])


def _store_lines(folder: StorePath, digest: bool) -> Iterator[str]:
    from vqafeat.store import content_digest

    for store in stores_at(folder):
        dataset = store.dataset
        source = f" from {dataset.label_list}" if dataset.labelled else ""
        yield f"{store.path}: {dataset.title}, {len(dataset.videos)} videos, {dataset.label_words}{source}"
        yield f"  layout: {store.layout.name}"
        if digest:
            yield f"  content: {content_digest(store)}"
        if dataset.scale:
            yield f"  scale: {dataset.scale}"
        names = [video.name for video in dataset.videos]
        problems = {name: text for name in names if (text := store.times_problem(name))}
        for name, text in islice(problems.items(), 1):
            count = f"those of {len(problems)} videos cannot be used"
            yield f"  times: {count} (first: those of '{name}' {text})"
        for name in store.feature_sets():
            yield f"  {name}: {len(store.complete_videos(name))} videos complete"
            for key, value in store.identity(name).as_dict().items():
                yield f"    {key:16} {value}"


def _video_lines(folder: StorePath, name: str) -> Iterator[str]:
    stores = list(stores_at(folder))
    holders = [(store, video) for store in stores for video in store.dataset.videos if video.name == name]
    if not holders:
        paths, example = ", ".join(f"'{store.path}'" for store in stores), stores[0].dataset.videos[0].name
        next_step = f"give a name as the label list writes it, such as '{example}'"
        raise StoreError(f"{paths} has no video '{name}'; {next_step}.")
    for store, video in holders:
        yield f"{store.path}, {name}"
        part = f", official part {video.split}" if video.split else ""
        value = f"{video.mos:g}" if video.labelled else "unknown"
        label = f"{store.dataset.score_name} {value} of {store.dataset.label_list}"
        yield _line("label", f"{label}, content {video.content}{part}")
        source, seconds = store.source(name), store.seconds(name)
        if source is None or seconds is None:
            yield _line("file", "not known: its features were imported, or are not extracted yet")
        else:
            yield _line("file", _pairs(source))
            problem = f"; cannot be used: they {text}" if (text := store.times_problem(name)) else ""
            yield _line("frames", f"{len(seconds)}, {seconds[0]:.3f} to {seconds[-1]:.3f} seconds{problem}")
        for feature_set in store.feature_sets():
            if store.stored(feature_set, name) is None:
                yield _line(feature_set, "not stored")
                continue
            rows = store.read(feature_set, name).values
            shape = f"{rows.shape[0]} rows of {rows.shape[1]} channels, {rows.dtype}"
            yield _line(feature_set, f"{shape}; {_identity(store.identity(feature_set).as_dict())}")


def _run_lines(run: "vf.Run") -> Iterator[str]:
    from vqafeat.training.results import CONFIG, SPLITS

    config = run.config
    yield f"{run.path}: {config.head} on {config.feature_sets} of {config.dataset}, by {config.origin}"
    yield from _metrics_lines(run)
    recipe = f"recipe {config.recipe['name']}, " if config.recipe else ""
    options = _pairs(config.options) or "no options"
    heads = f"{config.splits}, one per split, in weights/"
    yield _line("heads", f"{heads}; {recipe}seed {config.seed}; {options}")
    for name, value in config.recipe.items():
        yield f"  {_line(name, str(value))}"
    frames = config.frame_input
    draws = f"{frames.draws} draw{'s' * (frames.draws != 1)}"
    yield _line("frames", f"order {frames.order}, sampling {frames.sampling}, {draws}")
    yield _line("splits", f"{config.split_kind}; {SPLITS}, digest {config.splits_digest or 'not known'}")
    for dataset in config.datasets:
        digest = dataset.digest or "not known"
        yield _line("labels", f"{dataset.name}, {_labels(dataset)}, digest {digest}")
    for name, identity in config.identities.items():
        yield _line("features", f"{name}: {_identity(identity)}")
    yield _line("software", _pairs(config.versions))
    yield _line("run", f"digest {config.digest}; {CONFIG} has every value")


def _metrics_lines(run: "vf.Run") -> Iterator[str]:
    from vqafeat.training.predictions import calibration_words
    from vqafeat.training.results import METRICS, PREDICTIONS, read_json
    from vqafeat_cli.console import metrics_lines, smallest_to_largest

    config = run.config
    if not run.finished:
        yield _line("metrics", f"{METRICS} is missing: the fit did not finish; the same command resumes it")
        return
    values = read_json(run.path / METRICS)
    if not values["n"]:
        notes = values["notes"] or ["none: these heads were not measured; see `vqafeat evaluate`"]
        yield from (_line("metrics", note) for note in notes)
        return
    source = f"over {config.splits} splits, from the test parts in {PREDICTIONS}"
    yield _line("metrics", f"{source}; PLCC and RMSE after mapping '{config.mapping}'")
    yield from metrics_lines(run.metrics, config.mapping)
    for dataset, splits in zip(config.datasets, run.calibrations or (), strict=False):
        videos = smallest_to_largest([item.videos for item in splits])
        yield _line("scores", f"{dataset.name}: {calibration_words(splits)}, {videos} per split")
    kept = zip(values.get("kept_epochs", []), values.get("kept_because", []), strict=False)
    for split, (epoch, reason) in enumerate(kept):
        yield _line("" if split else "kept", f"split {split}: epoch {epoch}, {reason}")


def _line(heading: str, text: str) -> str:
    return f"  {heading:19} {text}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _identity(identity: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in identity.items() if key not in ("channels", "origin")}
    return f"{_pairs(shown)}; by {identity['origin']}"


def _labels(dataset: Any) -> str:
    low, high = dataset.mos_range
    return f"{dataset.score_name} {low:g} to {high:g}"
