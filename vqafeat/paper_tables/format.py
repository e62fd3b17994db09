"""A filled table as Markdown, LaTeX, CSV, HTML and JSON values."""

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby
from math import isfinite, nan
from typing import Any

from vqafeat.io import csv_text
from vqafeat.metrics import FEW_VIDEOS
from vqafeat.paper_tables.cells import CellResult
from vqafeat.paper_tables.run import TableResult
from vqafeat.paper_tables.sources import commands_for
from vqafeat.paper_tables.table import NOTHING, Heading, number, signed
from vqafeat.remote import StorePath

QUOTED = "†"
FEW = "‡"
_OF_SPLITS = re.compile(r"(split \d+|\d+ of \d+ splits): ")
_LEGEND = f"Cells: measured (published, measured − published); {QUOTED} quoted from the paper, not run here"


def difference(result: CellResult, digits: int) -> str:
    """Return measured − published with its sign, in the digits of the measured value."""
    return signed(result.rounded_difference(digits), digits)


def _measured_text(result: CellResult, digits: int) -> str:
    """Return the measured number, its deviation if the table shows it, and the [value without a mapping]."""
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
    """Return the lines below a table: its data, its choices, what is missing and what failed."""
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
        "published": item.published,
        "published_std": cell.published.std if cell.published else nan,
        "difference": item.difference,
        "quoted": cell.quoted,
        "runs": [str(run) for run in dict.fromkeys(measured.runs)] if measured else [],
    }


def _rows(result: TableResult) -> tuple[list[list[str]], int]:
    """Return the headings and cells of each row, and the number of headings: two where rows are grouped."""
    digits, headings = result.table.digits, result.table.rows
    heads = 1 + any(heading.group for heading in headings)
    rows = []
    for index, heading in enumerate(headings):
        names = [heading.group, heading.name][2 - heads :]
        rows.append([*names, *(cell_text(item, digits) for item in result.row(index))])
    return rows, heads


def markdown(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes below."""
    columns, (rows, heads) = result.table.columns, _rows(result)
    header = [""] * heads + [column.words for column in columns]
    rule = "|" + "---|" * heads + "---:|" * len(columns)
    below = [f"- {_markdown_escaped(note)}" for note in notes(result)]
    below += [f"- To make it: `{command}`" for command in commands_for(result.missing, store)]
    lines = [_markdown_line(header), rule, *map(_markdown_line, rows)]
    return "\n".join([f"### {_markdown_escaped(title(result))}", "", *lines, "", *below])


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(map(_markdown_escaped, cells)) + " |"


def _markdown_escaped(text: str) -> str:
    # a bar would end its cell, and a tag would be one
    escaped = re.sub(r"([\\`*_|\[\]#])", r"\\\1", text)
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


_LATEX_TEXT = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_LATEX_TEXT |= {"|": "bar", '"': "quotedbl"}
_LATEX_MATH = {"±": "pm", "†": "dagger", "‡": "ddagger", "≈": "approx", "≤": "le", "→": "to"}
_LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {sign: rf"\text{name}{{}}" for sign, name in _LATEX_TEXT.items()}
    | {sign: rf"$\{name}$" for sign, name in _LATEX_MATH.items()}
    | {"−": "$-$", "²": "$^2$", "–": "--", "\n": " "}
)


def latex(result: TableResult, store: StorePath) -> str:
    """Return the table with its notes in the caption; a group is named in its first row."""
    rows, heads = _rows(result)
    groups, lines = [row.group for row in result.table.rows], []
    for index, row in enumerate(rows):
        is_first = index == 0 or groups[index] != groups[index - 1]
        lines += [r"\midrule"] if is_first and index and heads == 2 else []
        lines.append(_latex_line(row if is_first or heads == 1 else ["", *row[1:]]))
    commands = [f"To make it: {command}." for command in commands_for(result.missing, store)]
    caption = " ".join([f"{title(result)}.", *notes(result), *commands])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption.translate(_LATEX)}}}",
            rf"\label{{tab:{result.table.name}}}",
            rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(result.table.columns)}}}",
            r"\toprule",
            *_latex_header(result, heads),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_line(cells: list[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"


def _latex_header(result: TableResult, heads: int) -> list[str]:
    columns = result.table.columns
    names = _latex_line([""] * heads + [column.name for column in columns])
    if not any(column.group for column in columns):
        return [names]
    groups, rules, first = [""] * heads, [], heads + 1
    for name, count in _spans(columns):
        groups.append(rf"\multicolumn{{{count}}}{{c}}{{{name.translate(_LATEX)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return [" & ".join(groups) + r" \\", " ".join(rules), names]


def _spans(headings: Sequence[Heading]) -> list[tuple[str, int]]:
    """Return the groups of headings, each with the number of headings that follow one another in it."""
    groups = groupby(heading.group for heading in headings)
    return [(name, len(list(members))) for name, members in groups]


def comma_separated(result: TableResult, store: StorePath) -> str:
    """Return a header line and a line for each cell; a missing number is empty."""
    cells = [_cell_dict(item, result) for item in result.cells]
    columns = [key for key in cells[0] if key not in ("shown", "values", "runs")]
    rows = [[result.table.name, *map(cell.get, columns), ";".join(cell["runs"])] for cell in cells]
    return csv_text(["table", *columns, "runs"], rows).rstrip("\n")


def html(result: TableResult, store: StorePath) -> str:
    """Return the elements of the table and its notes, for a page."""
    table, (rows, heads) = result.table, _rows(result)
    empty = "<td></td>" * heads
    header = ["".join(f'<th scope="col">{escape(column.name)}</th>' for column in table.columns)]
    if any(column.group for column in table.columns):
        cell = '<th scope="colgroup" colspan="{}">{}</th>'
        header.insert(0, "".join(cell.format(count, escape(name)) for name, count in _spans(table.columns)))
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(name)}</th>' for name in row[:heads]]
        cells += [f"<td>{escape(text)}</td>" for text in row[heads:]]
        body.append(f"<tr>{''.join(cells)}</tr>")
    items = [escape(note) for note in notes(result)]
    items += [f"To make it: <code>{escape(line)}</code>" for line in commands_for(result.missing, store)]
    return "\n".join(
        [
            f'<table id="{escape(table.name)}">',
            f"<caption>{escape(title(result))}</caption>",
            "<thead>",
            *(f"<tr>{empty}{cells}</tr>" for cells in header),
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
