"""What `show` says of a store and of one video in it: what there is, and where each number came from."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqafeat.errors import StoreError
from vqafeat.remote import StorePath
from vqafeat_cli.options import with_store_paths

if TYPE_CHECKING:
    from vqafeat.datasets import Video
    from vqafeat.store import FeatureStore
    from vqafeat.training.run_config import RunConfig

WORDS = 19  # columns before a value


def store_lines(store: "FeatureStore", digest: bool) -> Iterator[str]:
    """Yield what a store holds, and what its feature sets depend on."""
    from vqafeat.store import content_digest

    dataset = store.dataset
    low, high = dataset.mos_range
    yield f"{store.path}: {dataset.title}, {len(dataset.videos)} videos, {dataset.score_name} {low:g} to {high:g} from {dataset.label_list}"
    yield f"  layout: {store.layout.name}"
    if digest:
        yield f"  content: {content_digest(store)}"
    if dataset.scale:
        yield f"  scale: {dataset.scale}"
    for name in store.feature_sets():
        yield f"  {name}: {len(store.complete_videos(name))} videos complete"
        for key, value in store.identity(name).as_dict().items():
            yield f"    {key:16} {value}"


def video_lines(stores: Sequence["FeatureStore"], name: str) -> Iterator[str]:
    """Yield where all that is stored of a video came from: its label, its file, its frames, its rows, in each
    store that has it.

    Raises:
        StoreError: no data set has such a video.
    """
    having = [(store, video) for store in stores for video in store.dataset.videos if video.name == name]
    if not having:
        where = ", ".join(f"'{store.path}'" for store in stores)
        example = stores[0].dataset.videos[0].name
        raise StoreError(
            f"{where} has no video '{name}'; give a name as the label list writes it, such as '{example}'."
        )
    for store, video in having:
        yield from _one_video(store, video)


def _one_video(store: "FeatureStore", found: "Video") -> Iterator[str]:
    dataset, name = store.dataset, found.name
    yield f"{store.path}, {name}"
    part = f", official part {found.split}" if found.split else ""
    yield line(
        "label", f"{dataset.score_name} {found.mos:g} of {dataset.label_list}, content {found.content}{part}"
    )
    source, seconds = store.source(name), store.seconds(name)
    if source is None or seconds is None:
        yield line("file", "not known here: its features were imported, or are still to be extracted")
    else:
        yield line("file", ", ".join(f"{key} {value}" for key, value in source.items()))
        yield line("frames", f"{len(seconds)}, {seconds[0]:.3f} to {seconds[-1]:.3f} seconds")
    for feature_set in store.feature_sets():
        stored = store.stored(feature_set, name)
        if stored is None:
            yield line(feature_set, "not stored")
            continue
        rows = store.read(feature_set, name).values
        yield line(
            feature_set,
            f"{rows.shape[0]} rows of {rows.shape[1]} channels, {rows.dtype}; "
            f"{made(store.identity(feature_set).as_dict())}",
        )


def made(identity: dict[str, Any]) -> str:
    """Return in a line what the numbers of a feature set depend on."""
    return (
        ", ".join(f"{key} {value}" for key, value in identity.items() if key not in ("channels", "origin"))
        + f"; by {identity['origin']}"
    )


def line(what: str, words: str) -> str:
    """Return words under the heading that says what they are of."""
    return f"  {what:{WORDS}} {words}"


def run_lines(folder: Path) -> Iterator[str]:
    """Yield what a run measured, and what decided its numbers.

    Raises:
        WeightsError: the run's configuration cannot be read.
    """
    from vqafeat.training.results import CONFIG, SPLITS, read_json
    from vqafeat.training.run_config import RunConfig

    config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
    yield f"{folder}: {config.head} on {config.feature_sets} of {config.dataset}, by {config.origin}"
    yield from _measured(folder, config)
    recipe = f"recipe {config.recipe['name']}, " if config.recipe else ""
    yield line(
        "heads",
        f"{config.splits}, one a split, in weights/; {recipe}seed {config.seed}; {_options(config.options)}",
    )
    for name, value in config.recipe.items():
        yield f"    {name:{WORDS}} {value}"
    frames = config.frame_input
    yield line(
        "frames",
        f"order {frames.order}, sampling {frames.sampling}, {frames.draws} draw{'s' * (frames.draws != 1)}",
    )
    yield line("splits", f"{config.split_kind}; {SPLITS}, digest {config.splits_digest or 'not known'}")
    for dataset in config.datasets:
        low, high = dataset.mos_range
        yield line(
            "labels",
            f"{dataset.name}, {dataset.score_name} {low:g} to {high:g}, digest "
            f"{dataset.digest or 'not known'}",
        )
    for name, identity in config.identities.items():
        yield line("features", f"{name}: {made(identity)}")
    yield line("software", ", ".join(f"{name} {version}" for name, version in config.versions.items()))
    yield line("run", f"digest {config.digest}; {CONFIG} has every value")


def _measured(folder: Path, config: "RunConfig") -> Iterator[str]:
    from vqafeat.training.calibration import calibration_words
    from vqafeat.training.predictions import load_calibrations, read_metrics
    from vqafeat.training.results import METRICS, PREDICTIONS, read_json
    from vqafeat_cli.console import metrics_lines

    if not (folder / METRICS).is_file():
        yield line(
            "metrics", f"{METRICS} is missing: the fit did not finish; the same command goes on with it"
        )
        return
    values = read_json(folder / METRICS)
    if not values["n"]:
        yield from (
            line("metrics", note)
            for note in values["notes"] or ["none: these heads were not measured; see `vqafeat evaluate`"]
        )
        return
    yield line(
        "metrics",
        f"over {config.splits} splits, from the test parts in {PREDICTIONS}; PLCC and RMSE after mapping "
        f"'{config.mapping}'",
    )
    kept, reasons = values.get("kept_epochs", []), values.get("kept_because", [])
    yield from metrics_lines(read_metrics(folder, config), config.mapping)
    for one, own in zip(config.datasets, load_calibrations(folder, config) or (), strict=False):
        few, many = min(item.videos for item in own), max(item.videos for item in own)
        yield line(
            "scores",
            f"{one.name}: {calibration_words(own)}, {few if few == many else f'{few} to {many}'} a split",
        )
    for split, (epoch, reason) in enumerate(zip(kept, reasons, strict=False)):
        yield line("" if split else "kept", f"split {split}: epoch {epoch}, {reason}")


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"


@click.command()
@click.argument("path", metavar="STORE|RUN")
@with_store_paths("path")
@click.option(
    "--digest",
    is_flag=True,
    help="Also read the whole store, for a digest of its content that packing does not change.",
)
@click.option("--video", metavar="NAME", help="Of a store: where all that is stored of this video came from.")
def show(path: StorePath, digest: bool, video: str | None) -> None:
    """Say what a store or a run folder holds, and where its numbers came from.

    \b
    Examples:
      vqafeat show features/konvid.zarr --digest
      vqafeat show features/konvid.zarr --video 7734711690.mp4
      vqafeat show runs/konvid-resnet50-sub-gru
    """
    from vqafeat.store import FeatureStore

    if isinstance(path, Path) and (path / "config.json").is_file():
        if digest or video:
            raise click.UsageError(f"'{path}' is a run; --digest and --video are for stores: leave them out.")
        lines = run_lines(path)
    elif video is not None:
        if digest:
            raise click.UsageError("--digest is of a whole store and --video of one video; leave one out.")
        lines = video_lines(list(map(FeatureStore.open, stores_at(path))), video)
    else:
        lines = chain.from_iterable(
            store_lines(FeatureStore.open(store), digest) for store in stores_at(path)
        )
    for text in lines:
        click.echo(text)


def stores_at(path: StorePath) -> Sequence[StorePath]:
    """Return the stores in a folder of stores, or the path itself, whose absence is told when it is
    opened.
    """
    from vqafeat.store import stores_in

    return stores_in(path) or [path]
