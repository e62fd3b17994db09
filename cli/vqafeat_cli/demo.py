"""`vqafeat demo` and `vqafeat demo-pretrain`."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    help="Folder for all that it makes.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the videos and the fit."
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|FILE|random[:SEED]",
    help="Of EfficientNet-Lite0. The ImageNet weights come from the extra vqafeat[demo]; nothing is "
    "downloaded.",
)
def demo(out: Path, seed: int, weights: str) -> None:
    """Run the whole tool on a data set that is made on the spot: videos, features, a fitted head, one clip's
    score, a plot.

    \b
    Example:
      vqafeat demo --out demo
    """
    from vqafeat_cli.demo_run import run_demo

    run_demo(out, seed, weights)


@click.command(name="demo-pretrain")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    help="Folder for all that it makes.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of images, videos, network and training.",
)
def demo_pretrain(out: Path, seed: int) -> None:
    """Show the pre-training on images that are made on the spot: what it learns, that it repeats itself, and
    what its features are worth.

    \b
    Example:
      vqafeat demo-pretrain --out demo
    """
    from vqafeat_cli.demo_pretrain_run import run_demo_pretrain

    run_demo_pretrain(out, seed)
