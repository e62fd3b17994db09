"""paired and difference: two runs on the same splits, as the p of a paired test or as their mean difference."""

from dataclasses import dataclass

from vqafeat.statistics import PAIRED_TESTS, PairedTest, paired_test
from vqafeat.studies.kinds.base import KINDS, Against, Measured, StudyKind, Task, needs_of_the_pair


@dataclass(frozen=True)
class PairedOptions(Against):
    """The other run; `of` is the measure that is paired, `test` t or wilcoxon.

    Raises:
        ArgumentError: nothing is otherwise in the other run.
        UnknownNameError: there is no such test.
    """

    of: str = "srocc"
    test: str = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        PAIRED_TESTS.get(self.test)


def _tested(task: Task, measure: str, test: str) -> tuple[PairedTest, Measured]:
    runs = [task.bench.fit(request) for request in (task.request, task.request.changed(task.cell.options.against))]
    first, second = (getattr(run.summary, measure).values for run in runs)
    found = paired_test(first, second, test)
    notes = (found.note,) if found.note else ()
    return found, Measured.single(found.p, tuple(run.folder for run in runs), notes)


def measure_paired(task: Task) -> Measured:
    """Return the p of a paired test over the splits (Fang et al., section V-C)."""
    return _tested(task, task.cell.options.of, task.cell.options.test)[1]


def measure_difference(task: Task) -> Measured:
    """Return the mean difference over the splits from the other run."""
    found, measured = _tested(task, task.cell.measure, "t")
    return Measured.single(found.mean_difference, measured.runs)


KINDS.add("paired", StudyKind("p of a paired test against another run", measure_paired, PairedOptions, needs_of_the_pair, measures=("p",)))
KINDS.add("difference", StudyKind("mean difference from another run", measure_difference, Against, needs_of_the_pair))
