"""`vqafeat extract`."""

from pathlib import Path
from typing import Any

import click

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.options import (
    FINISHED_WITH_FAILURES,
    cluster,
    cluster_options,
    compute_options,
    dataset_option,
    devices,
    json_option,
    labels_option,
    resources,
    split_options,
    startup_timeout_option,
    store_and_videos_options,
    weights_option,
)


@click.command()
@dataset_option(required=True)
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    required=True,
    metavar="NAME[:VARIANT][@VIEW][@FRAMES]",
    help="Network to run; may be given several times.",
)
@labels_option
@store_and_videos_options
@weights_option
@compute_options
@cluster_options
@startup_timeout_option
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    help="How networks compute.  [default: fp32 on a CPU, fp16 on a GPU]",
)
@click.option(
    "--dtype",
    default="float16",
    show_default=True,
    type=click.Choice(["float16", "float32"]),
    help="How the features are stored.",
)
@click.option(
    "--skip-missing",
    is_flag=True,
    help="Leave out videos whose file is not there; they are noted in the failure log.",
)
@json_option
@click.pass_context
def extract(
    context: click.Context,
    /,
    dataset: str,
    backbones: tuple[str, ...],
    root: StorePath | None,
    labels: tuple[Path, ...],
    store: StorePath,
    weights: tuple[str, ...],
    precision: str | None,
    dtype: str,
    skip_missing: bool,
    json: bool,
    backend: str,
    **given: Any,
) -> None:
    """Decode each video of a data set once and store per-frame features of every network asked for.

    What the store already holds of the same file under the same identity is skipped, so a stopped run is
    resumed by the same command. A video that fails is noted in the failure log beside the store and does not
    stop the others; the exit code is then 3. With --backend ray the videos are spread over the machines of a
    cluster, which share the videos, the store and the weights by one file system or object store.

    \b
    Examples:
      vqafeat extract --dataset konvid --backbone resnet50
      vqafeat extract --dataset konvid --backbone resnet50:stages --backbone slowfast-fast --weights slowfast-fast=SLOWFAST_8x8_R50.pyth
      vqafeat extract --dataset my/scores.csv --backbone resnet18 --weights resnet18=net.pth
      vqafeat extract --dataset konvid --backbone resnet50 --root s3://videos/konvid --labels KoNViD-1kinfo.mat
      vqafeat extract --dataset konvid --backbone resnet50 --backend ray --address 10.0.0.1:6379 --gpus-per-worker 1 --cpus-per-worker 8
    """
    from vqafeat.backbones.feature_set import ExtractorSpec, backbone_names
    from vqafeat.backbones.network import chosen_precision
    from vqafeat.backbones.weights import parse_weights
    from vqafeat.datasets import locate_videos
    from vqafeat.extraction.extract import run_extraction
    from vqafeat.extraction.loop import Extraction, failure_log_path
    from vqafeat.store import FeatureStore, store_path
    from vqafeat_cli.console import shown_progress
    from vqafeat_cli.stores import load_with_root

    loaded, folder = load_with_root(dataset, root, labels)
    located = locate_videos(loaded, folder, missing="skip" if skip_missing else "error")
    asked, compute = split_options(given)
    wanted = cluster(backend, asked, {"device": compute["device"]})
    own = resources(**compute, elsewhere=wanted)
    chosen = parse_weights(weights, backbone_names(backbones))
    request = ExtractorSpec(backbones, chosen, dtype, chosen_precision(precision, own.device))
    extractors = request.build()
    here = [own.device] if wanted else devices(compute["device"])
    feature_store = FeatureStore.create(store_path(store, loaded.name), loaded)
    work = Extraction(located.dataset, feature_store, extractors, request, located.missing, own, here, wanted)
    with shown_progress(len(located.dataset.videos)) as progress:
        summary = run_extraction(work, progress)
    if json:
        found = {
            "extracted": summary.extracted,
            "skipped": summary.skipped,
            "failed": len(summary.failures),
            "frames": summary.frames,
        }
        click.echo(json_text({**found, "store": str(feature_store.path)}))
    else:
        click.echo(
            f"{feature_store.path}: {summary.extracted} videos extracted ({summary.frames} frames decoded), "
            f"{summary.skipped} already done, {len(summary.failures)} failed."
        )
    if summary.failures:
        for failure in summary.failures[:5]:
            click.echo(f"  {failure.kind}: {failure.message}", err=True)
        click.echo(
            f"{len(summary.failures)} failed in all; the failure log is {failure_log_path(feature_store)}.",
            err=True,
        )
        context.exit(FINISHED_WITH_FAILURES)
