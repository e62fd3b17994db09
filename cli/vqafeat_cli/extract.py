"""`vqafeat extract`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Choice, option

from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.console import print_result, shown_progress
from vqafeat_cli.options import flag, precision_option, several

if TYPE_CHECKING:
    import vqafeat as vf
    from vqafeat.datasets.locate import Located
    from vqafeat.extraction.results import ExtractionSummary

_BACKBONE = "Network to run; repeatable. See `vqafeat list backbones` and `vqafeat list views`."
_DATASET = "Known data set, manifest or CSV; or, without labels, a folder, a glob or an address."
_DTYPE = "Data type of the stored features."
_NAME = "Name of the data set, for videos without labels.  [default: the name of their common folder]"
_ROOT = f"Folder of the videos, or s3://bucket/prefix.  {options.ROOT_DEFAULT}"
_STARTUP = "Seconds to wait while no Ray worker can start.  [default: 600]"


def _with_stdin(context: click.Context, parameter: click.Parameter, items: tuple[str, ...]) -> list[str]:
    names: list[str] = []
    for item in items:
        lines = list(filter(None, sys.stdin.read().splitlines() if item == "-" else [item]))
        if item == "-" and not lines:
            raise click.UsageError("- reads the names of videos from stdin, which is empty; list some there.")
        names += lines
    return names


@click.command()
@click.argument("videos", nargs=-1, metavar="[VIDEO|FOLDER|GLOB|URL|-]...", callback=_with_stdin)
@option("--dataset", metavar="NAME|FILE|FOLDER", help=_DATASET)
@several("--backbone", "backbones", required=True, metavar="NAME[:VARIANT][@VIEW][@FRAMES]", help=_BACKBONE)
@options.labels_option
@option("--root", metavar="FOLDER|URL", help=_ROOT)
@options.folder_option
@option("--name", metavar="NAME", help=_NAME)
@options.storage_option
@options.weights_option
@options.devices_option
@options.extraction_options
@options.cluster_options
@option("--startup-timeout", "startup_timeout_seconds", type=float, help=_STARTUP)
@precision_option
@option("--dtype", default="float16", type=Choice(["float16", "float32"]), help=_DTYPE)
@flag("--skip-missing", help="Continue if video files are missing; the failure log names them.")
@options.json_option
def extract(
    videos: list[str],
    dataset: str | None,
    backbones: tuple[str, ...],
    root: str | None,
    labels: tuple[Path, ...],
    store: str,
    name: str | None,
    storage_options: tuple[str, ...],
    weights: tuple[str, ...],
    precision: str | None,
    dtype: str,
    skip_missing: bool,
    json: bool,
    **compute: Any,
) -> int:
    """Decode each video of a data set once and store per-frame features.

    Name either a data set with --dataset, or videos, which need no labels: files, folders with their
    subfolders, globs, URLs, or - for a list on stdin. To add labels later, run the command again with a CSV
    that has the store's name, such as --dataset clips.csv; no video is decoded again.

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
      vqafeat extract clips/ https://host/clip.mp4 --backbone resnet50 --name mixed
      find . -name '*.mp4' | vqafeat extract - --backbone resnet50
      vqafeat extract --dataset konvid --backbone resnet50 --root s3://data/konvid \\
          --labels KoNViD-1kinfo.mat
      vqafeat extract --dataset konvid --backbone resnet50 --backend ray --address 10.0.0.1:6379 \\
          --gpus-per-worker 1 --cpus-per-worker 8
    """
    from vqafeat.extraction.extract import extract_features
    from vqafeat.store import store_path
    from vqafeat.video.files import mean_frames

    urls = {item: item for item in (*videos, dataset or "") if item.startswith("s3://")}
    paths = options.parse_paths({"store": store, "root": root, **urls}, storage_options)
    loaded, located = _load(videos, dataset, name, paths, labels, skip_missing)
    device = compute["device"]
    ray = options.take_cluster(compute, {"device": device})
    path = store_path(paths["store"], loaded.name)
    with shown_progress(len(loaded.videos), mean_frames(located.dataset)) as progress:
        summary = extract_features(
            located.dataset,
            backbones,
            paths["store"],
            weights=options.network_weights(weights, backbones),
            dtype=dtype,
            precision=precision,
            resources=options.resources(**compute, ray=ray),
            devices=None if ray else options.devices(device),
            cluster=ray,
            whole=loaded if located.missing else None,
            progress=progress,
        )
    _print_summary(path, summary, json)
    return options.FINISHED_WITH_FAILURES if summary.failures else 0


def _load(
    videos: list[str],
    dataset: str | None,
    name: str | None,
    paths: dict[str, "StorePath"],
    labels: tuple[Path, ...],
    skip_missing: bool,
) -> "tuple[vf.Dataset, Located]":
    """Return the data set, and those of its videos whose files exist."""
    from vqafeat.datasets import load_videos, locate_videos
    from vqafeat.datasets.locate import Located, is_video_source
    from vqafeat_cli.stores import load_with_root

    if bool(videos) == (dataset is not None):
        raise click.UsageError("name either videos, or a data set with --dataset.")
    if dataset is None or is_video_source(dataset):
        if labels or skip_missing or "root" in paths:
            raise click.UsageError("--root, --labels and --skip-missing are for known data sets and CSVs.")
        loaded = load_videos([paths.get(item, item) for item in videos or [str(dataset)]], name)
        return loaded, Located(loaded)
    if name is not None:
        raise click.UsageError("--name is for videos without labels; leave it out.")
    loaded, folder = load_with_root(dataset, paths.get("root"), labels)
    return loaded, locate_videos(loaded, folder, skip_missing=skip_missing)


def _print_summary(path: "StorePath", summary: "ExtractionSummary", json: bool) -> None:
    from vqafeat.store.zarr_io import failure_log_path

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
