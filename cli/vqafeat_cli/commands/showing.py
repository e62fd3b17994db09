"""`vqafeat show` and `vqafeat verify`."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from vqafeat.remote import Place
from vqafeat_cli.options import FINISHED_WITH_FAILURES, at_place, compute_options, resources, weights_option


@click.command()
@click.argument("path", metavar="STORE|RUN")
@at_place("path")
@click.option("--digest", is_flag=True, help="Also read the whole store, for a digest of its content that packing does not change.")
@click.option("--video", metavar="NAME", help="Of a store: where all that is stored of this video came from.")
def show(path: Place, digest: bool, video: str | None) -> None:
    """Say what a store or a run folder holds, and where its numbers came from.

    \b
    Examples:
      vqafeat show features/konvid.zarr --digest
      vqafeat show features/konvid.zarr --video 7734711690.mp4
      vqafeat show runs/konvid-resnet50-sub-gru
    """
    from vqafeat.store import FeatureStore
    from vqafeat_cli.accounts import store_lines, video_lines

    if isinstance(path, Path) and (path / "config.json").is_file():
        from vqafeat_cli.run_account import run_lines

        if digest or video:
            raise click.UsageError(f"'{path}' is a run; --digest and --video are for stores: leave them out.")
        lines = run_lines(path)
    elif video is not None:
        if digest:
            raise click.UsageError("--digest is of a whole store and --video of one video; leave one out.")
        lines = video_lines(list(map(FeatureStore.open, _stores(path))), video)
    else:
        lines = chain.from_iterable(store_lines(FeatureStore.open(store), digest) for store in _stores(path))
    for line in lines:
        click.echo(line)


def _stores(path: Place) -> Sequence[Place]:
    """Return the stores in a folder of stores, or the path itself, whose absence is told when it is opened."""
    from vqafeat.store import stores_in

    return stores_in(path) or [path]


@click.command()
@click.argument("path", metavar="STORE")
@at_place("path", "against", "root")
@click.option("--repair", is_flag=True, help="Extract the damaged videos of a store again; name their folder with --root.")
@click.option("--against", metavar="FOLDER|URL", help="Where the videos lie: extract a random sample again and compare.")
@click.option("--sample", type=click.IntRange(1), default=5, show_default=True, help="Videos that --against compares.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option("--tolerance", type=float, default=1e-3, show_default=True, help="Largest difference, as a share of a video's largest value.")
@click.option("--root", metavar="FOLDER|URL", help="Where the videos lie, for --repair.")
@weights_option
@compute_options
@click.pass_context
def verify(
    context: click.Context,
    /,
    path: Place,
    repair: bool,
    against: Place | None,
    sample: int,
    seed: int,
    tolerance: float,
    root: Place | None,
    weights: tuple[str, ...],
    **compute: Any,
) -> None:
    """Read a store, or all in a folder, check sums included, and name everything that is wrong; exit code 3 where something is.

    With --repair, what is damaged is extracted again, and nothing else. With --against, some videos are extracted again, and the stored
    rows have to be theirs; another processor may round differently, within --tolerance.

    \b
    Examples:
      vqafeat verify features/konvid.zarr
      vqafeat verify features/konvid.zarr --repair --root /data/konvid
      vqafeat verify features/konvid.zarr --against /data/konvid --sample 10
    """
    from vqafeat.store import FeatureStore, verify_store
    from vqafeat_cli.verifying import compare_sample, repair_store

    if repair and root is None:
        raise click.UsageError("--repair extracts damaged videos again; name their folder with --root.")
    found = 0
    for store in map(FeatureStore.open, _stores(path)):
        told = list(verify_store(store))
        for problem in told:
            click.echo(problem)
        videos = sum(len(store.complete_videos(name)) for name in store.feature_sets())
        counts = f"{videos} complete entries in {len(store.feature_sets())} feature sets"
        click.echo(f"{store.path}: {counts}, {len(told)} problems.", err=True)
        if told and repair and root is not None:
            told = repair_store(store.path, root, weights, resources(**compute))
        found += len(told)
        if against is not None:
            found += compare_sample(store, against, sample, seed, tolerance, weights, resources(**compute))
    if found:
        context.exit(FINISHED_WITH_FAILURES)
