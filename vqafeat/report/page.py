"""The content of a report page, and the page as HTML; the page's script reads `Report.as_dict`."""

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from vqafeat.errors import ArgumentError
from vqafeat.io import without_nan, write_bytes
from vqafeat.metrics import FEW_VIDEOS
from vqafeat.paper_tables.table import NOTHING
from vqafeat.report.tables import ReportTable
from vqafeat.training.results import MetricsSummary
from vqafeat.training.run_config import TrainingDataset

PARTS = ("train", "validation", "test")


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

    def __post_init__(self) -> None:
        lengths = set(map(len, vars(self).values()))
        if len(lengths) != 1 or not self.split:
            given = f"columns of a score table have the lengths {sorted(lengths)}"
            raise ArgumentError(f"{given}; they need one, at least 1.")
        if strange := sorted(set(self.part) - set(PARTS)):
            raise ArgumentError(f"part of a score table is '{strange[0]}'; allowed are {', '.join(PARTS)}.")
        for name in ("output", "score", "error"):
            if not all(map(isfinite, getattr(self, name))):
                raise ArgumentError(f"{name} of a score table is not finite; leave such rows out.")


@dataclass(frozen=True)
class FittedCurve:
    """The logistic from calibrated scores to labels of a split's test videos; −1 is all splits together.

    Without a logistic `tau` is empty, and `note` says why.
    """

    dataset: str
    split: int
    tau: tuple[float, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.tau) not in (0, 4) or (not self.tau and not self.note):
            raise ArgumentError(
                f"tau of a fitted curve is {self.tau}; give four parameters, or none and a note."
            )


@dataclass(frozen=True)
class TrainingCurve:
    """The training of a split: columns of curve.csv, one value an epoch, NaN where a measure is not defined.

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

    Attributes:
        video: index among the run's videos.
        seconds: since the first frame; empty where the store does not know the times.
    """

    video: int
    splits: tuple[int, ...]
    seconds: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or len(self.seconds) not in (0, len(self.scores)):
            raise ArgumentError(
                f"a frame curve has {len(self.seconds)} times for {len(self.scores)} scores; give one each, "
                f"or no times."
            )


