"""The rows of a video's features: which of them are taken, and when their frames are shown."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.intp]
Seconds = npt.NDArray[np.float64]

# position of a video in `Sequences` → its rows to take, in this order, or None for all of them in order
RowPicks = Callable[[int], Index | None]
# position of a video in `Sequences` → (row,) presentation times, or None where they are not known
RowSeconds = Callable[[int], Seconds | None]


def every_row(row: int) -> None:
    """Return None: all rows of a video are taken, in order."""


def unknown_seconds(row: int) -> None:
    """Return None: the times of a video's frames are not known."""


def selected(values: npt.NDArray[Any], rows: Index | None) -> npt.NDArray[Any]:
    """Return the rows that are picked, or the values themselves where all are."""
    return values if rows is None else values[rows]
