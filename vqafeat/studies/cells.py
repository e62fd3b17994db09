"""The words of a filled table, the same in every format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any

from vqafeat.metrics import FEW_VIDEOS
from vqafeat.remote import Place
from vqafeat.studies.numbers import NOTHING, number, signed
from vqafeat.studies.running import CellResult, StudyResult
from vqafeat.studies.shelves import commands_for
from vqafeat.studies.study import Heading

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
    return [Span(name, len(list(members))) for name, members in groupby(heading.group for heading in headings)]


def difference(found: CellResult, digits: int) -> str:
    """Return measured − published with a sign, rounded as the measured value is."""
    return signed(found.rounded_difference(digits), digits)


def measured_text(found: CellResult, digits: int) -> str:
    """Return the measured number, with its deviation where the table shows it."""
    if found.measured is None or not isfinite(found.value):
        return NOTHING
    std = found.measured.spread.std
    spread = f" ± {number(std, digits)}" if found.cell.statistic == "mean-std" and isfinite(std) else ""
    return number(found.value, digits) + spread + (FEW if found.measured.few_videos else "") + plain_text(found, digits)


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
    return f"{shown} ({published}, {difference(found, digits)})" if isfinite(found.difference) else f"{shown} ({published})"


def title(result: StudyResult) -> str:
    """Return the table's heading line."""
    return f"{result.study.label} of {result.study.paper}: {result.study.title}"


def notes(result: StudyResult) -> list[str]:
    """Return the lines below a table: data, choices, what is missing, what failed."""
    marks = [found.cell.published for found in result.cells if found.cell.published]
    legend = _LEGEND
    if any(found.measured and found.measured.few_videos for found in result.cells):
        legend += f"; {FEW} measured on fewer than {FEW_VIDEOS} test videos a split, where one video moves a figure visibly"
    legend += "; [without a mapping]" if any(isfinite(found.plain_value) for found in result.cells) else ""
    legend += "; * the paper took it from elsewhere" if any(item.collected for item in marks) else ""
    legend += "; ≈ read off a plot" if any(item.approximate for item in marks) else ""
    lines = [result.words, result.study.caption, f"{legend}."]
    asked = sum(not found.cell.quoted for found in result.cells)
    lines += [f"Measured: {len(result.measured)} of {asked} cells."] if asked else []
    lines += [f"Missing: {reason}." for reason in result.reasons]
    lines += [f"Failed: {failure}" for failure in result.failures]
    lines += [f"Note: {note}." for note in _own_notes(result)]
    return [line for line in lines if line]


def _own_notes(result: StudyResult) -> list[str]:
    """Return what the runs say of themselves, once each; what a single split has to say stays in its run folder."""
    said = [note for found in result.cells if found.measured for note in found.measured.notes]
    return list(dict.fromkeys(note for note in said if not _OF_SPLITS.match(note)))


def as_dict(result: StudyResult, store: Place) -> dict[str, Any]:
    """Return the table as JSON has it."""
    study = result.study
    return {
        "name": study.name,
        "label": study.label,
        "paper": study.paper,
        "title": study.title,
        "caption": study.caption,
        "data": result.words,
        "stands_in": result.stands_in,
        "cells": [_cell_dict(found, result) for found in result.cells],
        "missing": [{"dataset": need.dataset, "features": need.feature_set} for need in result.missing],
        "commands": commands_for(result.missing, store),
        "failures": result.failures,
        "notes": _own_notes(result),
        "lines": notes(result),
    }


def _cell_dict(found: CellResult, result: StudyResult) -> dict[str, Any]:
    cell, measured = found.cell, found.measured
    row, column = result.study.rows[cell.row], result.study.columns[cell.column]
    return {
        "row_group": row.group,
        "row": row.name,
        "column_group": column.group,
        "column": column.name,
        "measure": cell.measure,
        "statistic": cell.statistic,
        "shown": cell_text(found, result.study.digits),
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
