"""`vqafeat demo` and `vqafeat demo-pretrain`."""

from pathlib import Path

import click
from click import IntRange, option

from vqafeat_cli.options import PATH

_WEIGHTS = "Weights of EfficientNet-Lite0; those of ImageNet come with the extra vqafeat[demo]."
_out_option = option("--out", type=PATH, default="demo", help="Folder for all files.")
_seed_option = option("--seed", default=0, type=IntRange(0), help="Random seed of the data and the training.")


@click.command()
@_out_option
@_seed_option
@option("--weights", default="imagenet", metavar="imagenet|FILE|random[:SEED]", help=_WEIGHTS)
def demo(out: Path, seed: int, weights: str) -> None:
    """Run all steps on the demo data set.

    The demo generates videos, extracts features, fits a head, scores a clip and plots the test scores.
    Videos and features that exist are reused.

    \b
    Example:
      vqafeat demo --out demo
    """
    from vqafeat_cli.demo_run import run_demo

    run_demo(out, seed, weights)


@click.command(name="demo-pretrain")
@_out_option
@_seed_option
def demo_pretrain(out: Path, seed: int) -> None:
    """Run the pre-training on the demo images.

    The demo measures what a network learns, checks that a repeated and a resumed training give the same
    file, and compares heads on features with and without pre-training.

    \b
    Example:
      vqafeat demo-pretrain --out demo
    """
    from vqafeat_cli.demo_run import run_demo_pretrain

    run_demo_pretrain(out, seed)
