"""The page of a report as HTML."""

import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import chain
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
from vqafeat.report.charts import (
    FrameChart,
    Scatter,
    decimals,
    frame_charts,
    interval_charts,
    scatters,
    training_charts,
)
from vqafeat.report.content import ALL_SPLITS, Report, ReportRun, ReportVideo
from vqafeat.splits import PARTS
from vqafeat.training.results import EVERY_MEASURE, MetricsSummary


def rendered(report: Report) -> str:
    """Return the page; the same report gives the same text."""
    style, script = _shipped("page.css"), _shipped("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "media-src file: data: blob: 'self'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"figure": _figure, "value": _sort_value, "is_few": _is_few, "words": _words}
    environment.filters |= {
        "short": _short,
        "p_value": _p_value,
        "as_words": lambda title: (title, "words long", ""),
    }
    scatters_of = [list(scatters(number, run)) for number, run in enumerate(report.runs)]
    frames_of = [list(frame_charts(number, run)) for number, run in enumerate(report.runs)]
    runs = list(map(_script_values, report.runs, scatters_of, frames_of))
    return environment.from_string(_shipped("page.html")).render(
        vars(report),
        parts=PARTS,
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        data=Markup(json_in_html({"parts": PARTS, "all_splits": ALL_SPLITS, "runs": runs})),
        subtitle=_subtitle(report),
        metric_rows=list(_metric_rows(report.runs)),
        best=_best_cells(report),
        interval_charts=[
            [] if one.note else list(interval_charts(one, report.runs)) for one in report.comparisons
        ],
        differing=_differing_facts(report.runs),
        notes=_metric_notes(report.runs),
        scatters=list(chain.from_iterable(scatters_of)),
        lines=[line for charts in scatters_of for one in charts for line in one.lines],
        training=[list(training_charts(run)) for run in report.runs],
        frames=list(chain.from_iterable(frames_of)),
    )


def _script_values(run: ReportRun, charts: Sequence[Scatter], frames: Sequence[FrameChart]) -> dict[str, Any]:
    """Return the values for the page's script; columns take a third of the space of rows."""
    indices = {name: index for index, name in enumerate(run.videos)}
    videos = {key: [getattr(one, key) for one in run.videos.values()] for key in ReportVideo.__annotations__}
    helps = {**run.no_frames, **{one.video: one.help for one in frames}}
    videos["digits"] = [decimals(run)[video.dataset] for video in run.videos.values()]
    videos["frames_help"] = [helps[name] for name in run.videos]
    return {
        "name": run.name,
        "splits": run.config.splits,
        "datasets": [{"name": one.dataset, "x": vars(one.chart.x), "y": vars(one.chart.y)} for one in charts],
        "videos": videos,
        "scores": {
            "split": [row.split for row in run.scores],
            "part": [PARTS.index(row.part) for row in run.scores],
            "video": [indices[row.video] for row in run.scores],
            "output": [row.prediction for row in run.scores],
            "score": [row.score for row in run.scores],
        },
        "frames": {indices[name]: vars(curve) for name, curve in run.frames.items()},
    }


def _subtitle(report: Report) -> str:
    count = "One run" if len(report.runs) == 1 else f"{len(report.runs)} runs"
    heads = dict.fromkeys(f"{run.config.head} on {run.config.feature_sets}" for run in report.runs)
    datasets = dict.fromkeys(dataset.name for run in report.runs for dataset in run.config.datasets)
    days = sorted(run.finished for run in report.runs)
    finished = "finished on " + " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""
    made = f"page of {report.made}" if report.made else ""
    return " · ".join(filter(None, (count, ", ".join(heads), ", ".join(datasets), finished, made)))


def _metric_rows(runs: Sequence[ReportRun]) -> Iterator[tuple[int, ReportRun, str, MetricsSummary]]:
    """Yield (index of the run, run, data set, summary); of several data sets, their mean is last."""
    for index, run in enumerate(runs):
        by_dataset = run.summary.datasets
        for dataset, summary in by_dataset.items():
            yield index, run, dataset, summary
        yield index, run, "weighted mean" if by_dataset else run.config.datasets[0].name, run.summary


