"""weighted: the average of a row's cells of the same measure, weighted by the videos that each was measured on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vqafeat.errors import ArgumentError
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task, nothing_needed
from vqafeat.studies.study import Cell
from vqafeat.training.results import Spread


def measure_weighted(task: Task) -> Measured:
    """Return the average of the other cells' own statistics, as in Li et al., table III.

    Raises:
        ArgumentError: a cell of the row is not measured.
    """
    if len(task.peers) < task.expected or not task.peers:
        raise ArgumentError(f"{len(task.peers)} of the {task.expected} cells to be averaged are measured; run the others first.")
    return average(task.peers)


def average(peers: Sequence[tuple[Cell, Measured]]) -> Measured:
    """Return the average of measured cells, weighted by the videos behind each."""
    weights = [measured.videos for _, measured in peers]
    runs = tuple(run for _, measured in peers for run in measured.runs)
    found = Measured.single(float(np.average([measured.value(cell.statistic) for cell, measured in peers], weights=weights)), runs)
    spreads = [(cell, measured.plain) for cell, measured in peers if measured.plain is not None]
    plain = [spread.median if cell.statistic == "median" else spread.mean for cell, spread in spreads]
    if len(plain) < len(peers):
        return found
    return replace(found, plain=Spread.of([float(np.average(plain, weights=weights))]))


KINDS.add(
    "weighted",
    StudyKind("average over data sets, weighted by their videos", measure_weighted, needs=nothing_needed, from_peers=True, fits=False),
)
