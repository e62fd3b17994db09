"""ensemble: the scores of two runs, blended."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.evaluation.compare import ensemble
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task, needs_of_both


@dataclass(frozen=True)
class Second:
    """What the second run has otherwise.

    Raises:
        ArgumentError: nothing is.
    """

    second: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.second:
            raise ArgumentError("second is empty; name what the second run has otherwise, as second = { head = 'transformer' }.")


def measure_ensemble(task: Task) -> Measured:
    """Fit both, or find the runs, and blend their scores with the κ that is best on each split's validation part."""
    first, second = (task.bench.fit(request) for request in (task.request, task.request.changed(task.cell.options.second)))
    found = ensemble(first.folder, second.folder, mapping=task.request.mapping)
    kappas = ", ".join(f"{kappa:.2f}" for kappa in found.kappas)
    measured = Measured.of(found.summary, task.cell.measure, (first.folder, second.folder))
    return replace(measured, notes=(*measured.notes, f"kappa {kappas} ({found.chosen})"))


KINDS.add(
    "ensemble",
    StudyKind("the scores of two runs, blended", measure_ensemble, Second, lambda cell: needs_of_both(cell, cell.options.second)),
)
