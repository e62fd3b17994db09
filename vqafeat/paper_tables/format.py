"""The words of a filled table, the same in every format."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from itertools import groupby
from math import isfinite
from typing import Any

from vqafeat.io import escape_formula
from vqafeat.metrics import FEW_VIDEOS
from vqafeat.paper_tables.run import CellResult, TableResult
from vqafeat.paper_tables.sources import commands_for
from vqafeat.paper_tables.table import NOTHING, Heading, number, signed
from vqafeat.registry import Registry
from vqafeat.remote import StorePath

QUOTED = "†"
FEW = "‡"
_OF_SPLITS = re.compile(r"(split \d+|\d+ of \d+ splits): ")
_LEGEND = f"Cells: measured (published, measured − published); {QUOTED} quoted from the paper, not run here"


@dataclass(frozen=True)
class Span:
    """A heading over some columns, or beside some rows."""

    name: str
    count: int


def spans(headings: Sequence[Heading]) -> list[Span]:
    """Return the groups of headings with how many follow one another in each."""
    return [
        Span(name, len(list(members))) for name, members in groupby(heading.group for heading in headings)
    ]


def difference(found: CellResult, digits: int) -> str:
    """Return measured − published with a sign, rounded as the measured value is."""
    return signed(found.rounded_difference(digits), digits)


def measured_text(found: CellResult, digits: int) -> str:
    """Return the measured number, with its deviation where the table shows it."""
    if found.measured is None or not isfinite(found.value):
        return NOTHING
    std = found.measured.spread.std
    spread = f" ± {number(std, digits)}" if found.cell.statistic == "mean-std" and isfinite(std) else ""
    return (
        number(found.value, digits)
        + spread
        + (FEW if found.measured.few_videos else "")
        + plain_text(found, digits)
    )


def plain_text(found: CellResult, digits: int) -> str:
    """Return PLCC or RMSE without a mapping, where the cell shows one after a mapping; else nothing."""
    plain = found.plain_value
    return f" [{number(plain, digits)}]" if isfinite(plain) else ""


def cell_text(found: CellResult, digits: int) -> str:
    """Return what stands in a cell."""
    published = found.cell.published.text if found.cell.published else ""
    if found.cell.quoted:
        return f"{published} {QUOTED}" if published else NOTHING
    shown = measured_text(found, digits)
    if not published:
        return shown
    return (
        f"{shown} ({published}, {difference(found, digits)})"
        if isfinite(found.difference)
        else f"{shown} ({published})"
    )


def title(result: TableResult) -> str:
    """Return the table's heading line."""
    return f"{result.table.label} of {result.table.paper}: {result.table.title}"


def notes(result: TableResult) -> list[str]:
    """Return the lines below a table: data, choices, what is missing, what failed."""
    marks = [found.cell.published for found in result.cells if found.cell.published]
    legend = _LEGEND
    if any(found.measured and found.measured.few_videos for found in result.cells):
        legend += f"; {FEW} measured on fewer than {FEW_VIDEOS} test videos a split, where one video moves a figure visibly"
    legend += "; [without a mapping]" if any(isfinite(found.plain_value) for found in result.cells) else ""
    legend += "; * the paper took it from elsewhere" if any(item.collected for item in marks) else ""
    legend += "; ≈ read off a plot" if any(item.approximate for item in marks) else ""
    lines = [result.words, result.table.caption, f"{legend}."]
    asked = sum(not found.cell.quoted for found in result.cells)
    lines += [f"Measured: {len(result.measured)} of {asked} cells."] if asked else []
    lines += [f"Missing: {reason}." for reason in result.reasons]
    lines += [f"Failed: {failure}" for failure in result.failures]
    lines += [f"Note: {note}." for note in _own_notes(result)]
    return [line for line in lines if line]


def _own_notes(result: TableResult) -> list[str]:
    """Return what the runs say of themselves, once each; what a single split has to say stays in its run
    folder.
    """
    said = [note for found in result.cells if found.measured for note in found.measured.notes]
    return list(dict.fromkeys(note for note in said if not _OF_SPLITS.match(note)))


def as_dict(result: TableResult, store: StorePath) -> dict[str, Any]:
    """Return the table as JSON has it."""
    table = result.table
    return {
        "name": table.name,
        "label": table.label,
        "paper": table.paper,
        "title": table.title,
        "caption": table.caption,
        "data": result.words,
        "stands_in": result.stands_in,
        "cells": [_cell_dict(found, result) for found in result.cells],
        "missing": [{"dataset": need.dataset, "features": need.feature_set} for need in result.missing],
        "commands": commands_for(result.missing, store),
        "failures": result.failures,
        "notes": _own_notes(result),
        "lines": notes(result),
    }


def _cell_dict(found: CellResult, result: TableResult) -> dict[str, Any]:
    cell, measured = found.cell, found.measured
    row, column = result.table.rows[cell.row], result.table.columns[cell.column]
    return {
        "row_group": row.group,
        "row": row.name,
        "column_group": column.group,
        "column": column.name,
        "measure": cell.measure,
        "statistic": cell.statistic,
        "shown": cell_text(found, result.table.digits),
        "measured": found.value,
        "plain": found.plain_value,
        "std": measured.spread.std if measured else float("nan"),
        "values": measured.spread.values if measured else (),
        "published": cell.published.value if cell.published else float("nan"),
        "published_std": cell.published.std if cell.published else float("nan"),
        "difference": found.difference,
        "quoted": cell.quoted,
        "runs": [str(run) for run in dict.fromkeys(measured.runs)] if measured else [],
    }