@dataclass(frozen=True)
class ReportRun:
    """A finished run as the page shows it.

    Attributes:
        splits: number of splits.
        mapping: applied before PLCC and RMSE.
        calibrated_on: parts that the lines from outputs to scores were fitted on.
        fitted: logistics of each data set and split.
        facts: group → (name, value) of everything that decided the run.
        no_frames: for each video why it has no curve in `frames`; empty where it has one.
        notes: in addition to those of the metrics.
    """

    name: str
    head: str
    feature_sets: str
    splits: int
    mapping: str
    calibrated_on: tuple[str, ...]
    datasets: tuple[TrainingDataset, ...]
    summary: MetricsSummary
    videos: tuple[ReportVideo, ...]
    scores: ScoreTable
    fitted: tuple[FittedCurve, ...]
    training: tuple[TrainingCurve, ...]
    facts: Mapping[str, Sequence[tuple[str, str]]]
    no_frames: tuple[str, ...]
    frames: tuple[FrameCurve, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        videos, with_curve = range(len(self.videos)), {curve.video for curve in self.frames}
        named = {*self.scores.video, *with_curve}
        if not named <= set(videos):
            raise ArgumentError(f"run '{self.name}' names video {max(named)}; it has 0 to {len(videos) - 1}.")
        if [bool(reason) for reason in self.no_frames] != [video not in with_curve for video in videos]:
            raise ArgumentError(
                f"run '{self.name}' has {len(self.videos)} videos; give each a frame curve, or a reason why "
                f"it has none."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; tables are columns, which take a third of the space of rows."""
        columns = ("name", "dataset", "content", "mos", "address")
        datasets = [
            {"name": one.name, "score": one.score_name, "range": list(one.mos_range)} for one in self.datasets
        ]
        reasons = list(dict.fromkeys(self.no_frames))
        return {
            **{key: getattr(self, key) for key in ("name", "head", "feature_sets", "splits", "mapping")},
            "calibrated_on": self.calibrated_on,
            "datasets": datasets,
            "summary": self.summary.as_dict(),
            "few_videos": self.summary.few_videos,
            "videos": {key: [getattr(video, key) for video in self.videos] for key in columns},
            "scores": {**asdict(self.scores), "part": [PARTS.index(part) for part in self.scores.part]},
            "fitted": [asdict(curve) for curve in self.fitted],
            "training": [asdict(curve) for curve in self.training],
            "facts": [{"group": group, "rows": list(map(list, rows))} for group, rows in self.facts.items()],
            "frames": [asdict(curve) for curve in self.frames],
            "no_frames": {"reasons": reasons, "video": [reasons.index(reason) for reason in self.no_frames]},
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Report:
    """A page of runs, each with its own name, and of tables of the papers."""

    title: str
    runs: tuple[ReportRun, ...]
    tables: tuple[ReportTable, ...] = ()

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if not (names or self.tables) or len(set(names)) < len(names):
            raise ArgumentError(
                f"runs of a report are {', '.join(names) or 'none'}; give one or more, with their own names."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        runs, tables = [run.as_dict() for run in self.runs], [table.as_dict() for table in self.tables]
        return {"title": self.title, "parts": PARTS, "runs": runs, "tables": tables}


def rendered(report: Report) -> str:
    """Return the page; the same report gives the same text."""
    values = report.as_dict()
    style, script = _shipped("page.css"), _shipped("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "media-src file: data: blob: 'self'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"figure": _figure, "value": _sort_value, "is_few": _is_few}
    return environment.from_string(_shipped("page.html")).render(
        values,
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        data=Markup(json_in_html(values)),
        subtitle=_subtitle(report),
        metric_rows=list(_metric_rows(values["runs"])),
        notes=_metric_notes(report.runs),
    )


def _subtitle(report: Report) -> str:
    count = "One run" if len(report.runs) == 1 else f"{len(report.runs)} runs"
    heads = dict.fromkeys(f"{run.head} on {run.feature_sets}" for run in report.runs)
    datasets = dict.fromkeys(dataset.name for run in report.runs for dataset in run.datasets)
    return " · ".join((count, ", ".join(heads), ", ".join(datasets)))


def _metric_rows(runs: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any], str, dict[str, Any]]]:
    """Yield each run's index and values with its data sets' names and summaries, the whole run's last."""
    for index, run in enumerate(runs):
        by_dataset = run["summary"].get("datasets", {})
        for dataset, summary in by_dataset.items():
            yield index, run, dataset, summary
        yield index, run, "weighted mean" if by_dataset else run["datasets"][0]["name"], run["summary"]


def _metric_notes(runs: Sequence[ReportRun]) -> list[str]:
    """Return each note once, after the names of its runs where these are not all; a star marks few videos."""
    notes = [("", _mapping_note(run.mapping), run.name) for run in runs]
    notes += [("* ", run.summary.few_videos, run.name) for run in runs if run.summary.few_videos]
    notes += [("", note, run.name) for run in runs for note in (*run.summary.notes, *run.notes)]
    names = defaultdict[tuple[str, str], list[str]](list)
    for star, note, name in notes:
        names[star, note].append(name)
    return [
        f"{star}{note}" if len(own) == len(runs) else f"{star}{', '.join(own)}: {note}"
        for (star, note), own in names.items()
    ]


def _mapping_note(mapping: str) -> str:
    if mapping == "none":
        return "PLCC and RMSE are those without a mapping"
    return f"PLCC and RMSE are read after the mapping '{mapping}', which is fitted to each test part"


def _is_few(summary: Mapping[str, Any], split: int) -> bool:
    """Tell whether a split was measured on few videos; of several data sets, whether one of them was."""
    by_dataset = summary.get("datasets", {}).values()
    return any(measured["n"][split] < FEW_VIDEOS for measured in (summary, *by_dataset))


def _figure(value: float) -> str:
    return f"{value:z.3f}".replace("-", "−") if isfinite(value) else NOTHING


def _sort_value(value: float | None) -> float | str:
    """Return what a column is sorted by; nothing for a value that is not defined."""
    return "" if value is None or not isfinite(value) else value


def write_report(report: Report, out: Path) -> Path:
    """Write the page at once, making its folder."""
    write_bytes(out, rendered(report).encode())
    return out


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder, and a file that is not to be replaced, before any work."""
    if out.is_dir():
        raise ArgumentError(
            f"out is '{out}', which is a folder; name a file in it, for example {out / 'report.html'}."
        )
    if out.exists() and not overwrite:
        raise ArgumentError(
            f"out is '{out}', which exists; pass --overwrite to replace it, or name another file."
        )


def json_in_html(values: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element, whatever names it holds; NaN becomes null."""
    return htmlsafe_json_dumps(without_nan(values), separators=(",", ":"), allow_nan=False)


def _shipped(name: str) -> str:
    return files("vqafeat.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
