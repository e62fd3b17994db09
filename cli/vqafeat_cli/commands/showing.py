"""`vqafeat show` and `vqafeat verify`."""

import json
from collections.abc import Sequence

import click

from vqafeat.places import Place
from vqafeat_cli.options import FINISHED_WITH_FAILURES, at_place


@click.command()
@click.argument("path", metavar="STORE|RUN")
@at_place("path")
@click.option("--digest", is_flag=True, help="Also read the whole store, for a digest of its content that packing does not change.")
def show(path: Place, digest: bool) -> None:
    """Say what a store or a run folder holds, and where its numbers came from.

    \b
    Examples:
      vqafeat show features/konvid.zarr --digest
      vqafeat show runs/konvid-resnet50-sub-gru
    """
    if (path / "config.json").is_file():
        _show_run(path)
        return
    for store in _stores(path):
        _show_store(store, digest)


def _stores(path: Place) -> Sequence[Place]:
    """Return the stores in a folder of stores, or the path itself, whose absence is told when it is opened."""
    from vqafeat.store import stores_in

    return stores_in(path) or [path]


def _show_store(path: Place, digest: bool) -> None:
    from vqafeat.store import FeatureStore, content_digest

    store = FeatureStore.open(path)
    dataset = store.dataset
    low, high = dataset.mos_range
    click.echo(f"{path}: {dataset.title}, {len(dataset.videos)} videos, {dataset.score_name} {low:g} to {high:g} from {dataset.label_list}")
    click.echo(f"  layout: {store.layout.name}")
    if digest:
        click.echo(f"  content: {content_digest(store)}")
    if dataset.scale:
        click.echo(f"  scale: {dataset.scale}")
    for name in store.feature_sets():
        click.echo(f"  {name}: {len(store.complete_videos(name))} videos complete")
        for key, value in store.identity(name).as_dict().items():
            click.echo(f"    {key:16} {value}")


def _show_run(path: Place) -> None:
    for name in ("config.json", "metrics.json"):
        if (path / name).is_file():
            click.echo(f"{name}:")
            click.echo(json.dumps(json.loads((path / name).read_text(encoding="utf-8")), indent=2, ensure_ascii=False))
        else:
            click.echo(f"{name} is missing: the fit did not finish.")


@click.command()
@click.argument("path", metavar="STORE")
@at_place("path")
@click.pass_context
def verify(context: click.Context, path: Place) -> None:
    """Read a store, or all in a folder, check sums included, and name everything that is wrong; exit code 3 where something is.

    \b
    Example:
      vqafeat verify features/konvid.zarr
    """
    from vqafeat.store import FeatureStore, verify_store

    found = 0
    for store in map(FeatureStore.open, _stores(path)):
        problems = list(verify_store(store))
        found += len(problems)
        for problem in problems:
            click.echo(problem)
        videos = sum(len(store.complete_videos(name)) for name in store.feature_sets())
        counts = f"{videos} complete entries in {len(store.feature_sets())} feature sets"
        click.echo(f"{store.path}: {counts}, {len(problems)} problems.", err=True)
    if found:
        context.exit(FINISHED_WITH_FAILURES)
