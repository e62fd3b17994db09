"""`vqafeat ensemble`."""

from pathlib import Path

import click

from vqafeat.io import json_text
from vqafeat_cli.options import json_option


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--kappa",
    type=float,
    help="Weight of the first run's scores, 0 to 1.  [default: chosen on each split's validation part]",
)
@click.option(
    "--mapping", help="Before PLCC and RMSE: logistic, logistic-li or none.  [default: the first run's own]"
)
@json_option
def ensemble(first: Path, second: Path, kappa: float | None, mapping: str | None, json: bool) -> None:
    """Blend the scores of two runs on the same splits, kappa · FIRST + (1 − kappa) · SECOND, and measure them
    on the test parts.

    \b
    Example:
      vqafeat ensemble runs/konvid-resnet50-sub-gru runs/konvid-resnet50-transformer
    """
    from vqafeat.evaluation.compare import ensemble as blend
    from vqafeat_cli.console import metrics_lines

    found = blend(first, second, kappa=kappa, mapping=mapping)
    if json:
        click.echo(json_text({**found.summary.as_dict(), "kappas": found.kappas, "chosen": found.selection}))
        return
    click.echo(
        f"{first} and {second}: kappa {', '.join(f'{value:.2f}' for value in found.kappas)} ({found.selection})"
    )
    for line in metrics_lines(found.summary, found.mapping):
        click.echo(line)
