"""fit: a head on the splits of a data set, measured on their test parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vqafeat.datasets import SPLIT_NAMES
from vqafeat.errors import ArgumentError
from vqafeat.evaluation.compare import ensemble
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.paper_tables.cells.base import (
    CELL_TYPES,
    Against,
    CellType,
    Measured,
    Task,
    needs_of_both,
    needs_of_the_pair,
    nothing_needed,
)
from vqafeat.paper_tables.table import Cell, RequiredFeatures
from vqafeat.registry import named
from vqafeat.statistics import PAIRED_TESTS, PairedTest, paired_test
from vqafeat.training.results import Summary


@dataclass(frozen=True)
class OneMember:
    """What is shown of a fit on several data sets; `member` is one of them, and without it the average
    weighted by test videos is shown.
    """

    member: str = ""


def measure_fit(task: Task) -> Measured:
    """Fit, or find the run, and return its measure.

    Raises:
        ArgumentError: the fit is not on the data set that is to be shown.
    """
    request, member = task.request, task.cell.options.member
    if member and (member not in request.datasets or len(request.datasets) < 2):
        raise ArgumentError(
            f"member is '{member}', but the fit is on {', '.join(request.datasets)}; name one of several "
            f"data sets."
        )
    run = task.fits.fit(request)
    # by position: a stand-in has other names
    summary = list(run.metrics.datasets.values())[request.datasets.index(member)] if member else run.metrics
    return Measured.of(summary, task.cell.measure, (run.path,))


CELL_TYPES.add("fit", CellType("a head on the splits of a data set", measure_fit, OneMember))


@dataclass(frozen=True)
class TestedOn:
    """The other data set.

    Raises:
        ArgumentError: it is not named.
    """

    test: str = ""

    def __post_init__(self) -> None:
        if not self.test:
            raise ArgumentError(
                "test is empty; name the data set to measure on, as cross = { test = 'live-vqc' }."
            )


def needs_both(cell: Cell) -> tuple[RequiredFeatures, ...]:
    """Return the feature sets of the training and of the test data set."""
    return (*cell.request.needs, *cell.request.needs_of((cell.options.test,))) if cell.request else ()


def measure_cross(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the other data set."""
    beside = (task.cell.options.test,)
    run = task.fits.fit(task.request, beside)
    source = task.fits.beside(task.request, beside)[0]
    found = evaluate(run.path, source, mapping=task.request.mapping, skip_missing=task.fits.skip_missing)
    return Measured.of(found.summary, task.cell.measure, (run.path,))


CELL_TYPES.add(
    "cross", CellType("trained on one data set, measured on another", measure_cross, TestedOn, needs_both)
)


@dataclass(frozen=True)
class OfficialPart:
    """The part.

    Raises:
        ArgumentError: there is no such part.
    """

    name: str = ""

    def __post_init__(self) -> None:
        if self.name not in SPLIT_NAMES:
            raise ArgumentError(
                f"name of the part is '{self.name}'; it has to be one of {', '.join(SPLIT_NAMES)}."
            )


def measure_part(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the part."""
    run = task.fits.fit(task.request)
    part, source = task.cell.options.name, task.fits.source(task.request)
    found = evaluate(
        run.path, source, mapping=task.request.mapping, part=part, skip_missing=task.fits.skip_missing
    )
    return Measured.of(found.summary, task.cell.measure, (run.path,))


CELL_TYPES.add("part", CellType("measured on another official part", measure_part, OfficialPart))


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
        named("paired test", self.test, PAIRED_TESTS)


def _tested(task: Task, measure: str, test: str) -> tuple[PairedTest, Measured]:
    runs = [
        task.fits.fit(request) for request in (task.request, task.request.changed(task.cell.options.against))
    ]
    first, second = (getattr(run.metrics, measure).values for run in runs)
    found = paired_test(first, second, test)
    notes = (found.note,) if found.note else ()
    return found, Measured.single(found.p, tuple(run.path for run in runs), notes)


def measure_paired(task: Task) -> Measured:
    """Return the p of a paired test over the splits (Fang et al., section V-C)."""
    return _tested(task, task.cell.options.of, task.cell.options.test)[1]


def measure_difference(task: Task) -> Measured:
    """Return the mean difference over the splits from the other run."""
    found, measured = _tested(task, task.cell.measure, "t")
    return Measured.single(found.mean_difference, measured.runs)


CELL_TYPES.add(
    "paired",
    CellType(
        "p of a paired test against another run",
        measure_paired,
        PairedOptions,
        needs_of_the_pair,
        measures=("p",),
    ),
)
CELL_TYPES.add(
    "difference", CellType("mean difference from another run", measure_difference, Against, needs_of_the_pair)
)


@dataclass(frozen=True)
class Second:
    """What the second run has otherwise.

    Raises:
        ArgumentError: nothing is.
    """

    second: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.second:
            raise ArgumentError(
                "second is empty; name what the second run has otherwise, as second = { head = "
                "'transformer' }."
            )


def measure_ensemble(task: Task) -> Measured:
    """Fit both, or find the runs, and blend their scores with the κ that is best on each split's validation
    part.
    """
    first, second = (
        task.fits.fit(request) for request in (task.request, task.request.changed(task.cell.options.second))
    )
    found = ensemble(first.path, second.path, mapping=task.request.mapping)
    kappas = ", ".join(f"{kappa:.2f}" for kappa in found.kappas)
    measured = Measured.of(found.summary, task.cell.measure, (first.path, second.path))
    return replace(measured, notes=(*measured.notes, f"kappa {kappas} ({found.selection})"))


CELL_TYPES.add(
    "ensemble",
    CellType(
        "the scores of two runs, blended",
        measure_ensemble,
        Second,
        lambda cell: needs_of_both(cell, cell.options.second),
    ),
)


def measure_weighted(task: Task) -> Measured:
    """Return the average of the other cells' own statistics, as in Li et al., table III.

    Raises:
        ArgumentError: a cell of the row is not measured.
    """
    if len(task.peers) < task.expected or not task.peers:
        raise ArgumentError(
            f"{len(task.peers)} of the {task.expected} cells to be averaged are measured; run the others "
            f"first."
        )
    return average(task.peers)


def average(peers: Sequence[tuple[Cell, Measured]]) -> Measured:
    """Return the average of measured cells, weighted by the videos behind each."""
    weights = [measured.videos for _, measured in peers]
    runs = tuple(run for _, measured in peers for run in measured.runs)
    found = Measured.single(
        float(np.average([measured.value(cell.statistic) for cell, measured in peers], weights=weights)), runs
    )
    spreads = [(cell, measured.plain) for cell, measured in peers if measured.plain is not None]
    plain = [spread.median if cell.statistic == "median" else spread.mean for cell, spread in spreads]
    if len(plain) < len(peers):
        return found
    return replace(found, plain=Summary.of([float(np.average(plain, weights=weights))]))


CELL_TYPES.add(
    "weighted",
    CellType(
        "average over data sets, weighted by their videos",
        measure_weighted,
        needs=nothing_needed,
        from_peers=True,
        fits=False,
    ),
)
