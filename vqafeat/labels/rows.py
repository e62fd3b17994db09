"""What a label reader returns, and the registry of readers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import DatasetError
from vqafeat.io import small_text
from vqafeat.registry import Registry


@dataclass(frozen=True)
class LabelRow:
    """One row as the list has it; loading checks rows together, so that one message can count and name all bad ones.

    Attributes:
        listed: the video's name in this list.
        mos: the label; NaN where the cell is empty.
        content: the list's own group of the video, where it has one.
        split: the list's own part of the video, where it has one.
    """

    listed: str
    mos: float
    content: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class LabelRows:
    """All rows of a list.

    Attributes:
        rows: in the order of the list.
        permutations: (video, run) zero-based row indices, column = run; None where the list has none.
    """

    rows: tuple[LabelRow, ...]
    permutations: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class LabelReader:
    """A way to read label files.

    Attributes:
        options: frozen dataclass of the keys that a manifest may give beside the common ones.
        read: reads a file with those options.
    """

    options: type[Any]
    read: Callable[[Path, Any], LabelRows]


@dataclass(frozen=True)
class NoOptions:
    """For readers that need no options."""


LABEL_READERS: Registry[LabelReader] = Registry("label reader")


def text_of(path: Path) -> str:
    """Return the text of a label file, with or without a byte order mark.

    Raises:
        DatasetError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return small_text(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"label file '{path}' is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8 CSV.") from error
    except OSError as error:
        raise DatasetError(f"label file '{path}' cannot be read ({error.strerror}); give the path of a file with --labels.") from error


def parsed_scores(cells: Iterable[tuple[int, str]], path: Path, decimal: str = ".") -> list[float]:
    """Return the labels of (line number, text) cells; an empty cell is NaN.

    Raises:
        DatasetError: cells that are no numbers; the message counts them and shows the first few.
    """
    scores: list[float] = []
    bad: list[str] = []
    for line, cell in cells:
        text = cell.strip().replace(decimal, ".") if decimal != "." else cell.strip()
        try:
            scores.append(float(text) if text else math.nan)
        except ValueError:
            bad.append(f"line {line} '{cell}'")
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DatasetError(f"label file '{path}': {len(bad)} labels are no numbers: {', '.join(bad[:5])}{more}; mend these rows.")
    return scores