def _best_cells(report: Report) -> set[tuple[int, str]]:
    """Return (index of the run, measure) of the best mean among runs that were tested on the same videos."""
    best = set()
    for own in (list(comparison.pairs) for comparison in report.comparisons):
        one_mapping = len({report.runs[index].config.mapping for index in own}) == 1
        for measure in EVERY_MEASURE:
            sign = -1 if measure.startswith("rmse") else 1
            means = {index: sign * getattr(report.runs[index].summary, measure).mean for index in own}
            top = max(filter(isfinite, means.values()), default=None)
            if one_mapping or measure not in ("plcc", "rmse"):
                best |= {(index, measure) for index, mean in means.items() if mean == top}
    return best


def _differing_facts(runs: Sequence[ReportRun]) -> dict[str, list[str]]:
    """Return the name of each fact that differs among the runs, and its text in each."""
    names = dict.fromkeys((group, name) for run in runs for group in run.facts for name in run.facts[group])
    texts = {key: [_words(run.facts.get(key[0], {}).get(key[1])) for run in runs] for key in names}
    return {
        f"{group}: {name.replace('_', ' ')}": own
        for (group, name), own in texts.items()
        if len(set(own)) > 1 and name not in ("folder", "digest of the configuration")
    }


_SPLITS = re.compile(r"(split \d+|\d+ of \d+ splits): (?:(\d+) )?(.*)", re.DOTALL)


def _metric_notes(runs: Sequence[ReportRun]) -> list[str]:
    """Return each note once, after its runs and splits unless all have it; a star marks few videos."""
    notes = [("", _mapping_note(run.config.mapping), run.name) for run in runs]
    notes += [("* ", run.summary.few_videos, run.name) for run in runs if run.summary.few_videos]
    notes += [("", note, run.name) for run in runs for note in (*run.summary.notes, *run.notes)]
    having = defaultdict[tuple[str, str], dict[str, list[str]]](lambda: defaultdict(list))
    for star, note, name in notes:
        match = _SPLITS.fullmatch(note)
        splits, number, text = match.groups() if match else ("", None, note)
        if number:  # notes that differ in their numbers alone are one
            splits, text = f"{splits}, n = {number}", f"n {text}"
        having[star, text][splits].append(name)
    lines = []
    for (star, text), by_splits in having.items():
        places = [
            ", ".join(names) + (f" ({splits})" if splits else "") for splits, names in by_splits.items()
        ]
        first, names = next(iter(by_splits.items()))
        if len(names) == len(runs):
            places = [first] if first else []
        lines.append(f"{star}{'; '.join(places)}{': ' if places else ''}{text}")
    return lines


def _mapping_note(mapping: str) -> str:
    if mapping == "none":
        return "PLCC and RMSE are those without a mapping"
    return f"PLCC and RMSE are computed after the mapping '{mapping}', which is fitted to each test part"


def _is_few(summary: MetricsSummary, split: int) -> bool:
    """Return whether a split was measured on few videos, of any data set."""
    return any(one.n[split] < FEW_VIDEOS for one in (summary, *summary.datasets.values()))


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _figure(value: float) -> str:
    return f"{value:z.3f}".replace("-", "−") if isfinite(value) else NOTHING


def _short(name: str) -> str:
    """Return a name that fits a chart in a narrow window; long ones often differ at their end."""
    return name if len(name) <= 36 else f"{name[:13]}…{name[-22:]}"


def _p_value(value: float) -> str:
    return NOTHING if not isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _sort_value(value: float | None) -> float | str:
    """Return the value by which a column is sorted, empty where it is not defined."""
    return "" if value is None or not isfinite(value) else value


def write_report(report: Report, out: Path) -> Path:
    """Write the page atomically; its folder is made."""
    write_bytes(out, rendered(report).encode())
    return out


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder or an existing file, before any work."""
    if out.is_dir():
        raise ArgumentError(f"out is '{out}', which is a folder; name a file, as {out / 'report.html'}.")
    if out.exists() and not overwrite:
        raise ArgumentError(f"out is '{out}', which exists; pass --overwrite to replace it.")


def json_in_html(values: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element, whatever names it has; NaN becomes null."""
    return htmlsafe_json_dumps(without_nan(values), separators=(",", ":"), allow_nan=False)


def _shipped(name: str) -> str:
    return files("vqafeat.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
