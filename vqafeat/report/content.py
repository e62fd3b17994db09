"""The content of a report page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqafeat.metrics import Tau
from vqafeat.report.tables import ReportTable
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


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a run, column by column.

    Attributes:
        video: index among the run's videos.
        output: of the head, before calibration.
        score: calibrated, on the scale of the labels.
        error: score minus label.
    """

    split: tuple[int, ...]
    part: tuple[str, ...]
    video: tuple[int, ...]
    output: tuple[float, ...]
    score: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True)
class FittedCurve:
    """The logistic from calibrated scores to labels of a split's test videos; −1 is all splits together.

    Without a logistic `tau` is empty, and `note` says why.
    """

    dataset: str
    split: int
    tau: Tau | tuple[()]
    note: str = ""


@dataclass(frozen=True)
class TrainingCurve:
    """The training of a split: columns of curve.csv, one value an epoch, NaN where a measure is not defined.

    `kept_epoch` is the one whose weights were kept, 0 where that is not known.
    """

    split: int
    kept_epoch: int
    epoch: tuple[int, ...]
    series: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class FrameCurve:
    """The calibrated scores of a video's frames, the mean over the heads of the splits that tested it.

    Attributes:
        video: index among the run's videos.
        seconds: since the first frame; empty where the store does not know the times.
    """

    video: int
    splits: tuple[int, ...]
    seconds: tuple[float, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ReportRun:
    """A finished run as the page shows it.

    Attributes:
        calibrated_on: parts that the lines from outputs to scores were fitted on.
        fitted: logistics of each data set and split.
        facts: group → name → value of everything that decided the run.
        no_frames: for each video why it has no curve in `frames`; empty where it has one.
        notes: in addition to those of the metrics.
    """

    name: str
    config: RunConfig
    calibrated_on: tuple[str, ...]
    summary: MetricsSummary
    videos: tuple[ReportVideo, ...]
    scores: ScoreTable
    fitted: tuple[FittedCurve, ...]
    training: tuple[TrainingCurve, ...]
    facts: Mapping[str, Mapping[str, Any]]
    no_frames: tuple[str, ...]
    frames: tuple[FrameCurve, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A page of runs, each with its own name, and of tables of the papers."""

    title: str
    runs: tuple[ReportRun, ...]
    tables: tuple[ReportTable, ...] = ()
