"""Tables of text for standard output."""

from collections.abc import Sequence
from math import isfinite

from vqafeat.training.results import Spread

NOTHING = "–"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def number(value: float, form: str = ".3f") -> str:
    """Return a number as a cell; one that is not defined is a dash."""
    return format(value, form) if isfinite(value) else NOTHING


def spread_cell(spread: Spread) -> str:
    """Return `mean ± std (median)`."""
    return f"{number(spread.mean)} ± {number(spread.std)} ({number(spread.median)})" if isfinite(spread.mean) else NOTHING
