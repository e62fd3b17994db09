"""cross: a head trained on one data set and measured on all videos of another."""

from dataclasses import dataclass

from vqafeat.errors import ArgumentError
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task
from vqafeat.studies.requests import Need
from vqafeat.studies.study import Cell


@dataclass(frozen=True)
class TestedOn:
    """The other data set.

    Raises:
        ArgumentError: it is not named.
    """

    test: str = ""

    def __post_init__(self) -> None:
        if not self.test:
            raise ArgumentError("test is empty; name the data set to measure on, as cross = { test = 'live-vqc' }.")


def needs_both(cell: Cell) -> tuple[Need, ...]:
    """Return the feature sets of the training and of the test data set."""
    return (*cell.request.needs, *cell.request.needs_of((cell.options.test,))) if cell.request else ()


def measure_cross(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the other data set."""
    beside = (task.cell.options.test,)
    run = task.bench.fit(task.request, beside)
    source = task.bench.beside(task.request, beside)[0]
    found = evaluate(run.folder, source, mapping=task.request.mapping, skip_missing=task.bench.skip_missing)
    return Measured.of(found.summary, task.cell.measure, (run.folder,))


KINDS.add("cross", StudyKind("trained on one data set, measured on another", measure_cross, TestedOn, needs_both))
