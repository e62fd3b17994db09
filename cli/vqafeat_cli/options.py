"""Options that several commands share, so that one name means one thing everywhere."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch

    from vqafeat.cluster import ClusterOptions
    from vqafeat.extraction.pipeline import Resources

FINISHED_WITH_FAILURES = 3

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

storage_option: Decorator = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of an object store, as endpoint_url=http://127.0.0.1:9000; may be given several times. "
    "Credentials come from the environment.",
)


def with_store_paths(*names: str) -> Decorator:
    """Return a decorator that adds `--storage-option` and makes the texts of a command's arguments the places
    that they name.
    """

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def placed(*arguments: Any, storage_options: tuple[str, ...], **values: Any) -> Any:
            from vqafeat.remote import parse_paths

            given = [name for name in names if values[name] is not None]
            values |= dict(
                zip(given, parse_paths([values[name] for name in given], storage_options), strict=True)
            )
            return command(*arguments, **values)

        return storage_option(placed)

    return decorated


cache_option: Decorator = click.option(
    "--cache",
    metavar="AMOUNT|none",
    help="Most that copies of stores at a URL may take on the local disk, below $XDG_CACHE_HOME/vqafeat, "
    "for example 50G.  "
    "[default: half of what is free]",
)


def store_option(command: Callable[..., Any], places: tuple[str, ...] = ("store",)) -> Callable[..., Any]:
    """Add `--store` and `--storage-option`; the command gets the folder, or the prefix of an object store, as
    `store`.
    """
    option = click.option(
        "--store",
        default="features",
        show_default=True,
        metavar="FOLDER|URL",
        help="Folder of the feature stores, or s3://bucket/prefix.",
    )
    return option(with_store_paths(*places)(command))


def store_and_videos_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--root`, `--store` and `--storage-option`; either may be an object store."""
    option = click.option(
        "--root",
        metavar="FOLDER|URL",
        help="Folder of the data set's videos, or s3://bucket/prefix, from which each is fetched once "
        "before it is decoded.  "
        "[default: VQAFEAT_DATA/<data set>, or the CSV's folder]",
    )
    return option(store_option(command, ("store", "root")))


root_option: Decorator = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of the data set's label files  [default: VQAFEAT_DATA/<data set>, or the CSV's folder]",
)
labels_option: Decorator = click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Label file to read, or several that belong together  [default: the first that the manifest knows, "
    "below the root]",
)
json_option: Decorator = click.option("--json", "json", is_flag=True, help="Print the result as JSON.")
weights_option: Decorator = click.option(
    "--weights",
    multiple=True,
    metavar="[NAME=]FILE|imagenet|random[:SEED]",
    help="Weights of a network, or of all; imagenet where not given.",
)


def dataset_option(required: bool) -> Decorator:
    """Return `--dataset`; where it is not required, the only data set of the store is meant."""
    hint = "" if required else "  [default: the only one in the store]"
    return click.option(
        "--dataset",
        required=required,
        metavar="NAME|FILE",
        help=f"A known data set, a manifest (.toml), or your own CSV (video,mos[,content,split]).{hint}",
    )


datasets_option: Decorator = click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME|FILE",
    help="A data set of the store; given several times, all of them together.  [default: the only one in "
    "the store]",
)


_COMPUTE_OPTIONS: list[Decorator] = [
    click.option(
        "--device",
        metavar="NAME[,NAME…]",
        help="Where the networks run: cpu, cuda or cuda:NUMBER; `extract` shares the videos among several.  "
        "[default: a GPU where there is one]",
    ),
    click.option(
        "--batch",
        "batch_frames",
        type=click.IntRange(1),
        help="Most frames that go through a network together on a GPU in fp16 or bf16; else each frame is "
        "computed alone.  "
        "[default: as many as --memory holds]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Decoding processes; 0 decodes in the main process, unprotected.  [default: 2 for a CPU, one a "
        "core for a GPU]",
    ),
    click.option(
        "--memory",
        metavar="AMOUNT",
        help="Memory to stay within, for example 1500M or 16G.  [default: 4/5 of what is free]",
    ),
    click.option(
        "--timeout",
        "timeout_seconds",
        type=float,
        default=120.0,
        show_default=True,
        help="Seconds that decoding may stand still before a video is given up.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["cpu", "nvdec"]),
        default="cpu",
        show_default=True,
        help="nvdec decodes on the GPU: for H.264, HEVC and VP9 of 8 bits at high bit rates; checked "
        "against the processor.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        help="Pixels of a frame beyond which a video is refused.  [default: twice 8K]",
    ),
    click.option(
        "--max-frames",
        type=click.IntRange(1),
        help="Frames beyond which a video is refused.  [default: 2 000 000]",
    ),
]


