"""What a table is: headings, cells, and what the paper printed in them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite, nan
from typing import Any

from vqafeat.datasets.manifest import build
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.store.features import split_feature_sets
from vqafeat.training.config import FitConfig


@dataclass(frozen=True)
class RequiredFeatures:
    """A feature set of a data set, without which a cell cannot be measured."""

    dataset: str
    feature_set: str


@dataclass(frozen=True)
class TableFit(FitConfig):
    """A fit that a table needs, and the data sets that it is trained on, several together."""

    datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.datasets)) < len(self.datasets):
            raise ArgumentError(f"datasets is {', '.join(self.datasets)}; name each data set once.")
        super().__post_init__()

    @property
    def config(self) -> FitConfig:
        """The fit, without its data sets."""
        return FitConfig(**{item.name: getattr(self, item.name) for item in fields(FitConfig)})

    @property
    def needs(self) -> tuple[RequiredFeatures, ...]:
        """The feature sets of the data sets that the fit reads."""
        return self.needs_of(self.datasets)

    def needs_of(self, datasets: tuple[str, ...]) -> tuple[RequiredFeatures, ...]:
        """Return the fit's feature sets of other data sets."""
        return tuple(
            RequiredFeatures(dataset, name)
            for dataset in datasets
            for name in split_feature_sets(self.features)
        )

    def changed(self, changes: Mapping[str, Any]) -> "TableFit":
        """Return the fit with some values changed; those of `options` and `overrides` one by one."""
        joined = {
            key: {**getattr(self, key, {}), **value} if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return build(TableFit, {**values, "datasets": list(self.datasets), **joined}, "run")


STATISTICS = ("mean", "mean-std", "median")
_PRINTED = re.compile(
    r"(?P<about>~?)(?P<value>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?:±(?P<std>\d+(?:\.\d+)?))?(?P<mark>[*]?)"
)


@dataclass(frozen=True)
class Published:
    """A number as a paper prints it.

    Attributes:
        std: its deviation; NaN where there is none.
        text: as it is shown, digits as printed.
        collected: the paper took it from another one (marked `*` in Li et al.).
        approximate: it was read off a plot.
    """

    value: float
    std: float
    text: str
    collected: bool = False
    approximate: bool = False

    @classmethod
    def parse(cls, text: str) -> "Published | None":
        """Return the number written as `0.804±0.060`, `0.687*`, or `~0.8` where it was read off a plot; None
        for `-`.
        """
        if text == "-":
            return None
        match = _PRINTED.fullmatch(text)
        if match is None:
            raise DatasetError(
                f"published value '{text}' has to be a number, as 0.804, 0.804±0.060, 0.687* or ~0.8, or - "
                f"for none."
            )
        std = float(match["std"]) if match["std"] else nan
        shown = re.sub("^(≈ )?-", r"\1−", text.replace("±", " ± ").replace("~", "≈ "))
        return cls(float(match["value"]), std, shown, bool(match["mark"]), bool(match["about"]))


@dataclass(frozen=True)
class Heading:
    """The heading of a row or column; `group` stands once next to or above those that share it."""

    name: str
    group: str = ""

    @property
    def words(self) -> str:
        """Group and name."""
        return ", ".join(filter(None, (self.group, self.name)))


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        row, column: counted from 0.
        kind: name in `CELL_TYPES`.
        options: of the kind.
        measure: what is shown, for example "srocc".
        statistic: over the splits.
        request: what is to be trained; None for a cell that is only quoted, not run.
        published: what the paper prints; None where it prints nothing.
    """

    row: int
    column: int
    kind: str
    options: Any
    measure: str
    statistic: str
    request: TableFit | None
    published: Published | None

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise DatasetError(
                f"statistic is '{self.statistic}'; it has to be one of {', '.join(STATISTICS)}."
            )

    @property
    def quoted(self) -> bool:
        """Whether it is only quoted, not run."""
        return self.request is None


@dataclass(frozen=True)
class Recorded:
    """Which part of a table is filled by the predictions that its authors published.

    Attributes:
        row: name of the row.
        databases: data set → its key in the file.
        splits: of the file, the first ones.
        unlike: data set → in words, how the videos recorded differ from those that the paper printed numbers
            of.
    """

    row: str
    databases: Mapping[str, str]
    splits: int = 10
    unlike: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for dataset in self.unlike:
            if dataset not in self.databases:
                raise DatasetError(
                    f"unlike names '{dataset}', which is not recorded; name one of "
                    f"{', '.join(self.databases)}."
                )


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of a paper.

    Attributes:
        name: as typed, for example "li-14".
        title: what it shows.
        paper: where it is from.
        label: as the paper calls it, for example "Table XIV".
        cells: one for each row and column, row by row.
        caption: choices of the protocol that a reader has to know.
        digits: of measured values.
        tolerance: measure → largest difference from the published value that `--check` lets pass; other
            measures are not checked.
        recorded: of a table that published predictions can be shown as.
        plot: kind of plot that a figure is drawn as; empty for a table.
    """

    name: str
    title: str
    paper: str
    label: str
    rows: tuple[Heading, ...]
    columns: tuple[Heading, ...]
    cells: tuple[Cell, ...]
    caption: str = ""
    digits: int = 3
    tolerance: Mapping[str, float] = field(default_factory=dict)
    recorded: Recorded | None = None
    plot: str = ""

    def __post_init__(self) -> None:
        positions = [(cell.row, cell.column) for cell in self.cells]
        expected = [(row, column) for row in range(len(self.rows)) for column in range(len(self.columns))]
        if positions != expected or not positions:
            raise DatasetError(
                f"table '{self.name}' needs one cell for each of {len(self.rows)} rows and "
                f"{len(self.columns)} columns."
            )
        if self.recorded is not None and self.recorded.row not in [row.name for row in self.rows]:
            raise DatasetError(
                f"table '{self.name}' records the row '{self.recorded.row}', which it does not have; name "
                f"one of its rows."
            )

    def words(self, cell: Cell) -> str:
        """Return the row and the column of a cell in words."""
        return f"{self.rows[cell.row].words}: {self.columns[cell.column].words}"


NOTHING = "–"


def number(value: float, digits: int) -> str:
    """Return a number with its digits; a very small one by its power of ten, with a true minus sign."""
    if not isfinite(value):
        return NOTHING
    large = value == 0 or abs(value) >= 10**-digits or digits == 0
    return ("−" if value < 0 else "") + (f"{abs(value):.{digits}f}" if large else f"{abs(value):.2e}")


def signed(value: float, digits: int) -> str:
    """Return a number with its digits and its sign; zero has none."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)
