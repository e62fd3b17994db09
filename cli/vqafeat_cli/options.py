"""Options that several commands share, so that one name means one thing everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FINISHED_WITH_FAILURES = 3

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

store_option: Decorator = click.option(
    "--store", type=click.Path(path_type=Path), default="features", show_default=True, help="Folder of the feature stores."
)
root_option: Decorator = click.option(
    "--root",
    type=click.Path(path_type=Path),
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
