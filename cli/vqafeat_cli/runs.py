"""`vqafeat runs`: the runs in a folder, next to one another."""

from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Any

import click
from click import Choice, argument, option

import vqafeat as vf
from vqafeat.errors import ArgumentError, VqafeatError
from vqafeat.io import json_text
from vqafeat_cli.console import aligned, number
from vqafeat_cli.options import PATH, json_option

_COLUMNS = ("run", "head", "features", "loss", "dataset", "srocc", "std", "date")


@click.command()
@argument("folder", type=PATH, default="runs")
@option("--sort", type=Choice(_COLUMNS), default="srocc", help="Column to sort by; SROCC and date descend.")
@option("--dataset", metavar="NAME", help="Only runs on this data set.")
@option("--head", metavar="NAME", help="Only runs of this head.")
@json_option
def runs(folder: Path, sort: str, dataset: str | None, head: str | None, json: bool) -> None:
    """List the runs in FOLDER and its subfolders: head, features, loss, data set, SROCC and date.

    \b
    Examples:
      vqafeat runs
      vqafeat runs runs --dataset konvid --sort date
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise ArgumentError(f"'{folder}' {problem}; name the folder of runs.")
    rows, paths = [], {config.parent for config in folder.rglob("config.json")}
    for path in sorted(path for path in paths if path.parent not in paths):  # final heads are in runs
        try:
            rows.append(run_as_json(vf.Run(path)))
        except VqafeatError as error:
            click.echo(f"note: '{path}' is left out: {error}", err=True)
    rows = [row for row in rows if head in (None, row["head"])]
    rows = [row for row in rows if dataset is None or dataset in row["dataset"].split("+")]
    rows.sort(key=lambda row: _sort_key(row, sort), reverse=sort == "date")
    if json:
        click.echo(json_text(rows))
        return
    cells = [[_text(_column(row, column)) for column in _COLUMNS] for row in rows]
    for line in aligned([[column.upper() if column == "srocc" else column for column in _COLUMNS], *cells]):
        click.echo(line)


def run_as_json(run: "vf.Run") -> dict[str, Any]:
    """Return what `--json` prints of a run, with its date."""
    written = (run.path / ("metrics.json" if run.finished else "config.json")).stat().st_mtime
    return {**run.as_json(), "date": datetime.fromtimestamp(written).isoformat(" ", "minutes")}


def _column(row: dict[str, Any], name: str) -> Any:
    return row["stds"]["srocc"] if name == "std" else row[name]


def _sort_key(row: dict[str, Any], column: str) -> tuple[bool, Any]:
    """Sort by the column, the highest SROCC first; a row without a value is last."""
    value = _column(row, column)
    unknown = isinstance(value, float) and isnan(value)
    return unknown, -value if column == "srocc" else value


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
