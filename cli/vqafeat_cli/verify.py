"""`vqafeat verify`."""

from typing import TYPE_CHECKING, Any

import click
from click import IntRange, option

from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.options import flag
from vqafeat_cli.show import stores_at

if TYPE_CHECKING:
    from vqafeat.extraction.pipeline import Resources
    from vqafeat.store import FeatureStore


@click.command()
@click.argument("store")
@options.storage_option
@flag("--repair", help="Extract damaged videos again.")
@option("--root", metavar="FOLDER|URL", help="Folder of the videos for --repair.")
@option("--against", metavar="FOLDER|URL", help="Extract a sample of the videos in this folder and compare.")
@option("--sample", type=IntRange(1), default=5, help="Number of videos for --against.")
@option("--seed", type=int, default=0, help="Random seed of the sample.")
@option("--tolerance", default=1e-3, help="Largest difference, relative to the largest value of a video.")
@options.weights_option
@options.compute_options
def verify(
    store: str,
    storage_options: tuple[str, ...],
    repair: bool,
    root: str | None,
    against: str | None,
    sample: int,
    seed: int,
    tolerance: float,
    weights: tuple[str, ...],
    **compute: Any,
) -> int:
    """Read a store, or all stores in a folder, with checksums, and list problems.

    The exit code is 3 if there are problems. --repair extracts only the damaged videos again. --against
    extracts some videos again and compares them with the stored features; on another processor they may
    differ by rounding, within --tolerance. Both need the original weights.

    \b
    Examples:
      vqafeat verify features/konvid.zarr
      vqafeat verify features/konvid.zarr --repair --root /data/konvid
      vqafeat verify features/konvid.zarr --against /data/konvid --sample 10
    """
    from vqafeat.store import FeatureStore, verify_store

    if repair and root is None:
        raise click.UsageError("--repair extracts damaged videos again; name their folder with --root.")
    paths = options.parse_paths({"store": store, "against": against, "root": root}, storage_options)
    count = 0
    for opened in map(FeatureStore.open, stores_at(paths["store"])):
        problems = list(verify_store(opened))
        for problem in problems:
            click.echo(problem)
        videos = sum(len(opened.complete_videos(name)) for name in opened.feature_sets())
        entries = f"{videos} complete entries in {len(opened.feature_sets())} feature sets"
        click.echo(f"{opened.path}: {entries}, {len(problems)} problems.", err=True)
        if problems and repair:
            problems = _repair(opened.path, paths["root"], weights, options.resources(**compute))
        count += len(problems)
        if against is not None:
            names, available = _sample(opened, sample, seed), options.resources(**compute)
            count += _compare(opened, paths["against"], names, tolerance, weights, available)
    return options.FINISHED_WITH_FAILURES if count else 0


def _repair(path: StorePath, root: StorePath, weights: tuple[str, ...], available: "Resources") -> list[str]:
    """Extract the damaged videos of a store again; return the remaining problems."""
    from vqafeat.extraction.verify import damaged_videos, repair, stored_extractors
    from vqafeat.store import FeatureStore, verify_store
    from vqafeat_cli.console import shown_progress

    store = FeatureStore.open(path, writable=True)
    if names := damaged_videos(store):
        extractors = stored_extractors(store, options.network_weights(weights, store.feature_sets()))
        with shown_progress(len(names)) as progress:
            summary = repair(store, names, root, extractors, available, progress)
        for failure in summary.failures:
            click.echo(f"  {failure.kind}: {failure.message}", err=True)
        click.echo(f"{path}: {summary.extracted} of {len(names)} damaged videos extracted again.", err=True)
    remaining = list(verify_store(FeatureStore.open(path)))
    for problem in remaining:
        click.echo(f"still wrong: {problem}")
    return remaining


def _sample(store: "FeatureStore", size: int, seed: int) -> list[str]:
    import numpy as np

    stored = {name for feature_set in store.feature_sets() for name in store.complete_videos(feature_set)}
    names = [video.name for video in store.dataset.videos if video.name in stored]
    sampled = np.random.default_rng(seed).choice(len(names), size=min(size, len(names)), replace=False)
    return [names[index] for index in sorted(sampled.tolist())]


def _compare(
    store: "FeatureStore",
    root: StorePath,
    names: list[str],
    tolerance: float,
    weights: tuple[str, ...],
    available: "Resources",
) -> int:
    """Extract videos again and compare them with the store; return how many entries differ."""
    from vqafeat.extraction.verify import compared, stored_extractors
    from vqafeat_cli.console import shown_progress

    extractors = stored_extractors(store, options.network_weights(weights, store.feature_sets()))
    with shown_progress(len(names)) as progress:
        results = compared(store, names, root, extractors, tolerance, available, progress)
    for result in results:
        click.echo(str(result))
    differing = sum(not result.passed for result in results)
    entries = f"{len(results)} entries of {len(names)} videos compared with '{root}'"
    click.echo(f"{store.path}: {entries}, {differing} differ.", err=True)
    return differing
