"""`vqafeat ensemble`."""

from pathlib import Path

import click
from click import option

from vqafeat.io import json_text
from vqafeat_cli.options import PATH, json_option

_KAPPA = "Weight of FIRST's scores, 0 to 1.  [default: chosen on each split's validation part]"


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@option("--kappa", type=float, help=_KAPPA)
@option("--mapping", help="Before PLCC and RMSE: logistic, logistic-li or none.  [default: the first run's]")
@json_option
def ensemble(first: Path, second: Path, kappa: float | None, mapping: str | None, json: bool) -> None:
    """Measure kappa · FIRST + (1 − kappa) · SECOND on the test parts, the blended scores of two runs on the
    same splits.

    \b
    Example:
      vqafeat ensemble runs/konvid-resnet50-sub-gru runs/konvid-resnet50-transformer
    """
    from vqafeat.evaluation.compare import ensemble as blend
    from vqafeat_cli.console import metrics_lines

    result = blend(first, second, kappa=kappa, mapping=mapping)
    if json:
        blended = {"kappas": result.kappas, "chosen": result.selection}
        click.echo(json_text({**result.summary.as_dict(), **blended}))
        return
    kappas = ", ".join(f"{value:.2f}" for value in result.kappas)
    click.echo(f"{first} and {second}: kappa {kappas} ({result.selection})")
    click.echo("\n".join(metrics_lines(result.summary, result.mapping)))
