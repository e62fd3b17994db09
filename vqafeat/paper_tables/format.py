"""A filled table as text, with the same words in every format."""

import csv
import re
from collections.abc import Callable, Sequence
from html import escape
from io import StringIO
from itertools import groupby
from math import isfinite, nan
from typing import Any

from vqafeat.io import escape_formula
from vqafeat.metrics import FEW_VIDEOS
from vqafeat.paper_tables.run import CellResult, TableResult
from vqafeat.paper_tables.sources import commands_for
from vqafeat.paper_tables.table import NOTHING, Heading, number, signed
from vqafeat.remote import StorePath

QUOTED = "†"
FEW = "‡"
_OF_SPLITS = re.compile(r"(split \d+|\d+ of \d+ splits): ")
_LEGEND = f"Cells: measured (published, measured − published); {QUOTED} quoted from the paper, not run here"


def _spans(headings: Sequence[Heading]) -> list[tuple[str, int]]:
    """Return the groups of headings with how many follow one another in each."""
    groups = groupby(heading.group for heading in headings)
    return [(name, len(list(members))) for name, members in groups]


def difference(result: CellResult, digits: int) -> str:
    """Return measured − published with a sign, rounded as the measured value is."""
    return signed(result.rounded_difference(digits), digits)


def _measured_text(result: CellResult, digits: int) -> str:
    """Return the measured number, with its deviation where the table shows it, and the value without a
    mapping in brackets where the cell shows one after a mapping.
    """
    if result.measured is None or not isfinite(result.value):
        return NOTHING
    std, plain = result.measured.spread.std, result.plain_value
    spread = f" ± {number(std, digits)}" if result.cell.statistic == "mean-std" and isfinite(std) else ""
    few = FEW if result.measured.few_videos else ""
    unmapped = f" [{number(plain, digits)}]" if isfinite(plain) else ""
    return number(result.value, digits) + spread + few + unmapped


def cell_text(result: CellResult, digits: int) -> str:
    """Return the text of a cell."""
    published = result.cell.published.text if result.cell.published else ""
    if result.cell.quoted:
        return f"{published} {QUOTED}" if published else NOTHING
    shown = _measured_text(result, digits)
    if not published:
        return shown
    compared = f", {difference(result, digits)}" if isfinite(result.difference) else ""
    return f"{shown} ({published}{compared})"


def title(result: TableResult) -> str:
    """Return the table's heading line."""
    return f"{result.table.label} of {result.table.paper}: {result.table.title}"


def notes(result: TableResult) -> list[str]:
    """Return the lines below a table: data, choices, what is missing, what failed."""
    published = [item.cell.published for item in result.cells if item.cell.published]
    legend = _LEGEND
    if any(item.measured and item.measured.few_videos for item in result.cells):
        legend += f"; {FEW} measured on fewer than {FEW_VIDEOS} test videos a split"
        legend += ", where one video moves a figure visibly"
    legend += "; [without a mapping]" if any(isfinite(item.plain_value) for item in result.cells) else ""
    legend += "; * the paper took it from elsewhere" if any(item.collected for item in published) else ""
    legend += "; ≈ read off a plot" if any(item.approximate for item in published) else ""
    lines = [result.words, result.table.caption, f"{legend}."]
    to_run = sum(not item.cell.quoted for item in result.cells)
    lines += [f"Measured: {len(result.measured)} of {to_run} cells."] if to_run else []
    lines += [f"Missing: {reason}." for reason in result.reasons]
    lines += [f"Failed: {failure}" for failure in result.failures]
    lines += [f"Note: {note}." for note in _run_notes(result)]
    return [line for line in lines if line]


def _run_notes(result: TableResult) -> list[str]:
    """Return the notes of the runs, once each; those of a single split stay in its run folder."""
    all_notes = [note for item in result.cells if item.measured for note in item.measured.notes]
    return list(dict.fromkeys(note for note in all_notes if not _OF_SPLITS.match(note)))


def as_dict(result: TableResult, store: StorePath) -> dict[str, Any]:
    """Return the table as JSON values."""
    table = result.table
    return {
        "name": table.name,
        "label": table.label,
        "paper": table.paper,
        "title": table.title,
        "caption": table.caption,
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
        "published": cell.published.value if cell.published else nan,
        "published_std": cell.published.std if cell.published else nan,
        "difference": item.difference,
        "quoted": cell.quoted,
        "runs": [str(run) for run in dict.fromkeys(measured.runs)] if measured else [],
    }


