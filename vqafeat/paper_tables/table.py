"""What a table is: headings, cells, the values that the paper prints in them, and what was measured."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.registry import Registry
from vqafeat.schema import Texts, parse
from vqafeat.store.features import split_feature_sets
from vqafeat.training.config import FitConfig
from vqafeat.training.results import EVERY_MEASURE, MetricsSummary, Summary

if TYPE_CHECKING:
    from vqafeat.paper_tables.sources import FitCache


@dataclass(frozen=True)
class RequiredFeatures:
    """A feature set of a data set that a cell reads."""

    dataset: str
    feature_set: str


@dataclass(frozen=True)
class TableFit(FitConfig):
    """A fit for a table, with the data sets that it is trained on together."""

    datasets: Texts = ()

    def __post_init__(self) -> None:
        if len(set(self.datasets)) < len(self.datasets):
            raise ArgumentError(f"datasets is {', '.join(self.datasets)}; name each data set once.")
        super().__post_init__()

    @property
    def config(self) -> FitConfig:
        """The fit without its data sets."""
        return FitConfig(**{item.name: getattr(self, item.name) for item in fields(FitConfig)})

    @property
    def needs(self) -> tuple[RequiredFeatures, ...]:
        """The feature sets that the fit reads, for each data set."""
        if not self.datasets or not self.features:
            next_step = "name both, or set quoted = true for a cell that is not measured"
            raise ArgumentError(f"datasets or features is missing; {next_step}.")
        names = split_feature_sets(self.features)
        return tuple(RequiredFeatures(dataset, name) for dataset in self.datasets for name in names)

    def changed(self, changes: Mapping[str, Any]) -> "TableFit":
        """Return the fit with changed values; a table such as `overrides` keeps its other entries."""
        return parse(TableFit, merged(asdict(self), changes), "run")


def merged(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all levels; a later value replaces an earlier one, and tables are joined."""
    values: dict[str, Any] = {}
    for level in levels:
        for key, value in level.items():
            are_tables = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = values[key] | value if are_tables else value
    return values


Statistic = Literal["mean", "mean-std", "median"]
NO_CELL = "--"  # in place of a printed number: the row has no cell in this column, and nothing is measured
_PRINTED = re.compile(
    r"(?P<about>~?)(?P<value>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?:±(?P<std>\d+(?:\.\d+)?))?(?P<mark>[*]?)"
)


@dataclass(frozen=True)
class Published:
    """A number that a paper prints."""

    value: float
    std: float
    text: str  # the number with the printed digits
    collected: bool = False  # whether the paper took it from another paper (marked `*` in Li et al.)
    approximate: bool = False  # whether it was read off a plot

    @classmethod
    def parse(cls, text: str) -> "Published | None":
        """Return the number of a text such as `0.804±0.060`, `0.687*` or `~0.8`, None for `-` and `--`."""
        if text in ("-", NO_CELL):
            return None
        match = _PRINTED.fullmatch(text)
        if match is None:
            forms = "0.804, 0.804±0.060, 0.687* or ~0.8"
            raise DatasetError(f"published is '{text}'; write a number such as {forms}, or - for none.")
        std = float(match["std"]) if match["std"] else nan
        shown = re.sub("^(≈ )?-", r"\1−", text.replace("±", " ± ").replace("~", "≈ "))
        return cls(float(match["value"]), std, shown, bool(match["mark"]), bool(match["about"]))


@dataclass(frozen=True)
class Heading:
    """The heading of a row or column, and the one that its group shares."""

    name: str
    group: str = ""

    @property
    def words(self) -> str:
        """The group and the name."""
        return ", ".join(filter(None, (self.group, self.name)))


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    row: int
    column: int
    kind: str  # a name in `CELL_TYPES`
    options: Any  # the `CellType` of that name with its options; None if the cell is quoted
    measure: str
    statistic: Statistic
    request: TableFit | None  # the fit to be measured; None if the cell is quoted
    published: Published | None

    @property
    def quoted(self) -> bool:
        """Whether the cell shows a value of the paper and is not measured."""
        return self.request is None


@dataclass(frozen=True)
class Recorded:
    """The row of a table that its authors' published predictions fill."""

    row: str
    databases: Mapping[str, str]  # data set → its key in the file
    splits: int = 10
    # data set → how its recorded videos differ from those of the printed numbers, in words
    unlike: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [dataset for dataset in self.unlike if dataset not in self.databases]:
            known = ", ".join(self.databases)
            raise DatasetError(f"unlike names '{unknown[0]}', which is not recorded; name one of {known}.")


@dataclass(frozen=True, kw_only=True)
class TableHeader:
    """The keys of a table file that describe the table as a whole."""

    title: str
    paper: str
    label: str  # the paper's name for it, for example "Table XIV"
    caption: str = ""  # what a reader has to know about the protocol
    digits: int = 3  # decimals of measured values
    # measure → largest difference from the published value that `--check` accepts
    tolerance: Mapping[str, float] = field(default_factory=dict)
    recorded: Recorded | None = None
    plot: str = ""  # a name in `FIGURES`; empty for a table


@dataclass(frozen=True, kw_only=True)
class PaperTable(TableHeader):
    """A table or figure of a paper; its cells are stored row by row."""

    name: str
    rows: tuple[Heading, ...]
    columns: tuple[Heading, ...]
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        if self.recorded is not None and self.recorded.row not in [row.name for row in self.rows]:
            row = self.recorded.row
            raise DatasetError(f"table '{self.name}' has no row '{row}'; name one of its rows in [recorded].")

    def words(self, cell: Cell) -> str:
        """Return the headings of a cell."""
        return f"{self.rows[cell.row].words}: {self.columns[cell.column].words}"


@dataclass(frozen=True)
class Measured:
    """What was measured for a cell."""

    spread: Summary  # the measure over the splits
    videos: float = 0  # mean number of measured videos per split, the weight in an average
    runs: tuple[Path, ...] = ()  # folders of the measured runs
    notes: tuple[str, ...] = ()
    plain: Summary | None = None  # PLCC or RMSE without the mapping; None for other measures
    few_videos: bool = False  # whether a split has so few videos that a single one changes the number visibly

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
    """A cell with what was measured for it, or why nothing was."""

    cell: Cell
    measured: Measured | None = None
    missing: tuple[RequiredFeatures, ...] = ()  # the feature sets that the stores lack
    reasons: tuple[str, ...] = ()  # everything that is missing, in words
    failure: str = ""
    comparable: bool = True  # whether the published number is of the same videos

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
        if measured is None or measured.plain is None:
            return nan
        is_same = np.array_equal(measured.plain.values, measured.spread.values, equal_nan=True)
        return nan if is_same else self.statistic_of(measured.plain)

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
    fits: "FitCache"
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

    def missing(self, fits: "FitCache") -> tuple[str, ...]:
        """Return what is missing besides features, in words."""
        return ()

    @abstractmethod
    def measured(self, task: Task) -> Measured:
        """Train or find the runs, and return what the cell shows."""


CELL_TYPES: Registry[type[CellType]] = Registry("type of cell")


NOTHING = "–"


def number(value: float, digits: int) -> str:
    """Return a number with a typographic minus sign; one below `digits` decimals has a power of ten."""
    if not isfinite(value):
        return NOTHING
    large = value == 0 or abs(value) >= 10**-digits or digits == 0
    return ("−" if value < 0 else "") + (f"{abs(value):.{digits}f}" if large else f"{abs(value):.2e}")


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; zero has none."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)
