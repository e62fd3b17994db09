"""The content of a report page: runs, and filled tables from the files of `vqafeat table --json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.evaluation.compare import ComparedPair
from vqafeat.io import read_text_limited
from vqafeat.metrics import LogisticFit
from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.table import Heading
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import MetricsSummary
from vqafeat.training.run_config import RunConfig

ALL_SPLITS = -1
_WRITE_IT = "write it with `vqafeat table NAME --json --out FOLDER`"


@dataclass(frozen=True)
class ReportVideo:
    """A video that a run scored; `address` is that of its file, relative to the page, empty without one."""

    name: str
    dataset: str
    content: str
    mos: float
    address: str = ""

    def __post_init__(self) -> None:
        if not self.name or not isfinite(self.mos):
            given = f"name of a video is {self.name!r}, its mos {self.mos}"
            raise ArgumentError(f"{given}; it needs a name and a finite label.")


@dataclass(frozen=True)
class TrainingCurve:
    """The training of a split: columns of curve.csv, with NaN where a measure is not defined."""

    split: int
    kept_epoch: int  # the one whose weights were kept; 0 where that is not known
    epoch: tuple[int, ...]
    series: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, values in self.series.items():
            if len(values) != len(self.epoch):
                lengths = f"{len(values)} values for {len(self.epoch)} epochs"
                raise ArgumentError(f"series '{name}' of split {self.split} has {lengths}.")


@dataclass(frozen=True)
class FrameCurve:
    """The calibrated scores of a video's frames, the mean over the heads of the splits that tested it."""

    splits: tuple[int, ...]
    seconds: tuple[float, ...]  # since the first frame; empty where the store does not know the times
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or len(self.seconds) not in (0, len(self.scores)):
            lengths = f"{len(self.seconds)} times for {len(self.scores)} scores"
            raise ArgumentError(f"a frame curve has {lengths}; give one for each score, or no times.")


@dataclass(frozen=True)
class ReportRun:
    """A finished run as the page shows it; videos have the names of its predictions."""

    name: str
    config: RunConfig
    calibrated_on: tuple[str, ...]  # parts on which the calibrations were fitted
    summary: MetricsSummary
    videos: Mapping[str, ReportVideo]
    scores: tuple[Prediction, ...]  # finite calibrated scores, of all parts
    # (data set, split or ALL_SPLITS) → logistic from the scores of the test videos to their labels
    fitted: Mapping[tuple[str, int], LogisticFit]
    training: tuple[TrainingCurve, ...]
    finished: str  # date, YYYY-MM-DD, on which its metrics were written
    facts: Mapping[str, Mapping[str, Any]]  # group → name → value of everything that decided the run
    no_frames: Mapping[str, str]  # video → why it is not in `frames`
    frames: Mapping[str, FrameCurve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # in addition to those of the metrics

    def __post_init__(self) -> None:
        if wrong := [row for row in self.scores if row.video not in self.videos or not isfinite(row.score)]:
            row = f"a score of {wrong[0].score} for '{wrong[0].video}'"
            raise ArgumentError(f"run '{self.name}' has {row}; give finite scores of its videos.")
        if sorted([*self.frames, *self.no_frames]) != sorted(self.videos):
            raise ArgumentError(
                f"run '{self.name}' has {len(self.videos)} videos; give each a frame curve, or a reason why "
                "it has none."
            )


@dataclass(frozen=True)
class ReportComparison:
    """Runs that were tested on the same videos, by their mean SROCC."""

    dataset: str
    videos: int
    # index of a run on the page, the best one first → its comparison with the best one
    pairs: Mapping[int, ComparedPair | None]
    note: str = ""  # why the runs are not compared; empty where they are

    def __post_init__(self) -> None:
        compared = [index for index, pair in self.pairs.items() if pair]
        if compared != ([] if self.note else list(self.pairs)[1:]):
            raise ArgumentError(
                f"pairs of '{self.dataset}' compare runs {compared}; give one for each run but the first."
            )


@dataclass(frozen=True)
class ReportCell:
    """A cell: its text, the value by which rows are sorted, and the indices of its runs on the page."""

    text: str
    value: float | None
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReportTable:
    """A table as the page shows it; a row is its name and one cell for each column."""

    name: str
    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ReportCell, ...]], ...]

    def __post_init__(self) -> None:
        if any(len(cells) != len(self.columns) for _, cells in self.rows):
            wrong = f"rows of more or fewer than its {len(self.columns)} columns"
            raise DatasetError(f"table '{self.name}' has {wrong}; {_WRITE_IT}.")


