"""part: a head measured on an official part that it was not tested on in its own splits."""

from dataclasses import dataclass

from vqafeat.datasets import SPLIT_NAMES
from vqafeat.errors import ArgumentError
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task


@dataclass(frozen=True)
class OfficialPart:
    """The part.

    Raises:
        ArgumentError: there is no such part.
    """

    name: str = ""

    def __post_init__(self) -> None:
        if self.name not in SPLIT_NAMES:
            raise ArgumentError(f"name of the part is '{self.name}'; it has to be one of {', '.join(SPLIT_NAMES)}.")


def measure_part(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the part."""
    run = task.bench.fit(task.request)
    part, source = task.cell.options.name, task.bench.source(task.request)
    found = evaluate(run.folder, source, mapping=task.request.mapping, part=part, skip_missing=task.bench.skip_missing)
    return Measured.of(found.summary, task.cell.measure, (run.folder,))


KINDS.add("part", StudyKind("measured on another official part", measure_part, OfficialPart))
