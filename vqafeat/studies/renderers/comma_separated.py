"""csv: one line a cell, for programs."""

import csv
from io import StringIO
from math import isfinite
from typing import Any

from vqafeat.io import guarded
from vqafeat.remote import Place
from vqafeat.studies.cells import as_dict
from vqafeat.studies.renderers.base import RENDERERS
from vqafeat.studies.running import StudyResult

_COLUMNS = ("row_group", "row", "column_group", "column", "measure", "statistic")
_NUMBERS = ("measured", "plain", "std", "published", "published_std", "difference")


@RENDERERS.register("csv")
def comma_separated(result: StudyResult, store: Place) -> str:
    """Return a header line and a line for each cell; a number that is not there is empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", *_COLUMNS, *_NUMBERS, "quoted", "runs"])
    for cell in as_dict(result, store)["cells"]:
        runs = guarded(";".join(cell["runs"]))
        writer.writerow(
            [
                guarded(result.study.name),
                *(guarded(cell[key]) for key in _COLUMNS),
                *(_number(cell[key]) for key in _NUMBERS),
                cell["quoted"],
                runs,
            ]
        )
    return text.getvalue().rstrip("\n")


def _number(value: float) -> Any:
    return value if isfinite(value) else ""
