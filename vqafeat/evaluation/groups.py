"""The metrics of an evaluation for each group of its videos."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vqafeat.datasets import SPLIT_NAMES, load_manifest, manifest_names
from vqafeat.datasets.label_readers import read_table
from vqafeat.errors import ArgumentError
from vqafeat.evaluation import GROUPINGS
from vqafeat.evaluation.evaluate import Evaluation
from vqafeat.io import duplicates, summarize
from vqafeat.store.features import FeatureReader
from vqafeat.training.predictions import Prediction, summarise
from vqafeat.training.results import MetricsSummary

Value = TypeVar("Value")
FEWEST_TO_MEASURE = 3
_CSV_COLUMNS = ("video", "group")
_USE_CSV = "give the path of a CSV with the columns video,group"
_SHORT_SIDES = (480, 720, 1080)


@dataclass(frozen=True)
class Groups:
    """The groups of videos."""

    words: str  # what they are, for the title of a table
    order: tuple[str, ...]  # their names in the order of display
    of: Mapping[str, str]  # video → group, without the videos that are in none

    def __post_init__(self) -> None:
        if strange := sorted(set(self.of.values()) - set(self.order)):
            known = f"which are not in order ({', '.join(self.order)}); add them to it"
            raise ArgumentError(f"of names the groups {summarize(strange)}, {known}.")


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of one group, one value per head; NaN if it tested fewer than three of the videos."""

    name: str
    videos: int
    summary: MetricsSummary


@dataclass(frozen=True)
class GroupEvaluation:
    """An evaluation by groups with measured videos; `ungrouped` is how many of these are in no group."""

    by: str
    words: str
    groups: tuple[GroupMetrics, ...]
    ungrouped: int


def check_grouping(by: str, quality_threshold: float | None = None) -> None:
    """Refuse a wrong grouping before any video is measured."""
    if not _is_csv(by):
        GROUPINGS.get(by)
    elif not Path(by).is_file():
        problem = "is not a file" if Path(by).exists() else "does not exist"
        known = ", ".join(GROUPINGS)
        raise ArgumentError(f"by is '{by}', which {problem}; give the path of a CSV, or one of {known}.")
    if quality_threshold is not None and by != "quality":
        other = f"but the groups are by '{by}'; leave it out, or group by quality"
        raise ArgumentError(f"quality_threshold is {quality_threshold:g}, {other}.")


def _is_csv(by: str) -> bool:
    return by.lower().endswith(".csv")


def evaluate_groups(
    evaluation: Evaluation, source: FeatureReader, by: str, *, quality_threshold: float | None = None
) -> GroupEvaluation:
    """Return the metrics of each group of the measured videos; the mapping is fitted on the group alone.

    Source: Li et al. (TCSVT 2022), section IV-C, tables VII (`resolution`), VIII (`class`), IX (`quality`).
    `by` is the name of a grouping, or the path of a CSV with the columns video,group.
    """
    videos = tuple(dict.fromkeys(row.video for row in evaluation.predictions))
    grouped = group_videos(by, source, videos, quality_threshold)
    groups = []
    for name in grouped.order:
        rows = [row for row in evaluation.predictions if grouped.of.get(row.video) == name]
        if rows:
            summary = group_metrics(rows, len(evaluation.summary.n), evaluation.mapping)
            if evaluation.across_scales:
                summary = summary.across_scales()
            groups.append(GroupMetrics(name, len({row.video for row in rows}), summary))
    return GroupEvaluation(by, grouped.words, tuple(groups), sum(video not in grouped.of for video in videos))


def group_videos(
    by: str, source: FeatureReader, videos: Sequence[str], quality_threshold: float | None = None
) -> Groups:
    """Return the groups of some videos of a store; arguments and errors as in `evaluate_groups`."""
    check_grouping(by, quality_threshold)
    if _is_csv(by):
        return _by_csv(videos, Path(by))
    options = {} if quality_threshold is None else {"threshold": quality_threshold}
    return GROUPINGS.get(by)(source, videos, **options)  # type: ignore[no-any-return]


def group_metrics(rows: Sequence[Prediction], heads: int, mapping: str) -> MetricsSummary:
    """Return the metrics of some test videos, one value per head; NaN where it tested fewer than three."""
    return summarise(rows, heads, mapping, [], fewest=FEWEST_TO_MEASURE)


def by_resolution(source: FeatureReader, videos: Sequence[str]) -> Groups:
    """1080p, 720p, <=480p as in table VII of Li et al., and the others.

    On the published sizes of KoNViD-1k, LIVE-VQC and YouTube-UGC without its 57 grey videos, these limits
    give the paper's numbers, 427, 566 and 448 videos. The other videos, such as the 540p of KoNViD-1k, are in
    none of its classes.
    """
    of = {video: _li_class(*size) for video, size in _sizes(source, videos).items()}
    words = "1080p is 1920x1080, 720p is 1280x720, <=480p fits in 720x480, as in table VII of Li et al."
    return Groups(f"{words}; 'other' is the rest", ("1080p", "720p", "<=480p", "other"), of)


