"""`vqafeat verify`, `vqafeat pack` and `vqafeat unpack`."""

from typing import TYPE_CHECKING, Any

import click
from click import FloatRange, IntRange, option

import vqafeat as vf
from vqafeat.errors import StoreError
from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.console import shown_progress
from vqafeat_cli.options import flag

if TYPE_CHECKING:
    from vqafeat.store.pack import PackResult


_TOLERANCE = "Largest allowed difference, as a share of the largest value."


@click.command()
@click.argument("store", metavar="STORE|FOLDER")
@options.paths_option("store", "root", "against")
@flag("--repair", help="Extract damaged videos again.")
@option("--root", metavar="FOLDER|URL", help="Folder of the videos for --repair.")
@option("--against", metavar="FOLDER|URL", help="Folder of videos: extract a sample again and compare.")
@option("--sample", type=IntRange(1), default=5, help="Number of videos for --against.")
@option("--seed", type=IntRange(0), default=0, help="Random seed of the --sample.")
@option("--tolerance", type=FloatRange(0), default=1e-3, help=_TOLERANCE)
@options.network_options
def verify(
    store: StorePath,
    repair: bool,
    root: StorePath | None,
    against: StorePath | None,
    sample: int,
    seed: int,
    tolerance: float,
    weights: tuple[str, ...],
    **compute: Any,
) -> int:
    """Check all data of a store, or of all stores in a folder, and list problems.

    The exit code is 3 if there are problems. --repair extracts the damaged videos again, and no others.
    --against extracts some videos again and compares them with the stored features, which may differ by
    rounding on another processor. Both need the original weights.

    \b
    Examples:
      vqafeat verify features/konvid.zarr
      vqafeat verify features/konvid.zarr --repair --root /data/konvid
      vqafeat verify features/konvid.zarr --against /data/konvid --sample 10
    """
    from vqafeat.store import stores_in, verify_store

    if repair and root is None:
        raise click.UsageError("--repair extracts damaged videos again; name the videos' folder with --root.")
    if not repair:
        options.refuse_unused(["root"], "without --repair; add it, or leave --root out")
    if against is None:
        advice = "without --against FOLDER; add it, or leave this option out"
        options.refuse_unused(["sample", "seed", "tolerance"], advice)
    count = 0
    for path in stores_in(store) or [store]:
        try:
            opened = vf.FeatureStore.open(path)
        except StoreError as error:
            if path == store:
                raise
            click.echo(str(error))
            count += 1
            continue
        problems = list(verify_store(opened))
        for problem in problems:
            click.echo(problem)
        videos = sum(len(opened.complete_videos(name)) for name in opened.feature_sets())
        entries = f"{videos} complete entries in {len(opened.feature_sets())} feature sets"
        click.echo(f"{opened.path}: {entries}, {len(problems)} problems.", err=True)
        if problems and repair and root is not None:
            problems = _repair(opened.path, root, weights, compute)
        count += len(problems)
        if against is not None:
            names = _sample(opened, sample, seed)
            count += _compare(opened, against, names, tolerance, weights, compute)
    return options.FINISHED_WITH_FAILURES if count else 0


def _repair(path: StorePath, root: StorePath, weights: tuple[str, ...], compute: dict[str, Any]) -> list[str]:
    """Extract the damaged videos of a store again; return the remaining problems and the failures."""
    from vqafeat.extraction.verify import damaged_videos, repair, stored_extractors
    from vqafeat.store import verify_store

    store, failed = vf.FeatureStore.open(path, writable=True), list[str]()
    if names := damaged_videos(store):
        extractors = stored_extractors(store, options.network_weights(weights, store.feature_sets()))
        with shown_progress(len(names)) as progress:
            summary = repair(store, names, root, extractors, options.resources(**compute), progress)
        failed = [f"{failure.kind}: {failure.message}" for failure in summary.failures]
        for failure in failed:
            click.echo(f"  {failure}", err=True)
        click.echo(f"{path}: {summary.extracted} of {len(names)} damaged videos extracted again.", err=True)
    remaining = list(verify_store(vf.FeatureStore.open(path)))
    for problem in remaining:
        click.echo(f"still wrong: {problem}")
    return remaining + failed


def _sample(store: "vf.FeatureStore", size: int, seed: int) -> list[str]:
    import numpy as np

    stored = {name for feature_set in store.feature_sets() for name in store.complete_videos(feature_set)}
    names = [video.name for video in store.dataset.videos if video.name in stored]
    sampled = np.random.default_rng(seed).choice(len(names), size=min(size, len(names)), replace=False)
    return [names[index] for index in sorted(sampled.tolist())]


def _compare(
    store: "vf.FeatureStore",
    root: StorePath,
    names: list[str],
    tolerance: float,
    weights: tuple[str, ...],
    compute: dict[str, Any],
) -> int:
    """Extract videos again and compare them with the store; return how many entries differ."""
    from vqafeat.extraction.verify import compared, stored_extractors

    extractors = stored_extractors(store, options.network_weights(weights, store.feature_sets()))
    with shown_progress(len(names)) as progress:
        resources = options.resources(**compute)
        results = compared(store, names, root, extractors, tolerance, resources, progress)
    for result in results:
        click.echo(str(result))
    differing = sum(not result.passed for result in results)
    entries = f"{len(results)} entries of {len(names)} videos compared with '{root}'"
    click.echo(f"{store.path}: {entries}, {differing} differ.", err=True)
    return differing


_SKIP = "Leave out and list incomplete or damaged entries (exit code 3), instead of refusing them."
_out = option("--out", metavar="PATH|URL", help="Store to write.  [default: replace STORE]")
_paths_options = options.together(_out, options.paths_option("store", "out"))
_skip_missing_option = flag("--skip-missing", help=_SKIP)


@click.command()
@click.argument("store")
@_paths_options
@options.amount_option(
    "--shard-size", default="64M", help="Largest size of a shard of features, which is one file."
)
@_skip_missing_option
def pack(store: StorePath, out: StorePath | None, shard_size: int, skip_missing: bool) -> int:
    """Pack a finished store into a few large files.

    A packed store has one sharded array per feature set instead of thousands of files. It is
    read-only; `vqafeat unpack` makes it writable again. The result is read and compared before it
    replaces STORE, so an interruption loses nothing. Do not pack or unpack a store while a fit reads it.

    \b
    Examples:
      vqafeat pack features/konvid.zarr
      vqafeat pack features/lsvq.zarr --out packed/lsvq.zarr --shard-size 128M
      vqafeat pack features/lsvq.zarr --out s3://bucket/features/lsvq.zarr
    """
    from vqafeat.store import pack_store

    return _print_packed(pack_store(store, out, shard_size, skip_missing), "packed")


@click.command()
@click.argument("store")
@_paths_options
@_skip_missing_option
def unpack(store: StorePath, out: StorePath | None, skip_missing: bool) -> int:
    """Turn a packed store back into a writable one.

    \b
    Example:
      vqafeat unpack features/konvid.zarr
    """
    from vqafeat.store import unpack_store

    return _print_packed(unpack_store(store, out, skip_missing), "unpacked")


def _print_packed(result: "PackResult", verb: str) -> int:
    done = f"already {verb}" if result.unchanged else verb
    click.echo(f"{result.path}: {done}, {result.videos} complete entries, content {result.digest}")
    for entry in result.left_out:
        click.echo(f"  left out: {entry}", err=True)
    return options.FINISHED_WITH_FAILURES if result.left_out else 0
