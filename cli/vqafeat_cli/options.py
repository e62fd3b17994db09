"""Options that several commands share, so that one name means one thing everywhere."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch

    from vqafeat.extraction.pipeline import Resources

FINISHED_WITH_FAILURES = 3

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

storage_option: Decorator = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of a store at a URL, as endpoint_url=http://127.0.0.1:9000; may be given several times. Credentials come from the environment.",
)


def at_place(*names: str) -> Decorator:
    """Return a decorator that adds `--storage-option` and makes the texts of a command's arguments the places that they name."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def placed(*arguments: Any, storage_options: tuple[str, ...], **values: Any) -> Any:
            from vqafeat.places import place_named

            at_urls = [name for name in names if "://" in (values[name] or "")]
            for name in names:
                if values[name] is not None:
                    values[name] = place_named(values[name], storage_options if name in at_urls or not at_urls else ())
            return command(*arguments, **values)

        return storage_option(placed)

    return decorated


cache_option: Decorator = click.option(
    "--cache",
    metavar="AMOUNT|none",
    help="Most that copies of stores at a URL may take on the local disk, below $XDG_CACHE_HOME/vqafeat, for example 50G.  "
    "[default: half of what is free]",
)


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--store` and `--storage-option`; the command gets the folder, or the prefix of an object store, as `store`."""
    option = click.option(
        "--store", default="features", show_default=True, metavar="FOLDER|URL", help="Folder of the feature stores, or s3://bucket/prefix."
    )
    return option(at_place("store")(command))


def _local_folder(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value is not None and "://" in value:
        raise click.BadParameter(f"'{value}' is a URL; videos are decoded from a local folder: copy or mount them there.")
    return None if value is None else Path(value)


root_option: Decorator = click.option(
    "--root",
    metavar="FOLDER",
    callback=_local_folder,
    help="Folder of the data set's videos  [default: VQAFEAT_DATA/<data set>, or the CSV's folder]",
)
labels_option: Decorator = click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Label file to read, or several that belong together  [default: the first that the manifest knows, below the root]",
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
    help="A data set of the store; given several times, all of them together.  [default: the only one in the store]",
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
        help="Most frames that go through a network together on a GPU in fp16 or bf16; else each frame is computed alone.  "
        "[default: as many as --memory holds]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Decoding processes; 0 decodes in the main process, unprotected.  [default: 2 for a CPU, one a core for a GPU]",
    ),
    click.option("--memory", metavar="AMOUNT", help="Memory to stay within, for example 1500M or 16G.  [default: 4/5 of what is free]"),
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
        help="nvdec decodes on the GPU: for H.264, HEVC and VP9 of 8 bits at high bit rates; checked against the processor.",
    ),
]


def compute_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what an extraction may use; `resources` reads them."""
    for option in reversed(_COMPUTE_OPTIONS):
        command = option(command)
    return command


def devices(given: str | None) -> list["torch.device"]:
    """Return the devices that `--device` names."""
    from vqafeat.devices import device_named

    return [device_named(name) for name in given.split(",")] if given else [device_named(None)]


def resources(
    device: str | None, batch_frames: int | None, workers: int | None, memory: str | None, timeout_seconds: float, decoder: str
) -> "Resources":
    """Return what `compute_options` asked for, on the first device."""
    import os

    from vqafeat.extraction.pipeline import Resources
    from vqafeat.memory import parse_bytes

    chosen = devices(device)[0]
    return Resources(
        device=chosen,
        workers=workers if workers is not None else (2 if chosen.type == "cpu" else len(os.sched_getaffinity(0))),
        batch_frames=batch_frames,
        memory_bytes=None if memory is None else parse_bytes(memory),
        timeout_seconds=timeout_seconds,
        hardware_decoder=decoder == "nvdec",
    )
