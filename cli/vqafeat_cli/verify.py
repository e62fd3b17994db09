"""`vqafeat verify`."""

from typing import TYPE_CHECKING, Any

import click

from vqafeat.remote import StorePath
from vqafeat_cli.options import (
    FINISHED_WITH_FAILURES,
    compute_options,
    resources,
    weights_option,
    with_store_paths,
)
from vqafeat_cli.show import stores_at

if TYPE_CHECKING:
    from vqafeat.extraction.pipeline import Resources
    from vqafeat.store import FeatureStore


@click.command()
@click.argument("path", metavar="STORE")
@with_store_paths("path", "against", "root")
@click.option(
    "--repair",
    is_flag=True,
    help="Extract the damaged videos of a store again; name their folder with --root.",
)
@click.option(
    "--against", metavar="FOLDER|URL", help="Where the videos lie: extract a random sample again and compare."
)
@click.option(
    "--sample", type=click.IntRange(1), default=5, show_default=True, help="Videos that --against compares."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option(
    "--tolerance",
    type=float,
    default=1e-3,
    show_default=True,
    help="Largest difference, as a share of a video's largest value.",
)
@click.option("--root", metavar="FOLDER|URL", help="Where the videos lie, for --repair.")
@weights_option
@compute_options
@click.pass_context
def verify(
    context: click.Context,
    /,
    path: StorePath,
    repair: bool,
    against: StorePath | None,
    sample: int,
    seed: int,
    tolerance: float,
    root: StorePath | None,
    weights: tuple[str, ...],
    **compute: Any,
) -> None:
    """Read a store, or all in a folder, check sums included, and name everything that is wrong; exit code 3
    where something is.

    With --repair, what is damaged is extracted again, and nothing else. With --against, some videos are
    extracted again, and the stored rows have to be theirs; another processor may round differently, within
    --tolerance.

    \b
    Examples:
      vqafeat verify features/konvid.zarr
      vqafeat verify features/konvid.zarr --repair --root /data/konvid
      vqafeat verify features/konvid.zarr --against /data/konvid --sample 10
    """
    from vqafeat.store import FeatureStore, verify_store

    if repair and root is None:
        raise click.UsageError("--repair extracts damaged videos again; name their folder with --root.")
    found = 0
    for store in map(FeatureStore.open, stores_at(path)):
        told = list(verify_store(store))
        for problem in told:
            click.echo(problem)
        videos = sum(len(store.complete_videos(name)) for name in store.feature_sets())
        counts = f"{videos} complete entries in {len(store.feature_sets())} feature sets"
        click.echo(f"{store.path}: {counts}, {len(told)} problems.", err=True)
        if told and repair and root is not None:
            told = _repair(store.path, root, weights, resources(**compute))
        found += len(told)
        if against is not None:
            found += _compare_sample(store, against, sample, seed, tolerance, weights, resources(**compute))
    if found:
        context.exit(FINISHED_WITH_FAILURES)


def _repair(path: StorePath, root: StorePath, weights: tuple[str, ...], given: "Resources") -> list[str]:
    """Extract the damaged videos of a store again; return what is still wrong."""
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights
    from vqafeat.extraction.verify import damaged_videos, repair, stored_extractors
    from vqafeat.store import FeatureStore, verify_store
    from vqafeat_cli.console import shown_progress

    store = FeatureStore.open(path, writable=True)
    names = damaged_videos(store)
    if names:
        extractors = stored_extractors(store, parse_weights(weights, backbone_names(store.feature_sets())))
        with shown_progress(len(names)) as progress:
            summary = repair(store, names, root, extractors, given, progress)
        for failure in summary.failures:
            click.echo(f"  {failure.kind}: {failure.message}", err=True)
        click.echo(f"{path}: {summary.extracted} of {len(names)} damaged videos extracted again.", err=True)
    left = list(verify_store(FeatureStore.open(path)))
    for problem in left:
        click.echo(f"still wrong: {problem}")
    return left


def _compare_sample(
    store: "FeatureStore",
    root: StorePath,
    sample: int,
    seed: int,
    tolerance: float,
    weights: tuple[str, ...],
    given: "Resources",
) -> int:
    """Extract a random sample of a store's complete videos again and compare; return how many entries
    differ.
    """
    import numpy as np

    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights
    from vqafeat.extraction.verify import compared, stored_extractors
    from vqafeat_cli.console import shown_progress

    extractors = stored_extractors(store, parse_weights(weights, backbone_names(store.feature_sets())))
    whole = [video.name for video in store.dataset.videos if _stored(store, video.name)]
    drawn = np.random.default_rng(seed).choice(len(whole), size=min(sample, len(whole)), replace=False)
    names = [whole[row] for row in sorted(drawn.tolist())]
    with shown_progress(len(names)) as progress:
        found = compared(store, names, root, extractors, tolerance, given, progress)
    for one in found:
        click.echo(str(one))
    differing = sum(not one.passed for one in found)
    click.echo(
        f"{store.path}: {len(found)} entries of {len(names)} videos compared with '{root}', {differing} "
        f"differ.",
        err=True,
    )
    return differing


def _stored(store: "FeatureStore", video: str) -> bool:
    return any(store.is_complete(name, video) for name in store.feature_sets())