def _li_class(width: int, height: int) -> str:
    if (width, height) == (1920, 1080):
        return "1080p"
    if (width, height) == (1280, 720):
        return "720p"
    return "<=480p" if width <= 720 and height <= 480 else "other"


def by_short_side(source: FeatureReader, videos: Sequence[str]) -> Groups:
    """Shorter side at most 480, 720 or 1080 samples, or more."""
    names = (*(f"<={side}p" for side in _SHORT_SIDES), f">{_SHORT_SIDES[-1]}p")
    sizes = _sizes(source, videos)
    of = {video: names[bisect_left(_SHORT_SIDES, min(size))] for video, size in sizes.items()}
    return Groups("by the shorter side in samples; each class excludes the ones before it", names, of)


def by_class(source: FeatureReader, videos: Sequence[str]) -> Groups:
    """Content class, if the video names contain it (youtube-ugc)."""
    dataset = source.dataset.name
    manifest = load_manifest(dataset) if dataset in manifest_names() else None
    if manifest is None or not manifest.class_pattern:
        able = ", ".join(name for name in manifest_names() if load_manifest(name).class_pattern)
        message = f"names in '{dataset}' do not contain the content class (those of {able} do)"
        raise ArgumentError(f"by is 'class', but {message}; {_USE_CSV}.")
    of = _complete({video: manifest.class_of(video) for video in videos}, "a content class in their name")
    return Groups(f"content classes in the names of '{dataset}'", tuple(sorted(set(of.values()))), of)


def by_quality(source: FeatureReader, videos: Sequence[str], threshold: float | None = None) -> Groups:
    """Low and high; `threshold` is the smallest high label, by default the middle of the data set's range."""
    dataset = source.dataset
    low, high = dataset.mos_range
    threshold = (low + high) / 2 if threshold is None else threshold
    if not low < threshold <= high:
        allowed = f"it has to be above {low:g} and at most {high:g}, the range of '{dataset.name}'"
        raise ArgumentError(f"quality_threshold is {threshold:g}; {allowed}.")
    mos = {video.name: video.mos for video in dataset.videos}
    of = {video: "low" if mos[video] < threshold else "high" for video in videos}
    return Groups(f"low is {dataset.score_name} below {threshold:g}, high is the rest", ("low", "high"), of)


def by_part(source: FeatureReader, videos: Sequence[str]) -> Groups:
    """Official part of the data set."""
    parts = {video.name: video.split for video in source.dataset.videos}
    of = _complete({video: parts[video] for video in videos}, "an official part")
    return Groups(f"official parts of '{source.dataset.name}'", SPLIT_NAMES, of)


def _by_csv(videos: Sequence[str], path: Path) -> Groups:
    table = read_table(path)
    if table.header != _CSV_COLUMNS:
        columns, required = ",".join(table.header), ",".join(_CSV_COLUMNS)
        raise ArgumentError(f"'{path}' has the columns {columns}; groups are a CSV with {required}.")
    rows = [(video, group) for _, (video, group) in table.rows]
    if twice := duplicates([video for video, _ in rows]):
        count = f"more than one row for {len(twice)} video(s) (first: {twice[0]})"
        raise ArgumentError(f"'{path}' has {count}; keep one row per video.")
    group_of = dict(rows)
    next_step = "add them, with an empty group if they belong to none"
    _complete({video: group_of.get(video) for video in videos}, f"a row in '{path}'", next_step)
    of = {video: group for video, group in group_of.items() if group}
    return Groups(f"groups of '{path}'", tuple(dict.fromkeys(of.values())), of)


def _sizes(source: FeatureReader, videos: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return video → (width, height) in samples, as shown."""
    sizes: dict[str, tuple[int, int] | None] = {}
    for video in videos:
        known = source.source(video) or {}
        sizes[video] = (int(known["width"]), int(known["height"])) if "width" in known else None
    return _complete(sizes, "a stored size of frames", f"extract instead of importing, or {_USE_CSV}")


def _complete(values: Mapping[str, Value | None], what: str, next_step: str = _USE_CSV) -> dict[str, Value]:
    """Return the values of the videos; refuse where a video has None."""
    if missing := [video for video, value in values.items() if value is None]:
        count = f"{len(missing)} of the {len(values)} measured videos lack {what} (first: {missing[0]})"
        raise ArgumentError(f"{count}; {next_step}.")
    return {video: value for video, value in values.items() if value is not None}
