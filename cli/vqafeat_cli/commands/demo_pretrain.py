"""`vqafeat demo-pretrain`."""

from pathlib import Path

import click


@click.command(name="demo-pretrain")
@click.option("--out", type=click.Path(path_type=Path), default="demo", show_default=True, help="Folder for all that it makes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of images, videos, network and training.")
def demo_pretrain(out: Path, seed: int) -> None:
    """Show the pre-training on images that are made on the spot: what it learns, that it repeats itself, and what its features are worth.

    \b
    Example:
      vqafeat demo-pretrain --out demo
    """
    from vqafeat_cli.demo_pretrain_run import run_demo_pretrain

    run_demo_pretrain(out, seed)
