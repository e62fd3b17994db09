"""`vqafeat show`: what a run, a store or a table holds, and where its numbers came from."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import click
from click import option

import vqafeat as vf
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.console import aligned, metrics_lines, smallest_to_largest
from vqafeat_cli.options import flag, json_option, paths_option
from vqafeat_cli.runs import run_as_json

_WHAT = (
    "a run folder, a feature store or a folder of stores, a table (`vqafeat list tables`) or its .toml, or a "
    "file of `vqafeat table NAME --json --out FOLDER`"
)


@click.command()
@click.argument("path", metavar="RUN|STORE|FOLDER|TABLE")
@paths_option("path")
@flag("--digest", help="Read the whole store and print the digest of its content, which packing keeps.")
@option("--video", metavar="NAME", help="Show where this video's file, frames and features came from.")
@json_option
def show(path: StorePath, digest: bool, video: str | None, json: bool) -> None:
    """Show the content and the provenance of a run, a store, all stores in a folder, or a table.

    TABLE is a .json that `vqafeat table NAME --json --out FOLDER` wrote; or, for only the published values,
    a name of `vqafeat list tables` or your own .toml.

    \b
    Examples:
      vqafeat show features/konvid.zarr --digest
      vqafeat show features/konvid.zarr --video 7734711690.mp4
      vqafeat show runs/konvid-resnet50-sub-gru --json
      vqafeat show li-4
    """
    kind = _kind(path)
    if kind != "store" and (digest or video is not None):
        raise click.UsageError(f"'{path}' is a {kind}; --digest and --video are for stores: leave them out.")
    if digest and video is not None:
        raise click.UsageError("--digest is for a whole store and --video for one video; leave one out.")
    values: Any
    lines: Iterable[str]
    if kind == "run":
        run = vf.Run(str(path))
        kept = run.kept_epochs if run.finished else ()
        config = {"digest": run.config.digest, "config": run.config.as_dict()}
        values, lines = {**run_as_json(run), "kept_epochs": kept, **config}, _run_lines(run)
    elif kind == "table":
        values = _table_values(Path(str(path)))
        lines = _table_lines(values)
    elif video is not None:
        values = _video_values(path, video)
        lines = (line for own in values for line in _video_lines(own))
    else:
        values = (_store_values(store, digest) for store in stores_at(path))
        lines = (line for own in values for line in _store_lines(own))
    if json:
        click.echo(json_text(list(values) if kind == "store" else values))
        return
    for line in lines:
        click.echo(line)


def _kind(path: StorePath) -> str:
    """Return what is at a path: run, table or store."""
    from vqafeat.paper_tables import table_names
    from vqafeat.store import stores_in

    if not isinstance(path, Path):
        return "store"
    if (path / "config.json").is_file():
        return "run"
    is_file = path.is_file() and path.suffix in (".json", ".toml")
    if is_file or (not path.exists() and str(path) in table_names()):
        return "table"
    if path.suffix == ".zarr" or stores_in(path):
        return "store"
    problem = "holds nothing to show" if path.exists() else "does not exist"
    raise ArgumentError(f"'{path}' {problem}; give {_WHAT}.")


def stores_at(path: StorePath) -> "Iterator[vf.FeatureStore]":
    """Open the stores in a folder one after the other, or the path itself."""
    from vqafeat.store import stores_in

    return map(vf.FeatureStore.open, stores_in(path) or [path])


def _store_values(store: "vf.FeatureStore", digest: bool) -> dict[str, Any]:
    from vqafeat.store import content_digest

    dataset = store.dataset
    problems = {video.name: store.times_problem(video.name) for video in dataset.videos}
    return {
        "store": str(store.path),
        "dataset": dataset.name,
        "title": dataset.title,
        "videos": len(dataset.videos),
        "labels": dataset.label_words,
        "label_list": dataset.label_list if dataset.labelled else None,
        "scale": dataset.scale,
        "layout": store.layout.name,
        "content": content_digest(store) if digest else None,
        "times_problems": {name: text for name, text in problems.items() if text},
        "feature_sets": {
            name: {
                "complete_videos": len(store.complete_videos(name)),
                "identity": store.identity(name).as_dict(),
            }
            for name in store.feature_sets()
        },
    }


def _store_lines(store: Mapping[str, Any]) -> Iterator[str]:
    source = f" from {store['label_list']}" if store["label_list"] else ""
    yield f"{store['store']}: {store['title']}, {store['videos']} videos, {store['labels']}{source}"
    for name in ("layout", "content", "scale"):
        if store[name]:
            yield f"  {name}: {store[name]}"
    problems = store["times_problems"]
    for name, text in islice(problems.items(), 1):
        count = f"the frame times of {len(problems)} video(s) cannot be used"
        yield f"  times: {count} (first: those of '{name}' {text})"
    for name, features in store["feature_sets"].items():
        yield f"  {name}: {features['complete_videos']} videos complete"
        for key, value in features["identity"].items():
            yield f"    {key:16} {value}"


def _video_values(folder: StorePath, name: str) -> list[dict[str, Any]]:
    stores = list(stores_at(folder))
    holders = [(store, video) for store in stores for video in store.dataset.videos if video.name == name]
    if not holders:
        paths, example = ", ".join(f"'{store.path}'" for store in stores), stores[0].dataset.videos[0].name
        next_step = f"give a name as the label list writes it, such as '{example}'"
        raise StoreError(f"{paths} has no video '{name}'; {next_step}.")
    return [
        {
            "store": str(store.path),
            "video": name,
            "score_name": store.dataset.score_name,
            "label": video.mos,
            "label_list": store.dataset.label_list,
            "content": video.content,
            "part": video.split,
            "file": store.source(name),
            "frames": _frames(store, name),
            "feature_sets": {own: _stored(store, own, name) for own in store.feature_sets()},
        }
        for store, video in holders
    ]


def _frames(store: "vf.FeatureStore", video: str) -> dict[str, Any] | None:
    """Return the number and times of a video's frames; None if they are not known."""
    if (seconds := store.seconds(video)) is None:
        return None
    times = {"first_second": float(seconds[0]), "last_second": float(seconds[-1])}
    return {"count": len(seconds), **times, "problem": store.times_problem(video)}