# (filled table, folder of the stores for the commands that are told) → text
Renderer = Callable[[TableResult, StorePath], str]
RENDERERS: Registry[Renderer] = Registry("format of a table")


def _markdown_escaped(text: str) -> str:
    """Return text that Markdown shows as it is; a bar would end its cell, and a tag would be one."""
    return (
        re.sub(r"([\\`*_|\[\]#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    )


@RENDERERS.register("md")
def markdown(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes below."""
    table = result.table
    grouped = any(row.group for row in table.rows)
    header = [*([""] if grouped else []), "", *(column.words for column in table.columns)]
    rows = [
        [
            *([row.group] if grouped else []),
            row.name,
            *(cell_text(found, table.digits) for found in result.row(index)),
        ]
        for index, row in enumerate(table.rows)
    ]
    lines = ["| " + " | ".join(map(_markdown_escaped, cells)) + " |" for cells in (header, *rows)]
    below = [f"- {_markdown_escaped(note)}" for note in notes(result)]
    below += [f"- To make it: `{command}`" for command in commands_for(result.missing, store)]
    rule = "|" + "---|" * (1 + grouped) + "---:|" * len(table.columns)
    return "\n".join([f"### {_markdown_escaped(title(result))}", "", lines[0], rule, *lines[1:], "", *below])


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "≈": r"$\approx$",
    "≤": r"$\le$",
    "→": r"$\to$",
    "²": r"$^2$",
    "–": "--",
    "\n": " ",
}


def _latex_escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


@RENDERERS.register("latex")
def latex(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes in the caption."""
    table = result.table
    heads = 1 + any(row.group for row in table.rows)
    rows = []
    for index, row in enumerate(table.rows):
        first = index == 0 or table.rows[index - 1].group != row.group
        names = [row.group if first else "", row.name][2 - heads :]
        rule = [r"\midrule"] if heads == 2 and first and index else []
        rows += [*rule, _line([*names, *(cell_text(found, table.digits) for found in result.row(index))])]
    made = [f"To make it: {command}." for command in commands_for(result.missing, store)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_escaped(' '.join([title(result) + '.', *notes(result), *made]))}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(table.columns)}}}",
            r"\toprule",
            *_header(result, heads),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _line(cells: list[str]) -> str:
    return " & ".join(map(_latex_escaped, cells)) + r" \\"


def _header(result: TableResult, heads: int) -> list[str]:
    columns = result.table.columns
    names = _line([""] * heads + [column.name for column in columns])
    if not any(column.group for column in columns):
        return [names]
    over, rules, at = [""] * heads, [], heads + 1
    for span in spans(columns):
        over.append(rf"\multicolumn{{{span.count}}}{{c}}{{{_latex_escaped(span.name)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + span.count - 1}}}")
        at += span.count
    return [" & ".join(over) + r" \\", " ".join(rules), names]


_COLUMNS = ("row_group", "row", "column_group", "column", "measure", "statistic")
_NUMBERS = ("measured", "plain", "std", "published", "published_std", "difference")


@RENDERERS.register("csv")
def comma_separated(result: TableResult, store: StorePath) -> str:
    """Return a header line and a line for each cell; a number that is not there is empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", *_COLUMNS, *_NUMBERS, "quoted", "runs"])
    for cell in as_dict(result, store)["cells"]:
        runs = escape_formula(";".join(cell["runs"]))
        writer.writerow(
            [
                escape_formula(result.table.name),
                *(escape_formula(cell[key]) for key in _COLUMNS),
                *(_number(cell[key]) for key in _NUMBERS),
                cell["quoted"],
                runs,
            ]
        )
    return text.getvalue().rstrip("\n")


def _number(value: float) -> Any:
    return value if isfinite(value) else ""


@RENDERERS.register("html")
def html(result: TableResult, store: StorePath) -> str:
    """Return the elements; a page puts them where it likes."""
    table = result.table
    heads = 1 + any(row.group for row in table.rows)
    body = []
    for index, row in enumerate(table.rows):
        named = [f'<th scope="row">{escape(name)}</th>' for name in [row.group, row.name][2 - heads :]]
        cells = [f"<td>{escape(cell_text(found, table.digits))}</td>" for found in result.row(index)]
        body.append(f"<tr>{''.join([*named, *cells])}</tr>")
    names = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in table.columns)
    over = "".join(
        f'<th scope="colgroup" colspan="{span.count}">{escape(span.name)}</th>'
        for span in spans(table.columns)
    )
    empty = "<td></td>" * heads
    return "\n".join(
        [
            f'<table id="{escape(table.name)}">',
            f"<caption>{escape(title(result))}</caption>",
            "<thead>",
            *([f"<tr>{empty}{over}</tr>"] if any(column.group for column in table.columns) else []),
            f"<tr>{empty}{names}</tr>",
            "</thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>",
            "<ul>",
            *(f"<li>{escape(note)}</li>" for note in notes(result)),
            *(
                f"<li>To make it: <code>{escape(command)}</code></li>"
                for command in commands_for(result.missing, store)
            ),
            "</ul>",
        ]
    )
