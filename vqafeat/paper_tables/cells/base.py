"""What a type of cell is: the features that it needs, and how it is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.fits import FitCache
from vqafeat.paper_tables.table import Cell, RequiredFeatures, TableFit
from vqafeat.registry import Registry
from vqafeat.training.results import EVERY_MEASURE, MetricsSummary, Summary


@dataclass(frozen=True)
class Measured:
    """What was measured for a cell.

    Attributes:
        spread: over the splits; of a single number, that number.
        videos: that were measured, on average over the splits, for weighted averages.
        runs: the run folders that it is from.
        notes: what a reader has to know.
        plain: of PLCC or RMSE after a mapping, the same measure without one; None for others.
        few_videos: a split was measured on so few videos that one video moves a figure.
    """

    spread: Summary
    videos: float = 0
    runs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    plain: Summary | None = None
    few_videos: bool = False

    @classmethod
    def of(cls, summary: MetricsSummary, measure: str, runs: tuple[Path, ...] = ()) -> "Measured":
        """Return one measure of a summary."""
        plain = getattr(summary, f"{measure}_plain", None)
        plain, videos = plain if plain and plain.values else None, sum(summary.n) / len(summary.n)
        few_videos = bool(summary.few_videos)
        return cls(getattr(summary, measure), videos, runs, summary.notes, plain, few_videos)

    @classmethod
    def single(cls, value: float, runs: tuple[Path, ...] = (), notes: tuple[str, ...] = ()) -> "Measured":
        """Return a number that has no spread."""
        return cls(Summary(value, nan, value, (value,)), 0, runs, notes)

    def value(self, statistic: str) -> float:
        """Return the mean or the median."""
        return self.spread.median if statistic == "median" else self.spread.mean


# the cells of the same row and measure that are no averages themselves; None for those not measured
Peers = tuple[tuple[Cell, Measured | None], ...]


@dataclass(frozen=True)
class Task:
    """A cell to be measured, with its request."""

    cell: Cell
    fits: FitCache
    peers: Peers = ()

    @property
    def request(self) -> TableFit:
        """What the cell asks to be trained."""
        assert self.cell.request is not None
        return self.cell.request


@dataclass(frozen=True)
class CellOptions:
    """Options of a type of cell; this one has none."""

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return the feature sets without which the cell cannot be measured."""
        return request.needs

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Say what else than features is missing."""
        return ()


@dataclass(frozen=True)
class NoFeatures(CellOptions):
    """Options of a cell that reads no features."""

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return nothing."""
        return ()


@dataclass(frozen=True)
class CellType:
    """A way to fill a cell.

    Attributes:
        described: in words.
        measure: returns what was measured.
        options: dataclass of its options.
        measures: that it knows.
        from_peers: it is computed from the other cells of its row.
        fits: it trains, so that data sets and features have to be named.
    """

    described: str
    measure: Callable[[Task], Measured]
    options: type[CellOptions] = CellOptions
    measures: tuple[str, ...] = EVERY_MEASURE
    from_peers: bool = False
    fits: bool = True


CELL_TYPES: Registry[CellType] = Registry("type of cell")


def cell_type(
    name: str, described: str, options: type[CellOptions] = CellOptions, **others: Any
) -> Callable[[Callable[[Task], Measured]], Callable[[Task], Measured]]:
    """Return a decorator that registers a measuring function as a type of cell; see `CellType`."""

    def register(measure: Callable[[Task], Measured]) -> Callable[[Task], Measured]:
        CELL_TYPES.add(name, CellType(described, measure, options, **others))
        return measure

    return register


@dataclass(frozen=True)
class Against(CellOptions):
    """The values in which another run, that the cell's own is compared with, differs."""

    against: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.against:
            raise ArgumentError(
                "against is empty; name the values of the other run that differ, as against = { order = "
                "'OO' }."
            )

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return the feature sets of both runs."""
        return (*request.needs, *request.changed(self.against).needs)