def _texts(result: TableResult, row: int) -> list[str]:
    return [cell_text(item, result.table.digits) for item in result.row(row)]


def _markdown_escaped(text: str) -> str:
    """Return text that Markdown shows as it is; a bar would end its cell, and a tag would be one."""
    escaped = re.sub(r"([\\`*_|\[\]#])", r"\\\1", text)
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def markdown(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes below."""
    table = result.table
    grouped = any(row.group for row in table.rows)
    rows = [["", "", *(column.words for column in table.columns)]]
    rows += [[row.group, row.name, *_texts(result, index)] for index, row in enumerate(table.rows)]
    lines = ["| " + " | ".join(map(_markdown_escaped, cells[not grouped :])) + " |" for cells in rows]
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
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def latex(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes in the caption."""
    table = result.table
    heads = 1 + any(row.group for row in table.rows)
    rows = []
    for index, row in enumerate(table.rows):
        first = index == 0 or table.rows[index - 1].group != row.group
        names = [row.group if first else "", row.name][2 - heads :]
        rule = [r"\midrule"] if heads == 2 and first and index else []
        rows += [*rule, _latex_line([*names, *_texts(result, index)])]
    commands = [f"To make it: {command}." for command in commands_for(result.missing, store)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_escaped(' '.join([title(result) + '.', *notes(result), *commands]))}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(table.columns)}}}",
            r"\toprule",
            *_latex_header(result, heads),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_line(cells: list[str]) -> str:
    return " & ".join(map(_latex_escaped, cells)) + r" \\"


def _latex_header(result: TableResult, heads: int) -> list[str]:
    columns = result.table.columns
    names = _latex_line([""] * heads + [column.name for column in columns])
    if not any(column.group for column in columns):
        return [names]
    groups, rules, at = [""] * heads, [], heads + 1
    for name, count in _spans(columns):
        groups.append(rf"\multicolumn{{{count}}}{{c}}{{{_latex_escaped(name)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
        at += count
    return [" & ".join(groups) + r" \\", " ".join(rules), names]


_COLUMNS = ("row_group", "row", "column_group", "column", "measure", "statistic")
_NUMBERS = ("measured", "plain", "std", "published", "published_std", "difference")


def comma_separated(result: TableResult, store: StorePath) -> str:
    """Return a header line and a line for each cell; a number that is missing is empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", *_COLUMNS, *_NUMBERS, "quoted", "runs"])
    for cell in as_dict(result, store)["cells"]:
        texts = [result.table.name, *(cell[key] for key in _COLUMNS)]
        numbers = [cell[key] if isfinite(cell[key]) else "" for key in _NUMBERS]
        runs = escape_formula(";".join(cell["runs"]))
        writer.writerow([*map(escape_formula, texts), *numbers, cell["quoted"], runs])
    return text.getvalue().rstrip("\n")


def html(result: TableResult, store: StorePath) -> str:
    """Return the elements, to be put into a page."""
    table = result.table
    heads = 1 + any(row.group for row in table.rows)
    body = []
    for index, row in enumerate(table.rows):
        headings = [row.group, row.name][2 - heads :]
        cells = [f'<th scope="row">{escape(name)}</th>' for name in headings]
        cells += [f"<td>{escape(text)}</td>" for text in _texts(result, index)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    empty = "<td></td>" * heads
    names = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in table.columns)
    groups = "".join(
        f'<th scope="colgroup" colspan="{count}">{escape(name)}</th>' for name, count in _spans(table.columns)
    )
    group_row = [f"<tr>{empty}{groups}</tr>"] if any(column.group for column in table.columns) else []
    items = [escape(note) for note in notes(result)]
    items += [f"To make it: <code>{escape(line)}</code>" for line in commands_for(result.missing, store)]
    return "\n".join(
        [
            f'<table id="{escape(table.name)}">',
            f"<caption>{escape(title(result))}</caption>",
            "<thead>",
            *group_row,
            f"<tr>{empty}{names}</tr>",
            "</thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>",
            "<ul>",
            *(f"<li>{item}</li>" for item in items),
            "</ul>",
        ]
    )


# (filled table, folder of the stores for the commands that are shown) → text
RENDERERS: dict[str, Callable[[TableResult, StorePath], str]] = {
    "md": markdown,
    "latex": latex,
    "csv": comma_separated,
    "html": html,
}
