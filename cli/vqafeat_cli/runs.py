"""`vqafeat runs`: the runs in a folder, next to one another."""

from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

import click
from click import Choice, argument, option

import vqafeat as vf
from vqafeat.errors import ArgumentError, VqafeatError
from vqafeat.io import json_text
from vqafeat_cli.console import aligned
from vqafeat_cli.options import PATH, json_option

_COLUMNS = ("run", "head", "features", "loss", "dataset", "srocc", "std", "date")


@click.command()
@argument("folder", type=PATH, default="runs")
@option("--sort", type=Choice(_COLUMNS), default="srocc", help="Column to sort by; SROCC and date descend.")
@option("--dataset", metavar="NAME", help="Only runs on this data set.")
@option("--head", metavar="NAME", help="Only runs of this head.")
@json_option
def runs(folder: Path, sort: str, dataset: str | None, head: str | None, json: bool) -> None:
    """List the runs in FOLDER and in its folders: head, features, loss, data set, SROCC and date.

    \b
    Examples:
      vqafeat runs
      vqafeat runs runs --dataset konvid --sort date
    """
    if not folder.is_dir():
        raise ArgumentError(f"'{folder}' does not exist; name the folder of runs.")
    rows, paths = [], {config.parent for config in folder.rglob("config.json")}
    for path in sorted(path for path in paths if path.parent not in paths):  # final heads are in runs
        try:
            rows.append(_row(vf.Run(path)))
        except VqafeatError as error:
            click.echo(f"note: '{path}' is left out: {error}", err=True)
    rows = [row for row in rows if head in (None, row["head"])]
    rows = [row for row in rows if dataset is None or dataset in row["dataset"].split("+")]
    if sort == "srocc":
        rows.sort(key=lambda row: -row["srocc"] if row["srocc"] is not None else 2.0)
    else:
        rows.sort(key=lambda row: (row[sort] is None, row[sort] or 0), reverse=sort == "date")
    if json:
        click.echo(json_text(rows))
        return
    cells = [[_text(row[column]) for column in _COLUMNS] for row in rows]
    for line in aligned([[column.upper() if column == "srocc" else column for column in _COLUMNS], *cells]):
        click.echo(line)


def _row(run: "vf.Run") -> dict[str, Any]:
    config, measured = run.config, run.finished and bool(run.metrics.n)
    srocc = run.metrics.srocc if measured else None
    written = (run.path / ("metrics.json" if run.finished else "config.json")).stat().st_mtime
    return {
        "run": str(run.path),
        "head": config.head,
        "features": config.feature_sets,
        "loss": config.recipe.get("loss", ""),
        "dataset": config.dataset,
        "srocc": srocc.mean if srocc and isfinite(srocc.mean) else None,
        "std": srocc.std if srocc and isfinite(srocc.std) else None,
        "splits": config.splits,
        "finished": run.finished,
        "date": datetime.fromtimestamp(written).isoformat(" ", "minutes"),
    }


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
