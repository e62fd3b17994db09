"""The content of a report page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.evaluation.compare import ComparedPair
from vqafeat.metrics import LogisticFit
from vqafeat.report.tables import ReportTable
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import MetricsSummary
from vqafeat.training.run_config import RunConfig

ALL_SPLITS = -1


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
    """The training of a split: columns of curve.csv, with NaN where a measure is not defined.

    `kept_epoch` is the one whose weights were kept, 0 where that is not known.
    """

    split: int
    kept_epoch: int
    epoch: tuple[int, ...]
    series: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, values in self.series.items():
            if len(values) != len(self.epoch):
                lengths = f"{len(values)} values for {len(self.epoch)} epochs"
                raise ArgumentError(f"series '{name}' of split {self.split} has {lengths}.")


@dataclass(frozen=True)
class FrameCurve:
    """The calibrated scores of a video's frames, the mean over the heads of the splits that tested it.

    `seconds` are since the first frame, and empty where the store does not know the times.
    """

    splits: tuple[int, ...]
    seconds: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or len(self.seconds) not in (0, len(self.scores)):
            lengths = f"{len(self.seconds)} times for {len(self.scores)} scores"
            raise ArgumentError(f"a frame curve has {lengths}; give one for each score, or no times.")


@dataclass(frozen=True)
class ReportRun:
    """A finished run as the page shows it; videos have the names of its predictions.

    Attributes:
        calibrated_on: parts on which the calibrations were fitted.
        scores: finite calibrated scores, of all parts.
        fitted: (data set, split or ALL_SPLITS) → logistic from the scores of the test videos to their labels.
        finished: date, YYYY-MM-DD, on which its metrics were written.
        facts: group → name → value of everything that decided the run.
        no_frames: video → why it is not in `frames`.
        notes: in addition to those of the metrics.
    """

    name: str
    config: RunConfig
    calibrated_on: tuple[str, ...]
    summary: MetricsSummary
    videos: Mapping[str, ReportVideo]
    scores: tuple[Prediction, ...]
    fitted: Mapping[tuple[str, int], LogisticFit]
    training: tuple[TrainingCurve, ...]
    finished: str
    facts: Mapping[str, Mapping[str, Any]]
    no_frames: Mapping[str, str]
    frames: Mapping[str, FrameCurve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
    """Runs that were tested on the same videos, by their mean SROCC.

    Attributes:
        pairs: index of a run on the page, the best one first → its comparison with the best one.
        note: why the runs are not compared; empty where they are.
    """

    dataset: str
    videos: int
    pairs: Mapping[int, ComparedPair | None]
    note: str = ""

    def __post_init__(self) -> None:
        compared = [index for index, pair in self.pairs.items() if pair]
        if compared != ([] if self.note else list(self.pairs)[1:]):
            raise ArgumentError(
                f"pairs of '{self.dataset}' compare runs {compared}; give one for each run but the first."
            )


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
