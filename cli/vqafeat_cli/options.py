"""Options that several commands share: one name has one meaning and one help text."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click import Choice, IntRange, option
from click.core import ParameterSource

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import ArgumentError
from vqafeat.remote import StorePath, parse_path
from vqafeat.system import device_named, parse_bytes

if TYPE_CHECKING:
    import torch

    from vqafeat.extraction.pipeline import Resources

FINISHED_WITH_FAILURES = 3
PATH = click.Path(path_type=Path)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Value = TypeVar("Value")

flag, several = partial(option, is_flag=True), partial(option, multiple=True)


def together(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options, in this order."""
    return lambda command: reduce(lambda done, add_option: add_option(done), reversed(options), command)


def given(values: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return the values of those options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def refuse_unused(names: Sequence[str], why: str) -> None:
    """Refuse those of the named options that were given, since they have no effect."""
    source_of = click.get_current_context().get_parameter_source
    for name in names:
        if source_of(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} has no effect {why}.")


def _as_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    is_none = text == "none" and parameter.name == "cache"
    return 0 if is_none else parse_bytes(text, parameter.opts[0].strip("-"))


def _one_device(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    if name is not None and "," in name:
        raise ArgumentError(f"device is '{name}', but `{context.command_path}` uses a single one; name one.")
    return name


def _set_offline(context: click.Context, parameter: click.Parameter, offline: bool) -> None:
    if offline:
        os.environ["VQAFEAT_OFFLINE"] = "1"  # worker processes inherit it


_A_GPU = "[default: cuda if available, else cpu]"
_DEVICE = f"Device that runs the networks: cpu, cuda or cuda:NUMBER.  {_A_GPU}"
_DEVICES = f"Devices that run the networks: cpu, cuda or cuda:NUMBER, joined by commas.  {_A_GPU}"
_HEAD_DEVICES = "Devices that train the heads, such as cuda:0,cuda:1; they share the splits.  [default: cpu]"
MAPPING = "Mapping fitted before PLCC and RMSE: logistic-increasing, logistic, logistic-li or none."
_OFFLINE = "Fetch no models or weights: use those in the cache or in files.  [VQAFEAT_OFFLINE=1]"
_PRECISION = "Floating-point precision of the networks.  [default: fp32 on a CPU, fp16 on a GPU]"
_WEIGHTS = "Weights of the network NAME, or of all networks; repeatable.  [default: imagenet]"

amount_option = partial(option, callback=_as_bytes, metavar="AMOUNT")  # the command gets bytes
json_option = flag("--json", "json", help="Print the result as JSON.")
device_option = option("--device", callback=_one_device, metavar="NAME", help=_DEVICE)
devices_option = option("--device", metavar="NAME[,NAME…]", help=_DEVICES)
training_options = together(
    option("--jobs", type=IntRange(1), help="Processes that train splits.  [default: one per core]"),
    option("--device", metavar="NAME[,NAME…]", help=_HEAD_DEVICES),
)
precision_option = option("--precision", type=Choice(["fp32", "fp16", "bf16"]), help=_PRECISION)
weights_option = together(
    several("--weights", metavar="[NAME=]FILE|imagenet|random[:SEED]", help=_WEIGHTS),
    flag("--offline", envvar="VQAFEAT_OFFLINE", callback=_set_offline, expose_value=False, help=_OFFLINE),
)


def network_weights(values: Sequence[str], feature_sets: Iterable[str]) -> dict[str, str]:
    """Return the values of `--weights` by network, for the networks of feature sets."""
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights

    return parse_weights(values, backbone_names(list(feature_sets)))


# data sets and stores ------------------------------------------------------------------------------------

_CACHE = "Disk space for copies of stores at a URL; none makes no copy.  [default: half of the free space]"
_DATASET = "Name (`vqafeat list datasets`), manifest (.toml), or CSV or TSV with video,mos[,content,split]."
_LABELS = "Label file, or name of a list of the manifest; repeatable.  [default: the first list in --root]"
ONLY_ONE = "[default: the only one in the store]"
ROOT_DEFAULT = "[default: VQAFEAT_DATA/<data set>, or the folder of the CSV or manifest]"
_STORAGE = "Setting of the object store, such as endpoint_url=URL, but no credentials; repeatable."
_STORE = "Folder of the feature stores, or s3://bucket/prefix."


def parse_paths(texts: Mapping[str, str | None], storage_options: Sequence[str]) -> dict[str, StorePath]:
    """Return the local paths and URLs of those arguments that were given; the options are for the URLs."""
    named = given(texts)
    if storage_options and not any("://" in text for text in named.values()):
        raise ArgumentError(
            "--storage-option is for stores and videos at a URL; leave it out for local ones."
        )
    return {name: parse_path(text, storage_options if "://" in text else ()) for name, text in named.items()}


def paths_option(*names: str) -> Decorator:
    """Return a decorator that adds --storage-option and turns these texts of a command into paths."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(storage_options: tuple[str, ...], **values: Any) -> Any:
            paths = parse_paths({name: values[name] for name in names}, storage_options)
            return command(**{**values, **paths})

        return storage_option(run)

    return add


skip_missing_option = flag("--skip-missing", help="Leave out videos without complete features.")
storage_option = several("--storage-option", "storage_options", metavar="NAME=VALUE", help=_STORAGE)
folder_option = option("--store", default="features", metavar="FOLDER|URL", help=_STORE)
store_option = together(folder_option, paths_option("store"))
read_store_options = together(store_option, amount_option("--cache", metavar="AMOUNT|none", help=_CACHE))
dataset_option = option("--dataset", required=True, metavar="NAME|FILE", help=_DATASET)
labels_option = several("--labels", type=PATH, help=_LABELS)


# resources of an extraction --------------------------------------------------------------------------------

_BATCH = "Frames per batch on a GPU in fp16 or bf16, else 1.  [default: 64, fewer above 960x540]"
_DECODER = "Video decoder; nvdec decodes 8-bit H.264, HEVC and VP9 on the GPU."
_MEMORY = "Memory limit, such as 16G.  [default: 4/5 of the free memory]"
_TIMEOUT = "Seconds without a frame until a video fails."
_WORKERS = "Decoding processes; 0 decodes in the main process.  [default: 2 on a CPU, one per core on a GPU]"

extraction_options = together(
    option("--batch", "batch_frames", type=IntRange(1), help=_BATCH),
    option("--workers", type=IntRange(0), help=_WORKERS),
    amount_option("--memory", "memory_bytes", help=_MEMORY),
    option("--timeout", "timeout_seconds", default=120.0, help=_TIMEOUT),
    option("--decoder", type=Choice(["cpu", "nvdec"]), default="cpu", help=_DECODER),
    option("--max-pixels", type=IntRange(1), help="Refuse videos with larger frames.  [default: twice 8K]"),
    option("--max-frames", type=IntRange(1), help="Refuse videos with more frames.  [default: 2000000]"),
)
network_options = together(weights_option, device_option, extraction_options)


def devices(names: str | None) -> list["torch.device"]:
    """Return the devices that `--device` names."""
    return [device_named(name) for name in names.split(",")] if names else [device_named(None)]


def resources(
    device: str | None,
    workers: int | None,
    decoder: str,
    max_pixels: int | None,
    max_frames: int | None,
    ray: ClusterOptions | None = None,
    **rest: Any,
) -> "Resources":
    """Return the resources of an extraction, on the first of the devices or in a Ray worker."""
    import torch

    from vqafeat.extraction.pipeline import Resources, default_workers
    from vqafeat.video.frame import DecodeLimits

    if ray is None:
        first = devices(device)[0]
        default = default_workers(first)
    else:
        # this machine may have no GPU; a worker without one processes one video at a time
        first = torch.device(ray.device_name)
        default = 1 if first.type == "cpu" else max(1, int(ray.cpus_per_worker))
    return Resources(
        device=first,
        workers=default if workers is None else workers,
        hardware_decoder=decoder == "nvdec",
        limits=DecodeLimits(**given({"max_pixels": max_pixels, "max_frames": max_frames})),
        **rest,
    )


# a Ray cluster ---------------------------------------------------------------------------------------------

_ADDRESS = "Address of the cluster.  [default: RAY_ADDRESS, else a cluster on this machine, else a new one]"
_GPUS = "GPUs that each Ray worker reserves; with 0.5, two share one.  [default: 0]"

cluster_options = together(
    option("--backend", type=Choice(["local", "ray"]), default="local", help="Run here or on a Ray cluster."),
    option("--address", metavar="HOST:PORT", help=_ADDRESS),
    option("--ray-workers", type=int, help="Ray workers that run at once.  [default: as many as fit]"),
    option("--cpus-per-worker", type=float, help="CPU cores that each Ray worker reserves.  [default: 1]"),
    option("--gpus-per-worker", type=float, help=_GPUS),
    option("--retries", type=int, help="Retries of a task whose Ray worker died.  [default: 2]"),
)


def take_cluster(values: dict[str, Any], local: Mapping[str, object]) -> ClusterOptions | None:
    """Remove the values of `cluster_options` from a command's values and return them; None for `local`.

    `local` has the values of options for a single machine, which --backend ray refuses.
    """
    backend = values.pop("backend")
    names = ("address", "ray_workers", "cpus_per_worker", "gpus_per_worker", "retries")
    cluster = given({name: values.pop(name, None) for name in (*names, "startup_timeout_seconds")})
    if backend == "ray":
        for name, value in given(local).items():
            problem = f"{name} is '{value}', which is for one machine, but the backend is 'ray'"
            raise ArgumentError(f"{problem}; leave it out, or give --cpus-per-worker and --gpus-per-worker.")
        return ClusterOptions(workers=cluster.pop("ray_workers", None), **cluster)
    if cluster:
        name = "--" + next(iter(cluster)).removesuffix("_seconds").replace("_", "-")
        problem = f"{name} is for a cluster, but the backend is 'local'"
        raise ArgumentError(f"{problem}; add --backend ray, or leave it out.")
    return None
