"""Base class of the kinds of cells, and what was measured for a cell."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import ClassVar

from vqafeat.paper_tables.sources import FitCache
from vqafeat.paper_tables.table import Cell, RequiredFeatures, TableFit
from vqafeat.registry import Registry
from vqafeat.training.results import EVERY_MEASURE, MetricsSummary, Summary


@dataclass(frozen=True)
class Measured:
    """What was measured for a cell.

    Attributes:
        spread: the measure over the splits.
        videos: mean number of measured videos per split, the weight in an average.
        runs: folders of the measured runs.
        plain: PLCC or RMSE without the mapping; None for other measures.
        few_videos: whether a split has so few videos that a single one changes the number visibly.
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
        plain: Summary | None = getattr(summary, f"{measure}_plain", None)
        return cls(
            spread=getattr(summary, measure),
            videos=sum(summary.n) / len(summary.n),
            runs=runs,
            notes=summary.notes,
            plain=plain if plain and plain.values else None,
            few_videos=bool(summary.few_videos),
        )


@dataclass(frozen=True)
class CellResult:
    """A cell with what was measured for it, or why nothing was.

    Attributes:
        missing: the feature sets that the stores lack.
        reasons: everything that is missing, in words.
        comparable: whether the published number is of the same videos.
    """

    cell: Cell
    measured: Measured | None = None
    missing: tuple[RequiredFeatures, ...] = ()
    reasons: tuple[str, ...] = ()
    failure: str = ""
    comparable: bool = True

    def statistic_of(self, summary: Summary) -> float:
        """Return the statistic that the cell shows."""
        return summary.median if self.cell.statistic == "median" else summary.mean

    @property
    def value(self) -> float:
        """The measured number, or NaN."""
        return self.statistic_of(self.measured.spread) if self.measured else nan

    @property
    def plain_value(self) -> float:
        """PLCC or RMSE without the mapping if `value` is after it, else NaN."""
        measured = self.measured
        if measured is None or measured.plain is None or measured.plain == measured.spread:
            return nan
        return self.statistic_of(measured.plain)

    @property
    def published(self) -> float:
        """The published number, or NaN."""
        return self.cell.published.value if self.cell.published else nan

    @property
    def difference(self) -> float:
        """Measured − published; NaN where one is missing, or they are of different videos."""
        return self.value - self.published if self.comparable else nan

    def rounded_difference(self, digits: int) -> float:
        """Return the difference rounded as it is shown; not rounded if the published value would become 0."""
        small = 0 < abs(self.published) < 10**-digits
        return self.difference if small else round(self.difference, digits)


@dataclass(frozen=True)
class Task:
    """A measurement for a cell; `peers` are the other cells of its row with the same measure."""

    request: TableFit
    measure: str
    fits: FitCache
    peers: tuple[CellResult, ...] = ()


@dataclass(frozen=True)
class CellType(ABC):
    """A kind of cell; its fields are the options in the table file's table of that name."""

    measures: ClassVar[tuple[str, ...]] = EVERY_MEASURE
    reads_features: ClassVar[bool] = True

    def requests(self, request: TableFit) -> tuple[TableFit, ...]:
        """Return the fits whose feature sets the cell reads: its own first."""
        return (request,)

    def required(self, request: TableFit) -> tuple[RequiredFeatures, ...]:
        """Return the feature sets that the cell reads."""
        requests = self.requests(request) if self.reads_features else ()
        return tuple(need for one in requests for need in one.needs)

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Return what is missing besides features, in words."""
        return ()

    @abstractmethod
    def measured(self, task: Task) -> Measured:
        """Train or find the runs, and return what the cell shows."""


CELL_TYPES: Registry[type[CellType]] = Registry("type of cell")