@dataclass(frozen=True)
class WrittenTable:
    """A file that `vqafeat table --json` wrote."""

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "WrittenTable":
        """Read the file."""
        if path.suffix != ".json":
            write_it = f"write it with `vqafeat table {path} --json --out tables`"
            next_step = f"then name tables/{path}.json"
            raise DatasetError(f"'{path}' is the name of a table; {write_it}, {next_step}.")
        try:
            values = json.loads(read_text_limited(path))
        except (OSError, ValueError) as error:
            raise DatasetError(f"table '{path}' cannot be read ({error}); {_WRITE_IT}.") from error
        if not isinstance(values, dict) or not isinstance(values.get("cells"), list) or not values["cells"]:
            raise DatasetError(f"'{path}' is not a table; {_WRITE_IT}.")
        return cls(path, values)

    @property
    def runs(self) -> list[Path]:
        """The run folders that exist, relative to the working folder or to the folder of the file."""
        runs = dict.fromkeys(str(run) for cell in self.values["cells"] for run in cell.get("runs", ()))
        folders = [next(filter(Path.is_dir, self._paths(run)), None) for run in runs]
        return [folder for folder in folders if folder]

    def _paths(self, run: str) -> tuple[Path, Path]:
        return Path(run), self.path.parent / run

    def shown(self, folders: Sequence[Path]) -> ReportTable:
        """Return the table of a page with the runs `folders`."""
        index = {folder.resolve(): number for number, folder in enumerate(folders)}
        try:
            rows: dict[str, list[ReportCell]] = {}
            for cell in self.values["cells"]:
                paths = [path.resolve() for run in cell["runs"] for path in self._paths(run)]
                runs = tuple(dict.fromkeys(index[path] for path in paths if path in index))
                value = cell["published"] if cell["measured"] is None else cell["measured"]
                shown = ReportCell(str(cell["shown"]), value, runs)
                rows.setdefault(Heading(cell["row"], cell["row_group"]).words, []).append(shown)
            headings = [Heading(cell["column"], cell["column_group"]) for cell in self.values["cells"]]
            columns = tuple(dict.fromkeys(heading.words for heading in headings))
            name, lines = self.values["name"], tuple(self.values["lines"])
            title = "{label} of {paper}: {title}".format_map(self.values)
            cells_by_row = tuple((row, tuple(cells)) for row, cells in rows.items())
            return ReportTable(name, title, lines, columns, cells_by_row)
        except (KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DatasetError(f"'{self.path}' is not a whole table ({problem}); {_WRITE_IT}.") from error


def is_table(path: Path) -> bool:
    """Return whether a path is a table file, or the name of a shipped table, which `read` refuses."""
    return path.suffix == ".json" or (str(path) in table_names() and not path.is_dir())


@dataclass(frozen=True)
class Report:
    """A page of runs with different names, and of tables of the papers; `made` is its date, YYYY-MM-DD."""

    title: str
    runs: tuple[ReportRun, ...]
    tables: tuple[ReportTable, ...] = ()
    comparisons: tuple[ReportComparison, ...] = ()
    made: str = ""

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if not (names or self.tables) or len(set(names)) < len(names):
            given = ", ".join(names) or "none"
            raise ArgumentError(f"runs of a report are {given}; give at least one, and different names.")
