"""A filled table as Markdown, LaTeX, CSV, HTML and JSON values."""

import re
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from itertools import groupby
from math import isfinite, nan
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vqafeat.io import csv_text
from vqafeat.metrics import FEW_VIDEOS
from vqafeat.paper_tables.run import TableResult
from vqafeat.paper_tables.sources import commands_for
from vqafeat.paper_tables.table import NOTHING, CellResult, number, signed
from vqafeat.remote import StorePath

QUOTED = "†"
FEW = "‡"
_OF_SPLITS = re.compile(r"(split \d+|\d+ of \d+ splits): ")
_LEGEND = f"Cells: measured (published, measured − published); {QUOTED} quoted from the paper, not run here"


def cell_text(result: CellResult, digits: int) -> str:
    """Return `measured ± standard deviation [without a mapping] (published, difference)`, as far as known."""
    published, measured, shown = result.cell.published, result.measured, NOTHING
    if result.cell.quoted:
        return f"{published.text} {QUOTED}" if published else NOTHING
    if measured is not None and isfinite(result.value):
        std, plain, shown = measured.spread.std, result.plain_value, number(result.value, digits)
        shown += f" ± {number(std, digits)}" if result.cell.statistic == "mean-std" and isfinite(std) else ""
        shown += FEW if measured.few_videos else ""
        shown += f" [{number(plain, digits)}]" if isfinite(plain) else ""
    if published is None:
        return shown
    finite = isfinite(result.difference)
    difference = f", {signed(result.rounded_difference(digits), digits)}" if finite else ""
    return f"{shown} ({published.text}{difference})"


def title(result: TableResult) -> str:
    """Return the table's heading line."""
    return f"{result.table.label} of {result.table.paper}: {result.table.title}"


def notes(result: TableResult) -> list[str]:
    """Return the lines below a table: its data and protocol, what is missing and what failed."""
    published = [item.cell.published for item in result.cells if item.cell.published]
    legend = _LEGEND
    if any(item.measured and item.measured.few_videos for item in result.cells):
        legend += f"; {FEW} measured on fewer than {FEW_VIDEOS} test videos per split"
        legend += ", where one video moves a figure visibly"
    legend += "; [without a mapping]" if any(isfinite(item.plain_value) for item in result.cells) else ""
    legend += "; * the paper took it from elsewhere" if any(item.collected for item in published) else ""
    legend += "; ≈ read off a plot" if any(item.approximate for item in published) else ""
    lines = [result.words, result.table.caption, f"{legend}."]
    to_run = sum(not item.cell.quoted for item in result.cells)
    lists = [f"{one.name} ({len(one.videos)} videos of {one.label_list})" for one in result.datasets]
    data = f", on {', '.join(lists)}" if lists else ""
    lines += [f"Measured: {len(result.measured)} of {to_run} cells{data}."] if to_run else []
    lines += [f"Missing: {reason}." for reason in result.reasons]
    lines += [f"Failed: {failure}" for failure in result.failures]
    lines += [f"Note: {note}." for note in _run_notes(result)]
    return [line for line in lines if line]


def _run_notes(result: TableResult) -> list[str]:
    """Return the notes of the runs, once each, without those of single splits."""
    all_notes = [note for item in result.cells if item.measured for note in item.measured.notes]
    return list(dict.fromkeys(note for note in all_notes if not _OF_SPLITS.match(note)))


def as_dict(result: TableResult, store: StorePath) -> dict[str, Any]:
    """Return the table as JSON values."""
    return {
        **{key: getattr(result.table, key) for key in ("name", "label", "paper", "title", "caption")},
        "data": result.words,
        "stands_in": result.stands_in,
        "cells": [_cell_dict(item, result) for item in result.cells],
        "missing": [{"dataset": need.dataset, "features": need.feature_set} for need in result.missing],
        "commands": commands_for(result.missing, store),
        "failures": result.failures,
        "notes": _run_notes(result),
        "lines": notes(result),
    }