def _stored(store: "vf.FeatureStore", feature_set: str, video: str) -> dict[str, Any] | None:
    """Return the shape and the identity of a video's features; None if they are not stored."""
    if store.stored(feature_set, video) is None:
        return None
    values = store.read(feature_set, video).values
    shape = {"rows": values.shape[0], "channels": values.shape[1], "dtype": str(values.dtype)}
    return {**shape, "identity": store.identity(feature_set).as_dict()}


def _video_lines(video: Mapping[str, Any]) -> Iterator[str]:
    yield f"{video['store']}, {video['video']}"
    part = f", official part {video['part']}" if video["part"] else ""
    value = f"{video['label']:g}" if isfinite(video["label"]) else "unknown"
    label = f"{video['score_name']} {value} of {video['label_list']}"
    yield _line("label", f"{label}, content {video['content']}{part}")
    frames = video["frames"]
    if video["file"] is None or frames is None:
        yield _line("file", "not known: its features were imported, or are not extracted yet")
    else:
        yield _line("file", _pairs(video["file"]))
        times = "{count}, {first_second:.3f} to {last_second:.3f} seconds".format_map(frames)
        problem = f"; cannot be used: they {frames['problem']}" if frames["problem"] else ""
        yield _line("frames", f"{times}{problem}")
    for name, stored in video["feature_sets"].items():
        if stored is None:
            yield _line(name, "not stored")
            continue
        shape, identity = "{rows} rows of {channels} channels, {dtype}".format_map(stored), stored["identity"]
        shown = {key: value for key, value in identity.items() if key not in ("channels", "origin")}
        yield _line(name, f"{shape}; {_pairs(shown)}; by {identity['origin']}")


def _table_values(path: Path) -> dict[str, Any]:
    """Return a table that `vqafeat table` wrote, or the published values of one that it can fill."""
    from vqafeat.paper_tables.format import as_dict
    from vqafeat.paper_tables.load import load_table
    from vqafeat.paper_tables.run import TableResult
    from vqafeat.paper_tables.sources import commands_for
    from vqafeat.paper_tables.table import NOTHING, CellResult
    from vqafeat.report.content import WrittenTable

    if path.suffix == ".json":
        return dict(WrittenTable.read(path).values)
    table = load_table(str(path))
    values = as_dict(TableResult(table, tuple(map(CellResult, table.cells))), Path("features"))
    for cell, own in zip(table.cells, values["cells"], strict=True):
        own["shown"] = cell.published.text if cell.published else NOTHING
    required = [cell.options.required(cell.request) for cell in table.cells if cell.request]
    commands = commands_for([need for needs in required for need in needs], Path("features"))
    fill = f"These are the published values; `vqafeat table {path}` measures them"
    lines = [table.caption, f"{fill} on the features of:" if commands else f"{fill}."]
    return {**values, "commands": commands, "lines": [*filter(None, lines), *commands]}


def _table_lines(values: Mapping[str, Any]) -> Iterator[str]:
    from vqafeat.report.content import WrittenTable

    table = WrittenTable(Path(), values).shown([])
    yield table.title
    rows = [[name, *(cell.text for cell in cells)] for name, cells in table.rows]
    yield from aligned([["", *table.columns], *rows])
    yield from (f"  {note}" for note in table.notes)


def _run_lines(run: "vf.Run") -> Iterator[str]:
    config = run.config
    yield f"{run.path}: {config.head} on {config.feature_sets} of {config.dataset} ({config.origin})"
    yield from _metrics_lines(run)
    for title, values in run.describe().items():
        if values:
            yield f"  {title}"
            yield from (f"    {name:28} {_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _metrics_lines(run: "vf.Run") -> Iterator[str]:
    from vqafeat.training.predictions import calibration_words
    from vqafeat.training.results import METRICS, PREDICTIONS, read_json

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
