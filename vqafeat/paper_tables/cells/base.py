"""What a kind of cell is: what it needs, and how it is measured."""

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
        few_videos: a split was measured on too few videos for a figure that one video does not move.
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
        videos = sum(summary.n) / len(summary.n)
        return cls(
            getattr(summary, measure),
            videos,
            runs,
            summary.notes,
            plain if plain and plain.values else None,
            bool(summary.few_videos),
        )

    @classmethod
    def single(cls, value: float, runs: tuple[Path, ...] = (), notes: tuple[str, ...] = ()) -> "Measured":
        """Return a number that has no spread."""
        return cls(Summary(value, nan, value, (value,)), 0, runs, notes)

    def value(self, statistic: str) -> float:
        """Return the mean or the median."""
        return self.spread.median if statistic == "median" else self.spread.mean


@dataclass(frozen=True)
class Task:
    """A cell to be measured.

    Attributes:
        cell: with a request.
        bench: where fits are made or found.
        peers: the measured cells of the same row and measure that are no averages themselves.
        expected: how many such cells the row has.
    """

    cell: Cell
    fits: FitCache
    peers: tuple[tuple[Cell, Measured], ...] = ()
    expected: int = 0

    @property
    def request(self) -> TableFit:
        """What the cell asks to be trained."""
        assert self.cell.request is not None
        return self.cell.request


def needs_of_the_fit(cell: Cell) -> tuple[RequiredFeatures, ...]:
    """Return the feature sets that the cell's own fit reads."""
    return cell.request.needs if cell.request else ()


def needs_of_both(cell: Cell, changes: Mapping[str, Any]) -> tuple[RequiredFeatures, ...]:
    """Return the feature sets that the cell's fit and another one, with some values changed, read."""
    return (*cell.request.needs, *cell.request.changed(changes).needs) if cell.request else ()


def nothing_needed(cell: Cell) -> tuple[RequiredFeatures, ...]:
    """Return that no feature set is needed."""
    return ()


def nothing_lacked(cell: Cell, fits: FitCache) -> tuple[str, ...]:
    """Say that feature sets are all that is needed."""
    return ()


@dataclass(frozen=True)
class NoOptions:
    """A kind without options."""


@dataclass(frozen=True)
class CellType:
    """A way to fill a cell.

    Attributes:
        described: in words.
        measure: returns what was measured.
        options: dataclass of the kind's options.
        needs: the feature sets without which it cannot be measured.
        lacks: says what else is not at hand, or nothing.
        measures: that it knows.
        from_peers: it is made of the other cells of its row.
        fits: it trains, so that data sets and features have to be named.
    """

    described: str
    measure: Callable[[Task], Measured]
    options: type[Any] = NoOptions
    needs: Callable[[Cell], tuple[RequiredFeatures, ...]] = needs_of_the_fit
    missing: Callable[[Cell, FitCache], tuple[str, ...]] = nothing_lacked
    measures: tuple[str, ...] = EVERY_MEASURE
    from_peers: bool = False
    fits: bool = True


CELL_TYPES: Registry[CellType] = Registry("kind of study")


@dataclass(frozen=True)
class Against:
    """The run that a cell's own is held against.

    Attributes:
        against: what it has otherwise.

    Raises:
        ArgumentError: nothing is otherwise.
    """

    against: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.against:
            raise ArgumentError(
                "against is empty; name what the other run has otherwise, as against = { order = 'OO' }."
            )


def needs_of_the_pair(cell: Cell) -> tuple[RequiredFeatures, ...]:
    """Return the feature sets that the cell's own run and the one `against` read."""
    return needs_of_both(cell, cell.options.against)
