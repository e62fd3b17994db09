"""fit: a head on the splits of a data set, measured on their test parts."""

from dataclasses import dataclass

from vqafeat.errors import ArgumentError
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task


@dataclass(frozen=True)
class OneMember:
    """What is shown of a fit on several data sets; `member` is one of them, and without it the average weighted by test videos is shown."""

    member: str = ""


def measure_fit(task: Task) -> Measured:
    """Fit, or find the run, and return its measure.

    Raises:
        ArgumentError: the fit is not on the data set that is to be shown.
    """
    request, member = task.request, task.cell.options.member
    if member and (member not in request.datasets or len(request.datasets) < 2):
        raise ArgumentError(f"member is '{member}', but the fit is on {', '.join(request.datasets)}; name one of several data sets.")
    run = task.bench.fit(request)
    # by position: a stand-in has other names
    summary = list(run.summary.datasets.values())[request.datasets.index(member)] if member else run.summary
    return Measured.of(summary, task.cell.measure, (run.folder,))


KINDS.add("fit", StudyKind("a head on the splits of a data set", measure_fit, OneMember))