def _cell_dict(item: CellResult, result: TableResult) -> dict[str, Any]:
    cell, measured = item.cell, item.measured
    row, column = result.table.rows[cell.row], result.table.columns[cell.column]
    return {
        "row_group": row.group,
        "row": row.name,
        "column_group": column.group,
        "column": column.name,
        "measure": cell.measure,
        "statistic": cell.statistic,
        "shown": cell_text(item, result.table.digits),
        "measured": item.value,
        "plain": item.plain_value,
        "std": measured.spread.std if measured else nan,
        "values": measured.spread.values if measured else (),
        "published": item.published,
        "published_std": cell.published.std if cell.published else nan,
        "difference": item.difference,
        "quoted": cell.quoted,
        "runs": [str(run) for run in dict.fromkeys(measured.runs)] if measured else [],
    }


def _markdown_escaped(text: str) -> str:
    # a bar would end its cell, and a tag would be rendered
    escaped = re.sub(r"([\\`*_|\[\]#])", r"\\\1", text)
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


_LATEX_TEXT = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_LATEX_TEXT |= {"|": "bar", '"': "quotedbl"}
_LATEX_MATH = {"±": "pm", "†": "dagger", "‡": "ddagger", "≈": "approx", "≤": "le", "≥": "ge"}
_LATEX_MATH |= {"→": "to", "κ": "kappa", "λ": "lambda", "η": "eta", "‖": "Vert"}
_LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {sign: rf"\text{name}{{}}" for sign, name in _LATEX_TEXT.items()}
    | {sign: rf"$\{name}$" for sign, name in _LATEX_MATH.items()}
    | {"−": "$-$", "²": "$^2$", "–": "--", "\n": " "}
)
_HYPHENS = re.compile("-(?=-)")  # LaTeX would set two as a dash, so that a command could not be copied


def _latex_escaped(text: str) -> str:
    escaped = "-{}".join(part.translate(_LATEX) for part in _HYPHENS.split(text))
    # after the end of a row, a bracket would be read as its spacing, and a star as forbidding a page break
    return re.sub(r"^([\[*])", r"{\1}", escaped)


def comma_separated(result: TableResult, store: StorePath) -> str:
    """Return a header line and one line per cell; a missing number is empty."""
    cells = [_cell_dict(item, result) for item in result.cells]
    columns = [key for key in cells[0] if key not in ("shown", "values", "runs")]
    rows = [[result.table.name, *map(cell.get, columns), ";".join(cell["runs"])] for cell in cells]
    return csv_text(["table", *columns, "runs"], rows).rstrip("\n")


def _rendered(result: TableResult, store: StorePath, template: str, **syntax: Any) -> str:
    """Return the text of a template in this folder; `syntax` is that of a Jinja environment."""
    table, groups = result.table, [column.group for column in result.table.columns]
    spans = groupby(range(len(groups)), groups.__getitem__) if any(groups) else ()
    heads = 1 + any(row.group for row in table.rows)  # headings per row: its group, if any, and its name
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, **syntax)
    text = (files("vqafeat.paper_tables") / template).read_text("utf-8")
    rendered = environment.from_string(text).render(
        table=table,
        title=title(result),
        spans=[(name, list(columns)) for name, columns in spans],
        rows=[
            [*[row.group, row.name][-heads:], *(cell_text(item, table.digits) for item in result.row(number))]
            for number, row in enumerate(table.rows)
        ],
        heads=heads,
        notes=notes(result),
        commands=commands_for(result.missing, store),
    )
    return rendered.rstrip("\n")


def _escaping(escape: Callable[[str], str]) -> Callable[[object], object]:
    """Return a function that escapes what a template shows, without what it marks as safe."""
    return lambda value: value if isinstance(value, Markup) else escape(str(value))


_LATEX_SYNTAX: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
    "finalize": _escaping(_latex_escaped),
}
# (filled table, folder of the stores for the commands that are shown) → text
RENDERERS: dict[str, Callable[[TableResult, StorePath], str]] = {
    "md": partial(_rendered, template="table.md", finalize=_escaping(_markdown_escaped)),
    "latex": partial(_rendered, template="table.tex", **_LATEX_SYNTAX),
    "csv": comma_separated,
    "html": partial(_rendered, template="table.html", autoescape=True),
}
