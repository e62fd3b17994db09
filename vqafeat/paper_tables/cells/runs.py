"""Cells of runs: a fit on the splits of a data set, measured in several ways, and averages of such cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vqafeat.datasets import SPLIT_NAMES
from vqafeat.errors import ArgumentError
from vqafeat.evaluation.compare import ensemble
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.paper_tables.cells.base import Against, CellOptions, Measured, NoFeatures, Task, cell_type
from vqafeat.paper_tables.table import Cell, RequiredFeatures, TableFit
from vqafeat.registry import named
from vqafeat.statistics import PAIRED_TESTS, PairedTest, paired_test
from vqafeat.training.results import Summary


@dataclass(frozen=True)
class FitOptions(CellOptions):
    """What is shown of a fit on several data sets: one `member` of them, or the average weighted by test
    videos.
    """

    member: str = ""


@cell_type("fit", "a head on the splits of a data set", FitOptions)
def measure_fit(task: Task) -> Measured:
    """Fit, or find the run, and return its measure."""
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


@dataclass(frozen=True)
class CrossOptions(CellOptions):
    """The data set that is measured on."""

    test: str = ""

    def __post_init__(self) -> None:
        if not self.test:
            raise ArgumentError(
                "test is empty; name the data set to measure on, as cross = { test = 'live-vqc' }."
            )

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return the feature sets of the training and of the test data set."""
        return (*request.needs, *request.needs_of((self.test,)))


@cell_type("cross", "trained on one data set, measured on another", CrossOptions)
def measure_cross(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the other data set."""
    others = (task.cell.options.test,)
    run = task.fits.fit(task.request, others)
    source = task.fits.others(task.request, others)[0]
    mapping, skip_missing = task.request.mapping, task.fits.skip_missing
    evaluation = evaluate(run.path, source, mapping=mapping, skip_missing=skip_missing)
    return Measured.of(evaluation.summary, task.cell.measure, (run.path,))


@dataclass(frozen=True)
class PartOptions(CellOptions):
    """The official part that is measured."""

    name: str = ""

    def __post_init__(self) -> None:
        if self.name not in SPLIT_NAMES:
            raise ArgumentError(
                f"name of the part is '{self.name}'; it has to be one of {', '.join(SPLIT_NAMES)}."
            )


@cell_type("part", "measured on another official part", PartOptions)
def measure_part(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on all videos of the part."""
    run, source = task.fits.fit(task.request), task.fits.source(task.request)
    mapping, skip_missing = task.request.mapping, task.fits.skip_missing
    evaluation = evaluate(
        run.path, source, mapping=mapping, part=task.cell.options.name, skip_missing=skip_missing
    )
    return Measured.of(evaluation.summary, task.cell.measure, (run.path,))


@dataclass(frozen=True)
class PairedOptions(Against):
    """The other run; `of` is the measure that is paired, `test` t or wilcoxon."""

    of: str = "srocc"
    test: str = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        named("paired test", self.test, PAIRED_TESTS)


def _test_pair(task: Task, measure: str, test: str) -> tuple[PairedTest, Measured]:
    requests = task.request, task.request.changed(task.cell.options.against)
    runs = [task.fits.fit(request) for request in requests]
    first, second = (getattr(run.metrics, measure).values for run in runs)
    tested = paired_test(first, second, test)
    notes = (tested.note,) if tested.note else ()
    return tested, Measured.single(tested.p, tuple(run.path for run in runs), notes)


@cell_type("paired", "p of a paired test against another run", PairedOptions, measures=("p",))
def measure_paired(task: Task) -> Measured:
    """Return the p of a paired test over the splits (Fang et al., section V-C)."""
    return _test_pair(task, task.cell.options.of, task.cell.options.test)[1]


@cell_type("difference", "mean difference from another run", Against)
def measure_difference(task: Task) -> Measured:
    """Return the mean difference over the splits from the other run."""
    tested, measured = _test_pair(task, task.cell.measure, "t")
    return Measured.single(tested.mean_difference, measured.runs)


@dataclass(frozen=True)
class EnsembleOptions(CellOptions):
    """The values in which the second run differs."""

    second: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.second:
            raise ArgumentError(
                "second is empty; name the values of the second run that differ, as second = { head = "
                "'transformer' }."
            )

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return the feature sets of both runs."""
        return (*request.needs, *request.changed(self.second).needs)


@cell_type("ensemble", "the scores of two runs, blended", EnsembleOptions)
def measure_ensemble(task: Task) -> Measured:
    """Fit both, or find the runs, and blend their scores with the κ that is best on each split's validation
    part.
    """
    requests = task.request, task.request.changed(task.cell.options.second)
    first, second = (task.fits.fit(request) for request in requests)
    blend = ensemble(first.path, second.path, mapping=task.request.mapping)
    kappas = ", ".join(f"{kappa:.2f}" for kappa in blend.kappas)
    measured = Measured.of(blend.summary, task.cell.measure, (first.path, second.path))
    return replace(measured, notes=(*measured.notes, f"kappa {kappas} ({blend.selection})"))


@cell_type(
    "weighted", "average over data sets, weighted by their videos", NoFeatures, from_peers=True, fits=False
)
def measure_weighted(task: Task) -> Measured:
    """Return the average of the other cells' own statistics, as in Li et al., table III."""
    measured = [(cell, peer) for cell, peer in task.peers if peer]
    if len(measured) < len(task.peers) or not measured:
        raise ArgumentError(
            f"{len(measured)} of the {len(task.peers)} cells to be averaged are measured; run the others "
            f"first."
        )
    return average(measured)


def average(peers: Sequence[tuple[Cell, Measured]]) -> Measured:
    """Return the average of measured cells, weighted by the videos of each."""
    weights = [measured.videos for _, measured in peers]
    runs = tuple(run for _, measured in peers for run in measured.runs)
    values = [measured.value(cell.statistic) for cell, measured in peers]
    mean = Measured.single(float(np.average(values, weights=weights)), runs)
    spreads = [(cell, measured.plain) for cell, measured in peers if measured.plain is not None]
    if len(spreads) < len(peers):
        return mean
    plain = [spread.median if cell.statistic == "median" else spread.mean for cell, spread in spreads]
    return replace(mean, plain=Summary.of([float(np.average(plain, weights=weights))]))
