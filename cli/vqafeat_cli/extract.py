"""`vqafeat extract`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Choice, option

from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.options import flag, precision_option, several

if TYPE_CHECKING:
    from vqafeat.extraction.results import ExtractionSummary

_BACKBONE = "Network to run; repeatable. See `vqafeat list backbones` and `vqafeat list views`."
_ROOT = f"Folder of the videos, or s3://bucket/prefix.  {options.ROOT_DEFAULT}"
_STARTUP = "Seconds to wait while no Ray worker can start.  [default: 600]"


@click.command()
@options.dataset_option
@several("--backbone", "backbones", required=True, metavar="NAME[:VARIANT][@VIEW][@FRAMES]", help=_BACKBONE)
@options.labels_option
@option("--root", metavar="FOLDER|URL", help=_ROOT)
@options.folder_option
@options.paths_option("store", "root")
@options.weights_option
@options.devices_option
@options.extraction_options
@options.cluster_options
@option("--startup-timeout", "startup_timeout_seconds", type=float, help=_STARTUP)
@precision_option
@option(
    "--dtype",
    default="float16",
    type=Choice(["float16", "float32"]),
    help="Data type of the stored features.",
)
@flag("--skip-missing", help="Continue if video files are missing; the failure log names them.")
@options.json_option
def extract(
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
    **compute: Any,
) -> int:
    """Decode each video of a data set once and store per-frame features.

    All networks run in the same pass over the videos. Videos that the store already holds are skipped, so the
    same command resumes a stopped run. A video that fails is recorded in the failure log next to the store,
    and the exit code is 3. With --backend ray, all machines of the cluster must reach the videos, the store
    and the weights, through a shared file system or an object store.

    \b
    Examples:
      vqafeat extract --dataset konvid --backbone resnet50
      vqafeat extract --dataset konvid --backbone resnet50:stages --backbone slowfast-fast \\
          --weights slowfast-fast=SLOWFAST_8x8_R50.pyth
      vqafeat extract --dataset my/scores.csv --backbone resnet18 --weights resnet18=net.pth
      vqafeat extract --dataset konvid --backbone resnet50 --root s3://data/konvid \\
          --labels KoNViD-1kinfo.mat
      vqafeat extract --dataset konvid --backbone resnet50 --backend ray --address 10.0.0.1:6379 \\
          --gpus-per-worker 1 --cpus-per-worker 8
    """
    from vqafeat.datasets import locate_videos
    from vqafeat.extraction.extract import extract_features
    from vqafeat.store import FeatureStore, store_path
    from vqafeat.video.files import mean_frames
    from vqafeat_cli.console import shown_progress
    from vqafeat_cli.stores import load_with_root

    loaded, folder = load_with_root(dataset, root, labels)
    located = locate_videos(loaded, folder, skip_missing=skip_missing)
    device = compute["device"]
    ray = options.take_cluster(compute, {"device": device})
    path = store_path(store, loaded.name)
    with shown_progress(len(loaded.videos), mean_frames(located.dataset)) as progress:
        summary = extract_features(
            located.dataset,
            backbones,
            # the store also has the labels of missing videos
            FeatureStore.create(path, loaded) if located.missing else store,
            weights=options.network_weights(weights, backbones),
            dtype=dtype,
            precision=precision,
            resources=options.resources(**compute, ray=ray),
            devices=None if ray else options.devices(device),
            cluster=ray,
            missing=located.missing,
            progress=progress,
        )
    _print_summary(path, summary, json)
    return options.FINISHED_WITH_FAILURES if summary.failures else 0


def _print_summary(path: "StorePath", summary: "ExtractionSummary", json: bool) -> None:
    from vqafeat.store.zarr_io import failure_log_path
    from vqafeat_cli.console import print_result

    failed = len(summary.failures)
    counts = {"extracted": summary.extracted, "skipped": summary.skipped, "failed": failed}
    extracted = f"{summary.extracted} videos extracted ({summary.frames} frames decoded)"
    text = f"{path}: {extracted}, {summary.skipped} already done, {failed} failed."
    print_result(json, {**counts, "frames": summary.frames, "store": str(path)}, [text])
    if summary.bad_times:
        click.echo(f"warning: {summary.times_note}", err=True)
    for failure in summary.failures[:5]:
        click.echo(f"  {failure.kind}: {failure.message}", err=True)
    if failed:
        click.echo(f"{failed} failed in all; the failure log is {failure_log_path(path)}.", err=True)