def compute_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what an extraction may use; `resources` reads them."""
    for option in reversed(_COMPUTE_OPTIONS):
        command = option(command)
    return command


_CLUSTER_OPTIONS: list[Decorator] = [
    click.option(
        "--backend",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="This machine, or a Ray cluster.",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="Of the Ray cluster.  [default: RAY_ADDRESS, else the one on this machine, else a new one]",
    ),
    click.option(
        "--ray-workers",
        type=int,
        help="Workers on the cluster at once.  [default: as many as its machines hold]",
    ),
    click.option("--cpus-per-worker", type=float, help="Cores that a Ray worker reserves.  [default: 1]"),
    click.option(
        "--gpus-per-worker",
        type=float,
        help="GPUs that a Ray worker reserves; 0.5 shares one.  [default: 0, on processors]",
    ),
    click.option(
        "--retries",
        type=int,
        help="How often the work of a Ray worker that died is tried again.  [default: 2]",
    ),
]
startup_timeout_option: Decorator = click.option(
    "--startup-timeout",
    "startup_timeout_seconds",
    type=float,
    help="Seconds to wait while no Ray worker can start.  [default: 600]",
)
_CLUSTER_PARAMETERS = (
    "address",
    "ray_workers",
    "cpus_per_worker",
    "gpus_per_worker",
    "retries",
    "startup_timeout_seconds",
)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--backend` and the options that say what is asked of a cluster; `split_options` and `cluster` read
    them.
    """
    for option in reversed(_CLUSTER_OPTIONS):
        command = option(command)
    return command


def split_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return those of a command's options that `cluster` reads and were given, and the others."""
    asked = {name: given[name] for name in _CLUSTER_PARAMETERS if given.get(name) is not None}
    return asked, {name: value for name, value in given.items() if name not in _CLUSTER_PARAMETERS}


def cluster(backend: str, asked: Mapping[str, Any], local: Mapping[str, Any]) -> "ClusterOptions | None":
    """Return what is asked of a cluster; None for the backend `local`.

    Args:
        asked: as `split_options` returns it.
        local: options that count on one machine alone; None where one was not given.

    Raises:
        ArgumentError: an option is for the other backend, or a value is not allowed.
    """
    from vqafeat.cluster import ClusterOptions
    from vqafeat.errors import ArgumentError

    if backend == "local":
        if asked:
            option = "--" + next(iter(asked)).removesuffix("_seconds").replace("_", "-")
            raise ArgumentError(
                f"{option} is for a cluster, but the backend is 'local'; add --backend ray, or leave it out."
            )
        return None
    for name, value in local.items():
        if value is not None:
            raise ArgumentError(
                f"{name} is '{value}', which is for one machine, but the backend is 'ray', whose workers "
                f"follow from --cpus-per-worker "
                "and --gpus-per-worker; leave it out."
            )
    return ClusterOptions(
        **{"workers" if name == "ray_workers" else name: value for name, value in asked.items()}
    )


def devices(given: str | None) -> list["torch.device"]:
    """Return the devices that `--device` names."""
    from vqafeat.system import device_named

    return [device_named(name) for name in given.split(",")] if given else [device_named(None)]


def resources(
    device: str | None,
    batch_frames: int | None,
    workers: int | None,
    memory: str | None,
    timeout_seconds: float,
    decoder: str,
    max_pixels: int | None,
    max_frames: int | None,
    elsewhere: "ClusterOptions | None" = None,
) -> "Resources":
    """Return what `compute_options` asked for, on the first device of this machine, or for a worker of a
    cluster.
    """
    import os

    import torch

    from vqafeat.extraction.pipeline import Resources
    from vqafeat.system import parse_bytes
    from vqafeat.video.reader import DecodeLimits

    limits = DecodeLimits()
    if elsewhere is None:
        chosen = devices(device)[0]
        usual = 2 if chosen.type == "cpu" else len(os.sched_getaffinity(0))
    else:
        # this machine need not have a GPU; without one, a worker has one video at a time, and one decoder is
        # enough
        chosen = torch.device(elsewhere.device_name)
        usual = 1 if chosen.type == "cpu" else max(1, int(elsewhere.cpus_per_worker))
    return Resources(
        device=chosen,
        workers=workers if workers is not None else usual,
        batch_frames=batch_frames,
        memory_bytes=None if memory is None else parse_bytes(memory),
        timeout_seconds=timeout_seconds,
        hardware_decoder=decoder == "nvdec",
        limits=DecodeLimits(max_pixels or limits.max_pixels, max_frames or limits.max_frames),
    )
