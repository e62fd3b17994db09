"""`vqafeat demo`."""

from pathlib import Path

import click


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default="demo", show_default=True, help="Folder for all that it makes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the videos, the weights if random, and the fit.")
@click.option(
    "--weights", metavar="FILE|imagenet|random[:SEED]", help="Of ResNet-18.  [default: imagenet where they can be had, else random]"
)
def demo(out: Path, seed: int, weights: str | None) -> None:
    """Run the whole tool on a data set that is made on the spot: videos, features, sub-GRU, one clip's score, a plot.

    \b
    Example:
      vqafeat demo --out demo
    """
    from vqafeat_cli.demo_run import run_demo

    run_demo(out, seed, weights)
