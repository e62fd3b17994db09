"""Options that several commands share, so that one name means one thing everywhere."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Choice, IntRange, option

from vqafeat.errors import ArgumentError
from vqafeat.remote import StorePath

if TYPE_CHECKING:
    import torch

    from vqafeat.cluster import ClusterOptions
    from vqafeat.extraction.pipeline import Resources

FINISHED_WITH_FAILURES = 3
PATH = click.Path(path_type=Path)
MAPPINGS = "logistic-increasing, logistic, logistic-li or none"
A_GPU = "[default: a GPU where there is one]"
ONLY_ONE = "[default: the only one in the store]"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
flag, several = partial(option, is_flag=True), partial(option, multiple=True)


def together(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options, in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for add_option in reversed(options):
            command = add_option(command)
        return command

    return add


def _parse_amount(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    from vqafeat.system import parse_bytes

    if parameter.name == "cache" and text == "none":
        return 0
    return None if text is None else parse_bytes(text)


def amount_option(name: str, help: str, **settings: Any) -> Decorator:
    """Return an option for an amount of memory, such as 16G; the command gets bytes."""
    return option(name, callback=_parse_amount, help=help, **{"metavar": "AMOUNT", **settings})


json_option = flag("--json", "json", help="Print the result as JSON.")
_DEVICE = f"cpu, cuda or cuda:NUMBER; several devices share the work.  {A_GPU}"
device_option = option("--device", metavar="NAME[,NAME…]", help=_DEVICE)
_PRECISION = "Precision of the networks, mixed below fp32.  [default: fp32 on a CPU, fp16 on a GPU]"
precision_option = option("--precision", type=Choice(["fp32", "fp16", "bf16"]), help=_PRECISION)
_JOBS = "Processes that share the splits of a fit.  [default: the number of cores]"
jobs_option = option("--jobs", type=IntRange(1), help=_JOBS)
_WEIGHTS = "Weights of one network, or of all.  [default: imagenet]"
weights_option = several("--weights", metavar="[NAME=]FILE|imagenet|random[:SEED]", help=_WEIGHTS)


def network_weights(values: Sequence[str], feature_sets: Iterable[str]) -> dict[str, str]:
    """Return the values of `--weights` by network, for the networks of feature sets."""
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights

    return parse_weights(values, backbone_names(list(feature_sets)))


# data sets and stores ------------------------------------------------------------------------------------

_ROOT = "[default: VQAFEAT_DATA/<data set>, or the CSV's folder]"
_STORAGE = "Setting of an object store, such as endpoint_url=http://127.0.0.1:9000; repeatable. Credentials "
_STORAGE += "come from the environment."
_STORE = "Folder of the feature stores, or s3://bucket/prefix."
_CACHE = "Most disk space for local copies of stores at a URL, below $XDG_CACHE_HOME/vqafeat.  "
_CACHE += "[default: half of what is free]"
_LABELS = "Label file; repeat it for files that belong together.  "
_LABELS += "[default: the manifest's, below the root]"
_DATASET = "A known data set, a manifest (.toml), or your own CSV (video,mos[,content,split])."
_SEVERAL = f"Data set of the store; repeat it to train on several together.  {ONLY_ONE}"
_STORED = f"Data set of the store, as in `extract`.  {ONLY_ONE}"
_VIDEOS = f"Folder of the videos, or s3://bucket/prefix.  {_ROOT}"

storage_option = several("--storage-option", "storage_options", metavar="NAME=VALUE", help=_STORAGE)
_store = option("--store", default="features", metavar="FOLDER|URL", help=_STORE)
store_option = together(_store, storage_option)
cache_option = amount_option("--cache", _CACHE, metavar="AMOUNT|none")
dataset_option = option("--dataset", required=True, metavar="NAME|FILE", help=_DATASET)
stored_dataset_option = option("--dataset", metavar="NAME|FILE", help=_STORED)
datasets_option = several("--dataset", "datasets", metavar="NAME|FILE", help=_SEVERAL)
root_option = option("--root", type=PATH, help=f"Folder of the label files.  {_ROOT}")
video_root_option = option("--root", metavar="FOLDER|URL", help=_VIDEOS)
labels_option = several("--labels", type=PATH, help=_LABELS)


def parse_paths(texts: Mapping[str, str | None], storage_options: Sequence[str]) -> dict[str, StorePath]:
    """Return the local paths and URLs of those arguments that were given."""
    from vqafeat import remote

    given = {name: text for name, text in texts.items() if text is not None}
    return dict(zip(given, remote.parse_paths(list(given.values()), storage_options), strict=True))


# what an extraction may use --------------------------------------------------------------------------------

_BATCH = "Most frames per batch on a GPU in fp16 or bf16; otherwise frames are computed one by one.  "
_BATCH += "[default: as many as --memory allows]"
_WORKERS = "Decoding processes; 0 decodes in the main process, where a crash of the decoder ends the run.  "
_WORKERS += "[default: 2 for a CPU, one per core for a GPU]"
_TIMEOUT = "Seconds without a decoded frame after which a video fails."
_DECODER = "nvdec decodes 8-bit H.264, HEVC and VP9 on the GPU, and is checked against the CPU."

compute_options = together(
    device_option,
    option("--batch", "batch_frames", type=IntRange(1), help=_BATCH),
    option("--workers", type=IntRange(0), help=_WORKERS),
    amount_option("--memory", "Memory limit, for example 16G.  [default: 4/5 of what is free]"),
    option("--timeout", "timeout_seconds", default=120.0, help=_TIMEOUT),
    option("--decoder", type=Choice(["cpu", "nvdec"]), default="cpu", help=_DECODER),
    option("--max-pixels", type=IntRange(1), help="Refuse videos with larger frames.  [default: twice 8K]"),
    option("--max-frames", type=IntRange(1), help="Refuse longer videos.  [default: 2 000 000]"),
)


def devices(names: str | None) -> list["torch.device"]:
    """Return the devices that `--device` names."""
    from vqafeat.system import device_named

    return [device_named(name) for name in names.split(",")] if names else [device_named(None)]


def resources(
    device: str | None,
    workers: int | None,
    memory: int | None,
    decoder: str,
    max_pixels: int | None,
    max_frames: int | None,
    ray: "ClusterOptions | None" = None,
    **rest: Any,
) -> "Resources":
    """Return the values of `compute_options` for the first device of this machine, or for a Ray worker."""
    import torch

    from vqafeat.extraction.pipeline import Resources
    from vqafeat.video.frame import DecodeLimits

    limits = DecodeLimits()
    if ray is None:
        first = devices(device)[0]
        default_workers = 2 if first.type == "cpu" else len(os.sched_getaffinity(0))
    else:
        # this machine may have no GPU; a worker without one processes one video at a time
        first = torch.device(ray.device_name)
        default_workers = 1 if first.type == "cpu" else max(1, int(ray.cpus_per_worker))
    return Resources(
        device=first,
        workers=default_workers if workers is None else workers,
        memory_bytes=memory,
        hardware_decoder=decoder == "nvdec",
        limits=DecodeLimits(max_pixels or limits.max_pixels, max_frames or limits.max_frames),
        **rest,
    )


# a Ray cluster ---------------------------------------------------------------------------------------------

_BACKEND = "Where the work runs: this machine, or a Ray cluster."
_ADDRESS = "Address of the cluster.  [default: RAY_ADDRESS, else the one on this machine, else a new one]"
_STARTUP = "Seconds to wait while no Ray worker can start.  [default: 600]"
_RAY_WORKERS = "Concurrent workers on the cluster.  [default: as many as fit]"
_GPUS = "GPUs that a Ray worker reserves; 0.5 shares one.  [default: 0]"

cluster_options = together(
    option("--backend", type=Choice(["local", "ray"]), default="local", help=_BACKEND),
    option("--address", metavar="HOST:PORT", help=_ADDRESS),
    option("--ray-workers", type=int, help=_RAY_WORKERS),
    option("--cpus-per-worker", type=float, help="Cores that a Ray worker reserves.  [default: 1]"),
    option("--gpus-per-worker", type=float, help=_GPUS),
    option("--retries", type=int, help="Retries of the work of a Ray worker that died.  [default: 2]"),
)
startup_timeout_option = option("--startup-timeout", "startup_timeout_seconds", type=float, help=_STARTUP)
_WORKER_PARAMETERS = ("ray_workers", "cpus_per_worker", "gpus_per_worker", "retries")
_CLUSTER_PARAMETERS = ("address", *_WORKER_PARAMETERS, "startup_timeout_seconds")


def take_cluster(values: dict[str, Any], local: Mapping[str, object]) -> "ClusterOptions | None":
    """Remove the values of `cluster_options` from a command's values and return them; None for `local`.

    Args:
        values: of the command's parameters.
        local: values of options that are for one machine, which --backend ray refuses.
    """
    from vqafeat.cluster import ClusterOptions

    backend = values.pop("backend")
    taken = {name: values.pop(name, None) for name in _CLUSTER_PARAMETERS}
    given = {name: value for name, value in taken.items() if value is not None}
    if backend == "local":
        if given:
            name = "--" + next(iter(given)).removesuffix("_seconds").replace("_", "-")
            next_step = "add --backend ray, or leave it out"
            raise ArgumentError(f"{name} is for a cluster, but the backend is 'local'; {next_step}.")
        return None
    for name, value in local.items():
        if value is not None:
            workers = "whose workers follow from --cpus-per-worker and --gpus-per-worker"
            local_only = f"{name} is '{value}', which is for one machine"
            raise ArgumentError(f"{local_only}, but the backend is 'ray', {workers}; leave it out.")
    return ClusterOptions(**{"workers" if name == "ray_workers" else name: given[name] for name in given})
