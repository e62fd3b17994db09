"""`vqafeat extract`."""

from pathlib import Path

import click

from vqafeat.json_text import json_text
from vqafeat_cli.options import (
    FINISHED_WITH_FAILURES,
    dataset_option,
    json_option,
    labels_option,
    root_option,
    store_option,
    weights_option,
)


@click.command()
@dataset_option(required=True)
@click.option(
    "--backbone", "backbones", multiple=True, required=True, metavar="NAME[@VIEW]", help="Network to run; may be given several times."
)
@root_option
@labels_option
@store_option
@weights_option
@click.option(
    "--batch", "batch_frames", default=2, show_default=True, type=click.IntRange(1), help="Frames that go through a network together."
)
@click.option(
    "--dtype", default="float16", show_default=True, type=click.Choice(["float16", "float32"]), help="How the features are stored."
)
@click.option("--skip-missing", is_flag=True, help="Leave out videos whose file is not there; they are noted in the ledger.")
@json_option
@click.pass_context
def extract(
    context: click.Context,
    dataset: str,
    backbones: tuple[str, ...],
    root: Path | None,
    labels: tuple[Path, ...],
    store: Path,
    weights: tuple[str, ...],
    batch_frames: int,
    dtype: str,
    skip_missing: bool,
    json: bool,
) -> None:
    """Decode each video of a data set once and store per-frame features of every network asked for.

    What the store already holds of the same file under the same identity is skipped, so a stopped run is resumed by the same command.
    A video that fails is noted in the ledger beside the store and does not stop the others; the exit code is then 3.

    \b
    Examples:
      vqafeat extract --dataset konvid --backbone resnet50
      vqafeat extract --dataset my/scores.csv --backbone resnet18 --weights resnet18=net.pth
    """
    from vqafeat.extraction.pipeline import backbone_names, build_extractors
    from vqafeat.extraction.runner import extract_dataset, ledger_path
    from vqafeat.extraction.weights import parse_weights
    from vqafeat.manifest import locate_videos
    from vqafeat.store import FeatureStore, store_path
    from vqafeat_cli.datasets import load_with_root
    from vqafeat_cli.progress import shown_progress

    loaded, folder = load_with_root(dataset, root, labels)
    located = locate_videos(loaded, folder, missing="skip" if skip_missing else "error")
    extractors = build_extractors(backbones, parse_weights(weights, backbone_names(backbones)), dtype)
    feature_store = FeatureStore.create(store_path(store, loaded.name), loaded)
    with shown_progress(len(located.dataset.videos)) as progress:
        summary = extract_dataset(located.dataset, feature_store, extractors, located.missing, batch_frames, progress)
    if json:
        found = {"extracted": summary.extracted, "skipped": summary.skipped, "failed": len(summary.failures), "frames": summary.frames}
        click.echo(json_text({**found, "store": str(feature_store.path)}))
    else:
        click.echo(
            f"{feature_store.path}: {summary.extracted} videos extracted ({summary.frames} frames decoded), "
            f"{summary.skipped} already done, {len(summary.failures)} failed."
        )
    if summary.failures:
        for failure in summary.failures[:5]:
            click.echo(f"  {failure.kind}: {failure.message}", err=True)
        click.echo(f"{len(summary.failures)} failed in all; the ledger is {ledger_path(feature_store)}.", err=True)
        context.exit(FINISHED_WITH_FAILURES)
