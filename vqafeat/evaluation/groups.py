"""The metrics of an evaluation for each group of its videos: by resolution, content class, quality, official
part, or one's own CSV.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from vqafeat.datasets import SPLIT_NAMES, load_manifest, manifest_names
from vqafeat.datasets.dataset import duplicates, summarize
from vqafeat.datasets.label_readers import read_table
from vqafeat.errors import ArgumentError
from vqafeat.evaluation.evaluate import Evaluation
from vqafeat.metrics import evaluate_predictions
from vqafeat.registry import Registry
from vqafeat.training.data import FeatureReader
from vqafeat.training.predictions import Prediction, calibrated_rmse
from vqafeat.training.results import MEASURES, MetricsSummary, Summary, numbered_notes

FEWEST_TO_MEASURE = 3
CSV_COLUMNS = ("video", "group")
OTHER = "other"
# table VII of Li et al., frames as shown: (class, whether a width and height belong to it)
_LI_CLASSES: tuple[tuple[str, Callable[[int, int], bool]], ...] = (
    ("1080p", lambda width, height: (width, height) == (1920, 1080)),
    ("720p", lambda width, height: (width, height) == (1280, 720)),
    ("<=480p", lambda width, height: width <= 720 and height <= 480),
)
_SHORT_SIDES = (480, 720, 1080)
_SHORT_SIDE_NAMES = ("<=480p", "<=720p", "<=1080p", ">1080p")


@dataclass(frozen=True)
class GroupRequest:
    """What a grouping may look at.

    Attributes:
        source: the feature store that was measured on.
        videos: names of those that were measured.
        quality_threshold: label that parts low from high quality; None is the middle of the data set's range.
    """

    source: FeatureReader
    videos: tuple[str, ...]
    quality_threshold: float | None = None


@dataclass(frozen=True)
class Groups:
    """Which group each video is in.

    Attributes:
        words: what the groups are.
        order: of the groups when they are shown.
        of: video → group; a video that is not there is in none.

    Raises:
        ArgumentError: a video's group is not in `order`.
    """

    words: str
    order: tuple[str, ...]
    of: Mapping[str, str]

    def __post_init__(self) -> None:
        if strange := sorted(set(self.of.values()) - set(self.order)):
            raise ArgumentError(
                f"of names the groups {summarize(strange)}, which order ({', '.join(self.order)}) lacks; "
                f"name each in it."
            )


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of one group, one value a head; NaN where a head was measured on fewer than three of its
    videos.
    """

    name: str
    videos: int
    summary: MetricsSummary


@dataclass(frozen=True)
class Subsets:
    """An evaluation by groups.

    Attributes:
        by: name of the grouping, or path of the CSV.
        words: what the groups are.
        groups: those with measured videos.
        ungrouped: measured videos that are in no group.
    """

    by: str
    words: str
    groups: tuple[GroupMetrics, ...]
    ungrouped: int


@dataclass(frozen=True)
class Grouping:
    """A way to group videos, described for `vqafeat list groupings`."""

    described: str
    group: Callable[[GroupRequest], Groups]


GROUPINGS: Registry[Grouping] = Registry("grouping")


def check_grouping(by: str, quality_threshold: float | None = None) -> None:
    """Refuse what cannot group any videos, before they are measured.

    Raises:
        ArgumentError: the CSV is no file, or there is a threshold for another grouping than `quality`.
        UnknownNameError: there is no such grouping.
    """
    if _is_csv(by) and not Path(by).is_file():
        raise ArgumentError(
            f"by is '{by}', which is no file; give the path of a CSV, or one of {', '.join(GROUPINGS)}."
        )
    if not _is_csv(by):
        GROUPINGS.get(by)
    if quality_threshold is not None and by != "quality":
        raise ArgumentError(
            f"quality_threshold is {quality_threshold:g}, but the groups are by '{by}'; leave it out, or "
            f"group by quality."
        )


def _is_csv(by: str) -> bool:
    return by.lower().endswith(".csv")


def measure_subsets(
    evaluation: Evaluation, source: FeatureReader, by: str, *, quality_threshold: float | None = None
) -> Subsets:
    """Return the metrics of each group of the measured videos, head by head; PLCC's logistic is fitted on the
    group alone.

    Source: Li et al. (TCSVT 2022), section IV-C, tables VII (`resolution`), VIII (`class`) and IX
        (`quality`).

    Args:
        evaluation: of a run on `source`.
        source: the feature store that was measured on.
        by: name of a grouping, or path of a CSV with the columns video,group.
        quality_threshold: for `quality` alone.

    Raises:
        ArgumentError: a measured video lacks what it is grouped by, the CSV is not as it should be, or the
            threshold is not allowed.
        UnknownNameError: there is no such grouping.
        DatasetError: the CSV cannot be read.
    """
    check_grouping(by, quality_threshold)
    ask = GroupRequest(
        source, tuple(dict.fromkeys(row.video for row in evaluation.predictions)), quality_threshold
    )
    found = _groups_of_csv(Path(by), ask) if _is_csv(by) else GROUPINGS.get(by).group(ask)
    members = {name: [video for video in ask.videos if found.of.get(video) == name] for name in found.order}
    groups = tuple(
        GroupMetrics(name, len(videos), _summary(evaluation, videos))
        for name, videos in members.items()
        if videos
    )
    return Subsets(by, found.words, groups, sum(video not in found.of for video in ask.videos))


def _summary(evaluation: Evaluation, videos: Sequence[str]) -> MetricsSummary:
    heads, wanted = len(evaluation.summary.n), set(videos)
    own: list[list[Prediction]] = [[] for _ in range(heads)]
    for row in evaluation.predictions:
        if row.video in wanted:
            own[row.split].append(row)
    measured = {
        head: evaluate_predictions(
            [row.prediction for row in rows], [row.mos for row in rows], mapping=evaluation.mapping
        )
        for head, rows in enumerate(own)
        if len(rows) >= FEWEST_TO_MEASURE
    }
    few = heads - len(measured)
    notes = (
        [
            f"{few} of {heads} heads not measured: fewer than {FEWEST_TO_MEASURE} of the group's videos are "
            f"in the split"
        ]
        if few
        else []
    )
    notes += numbered_notes([measured[head].note if head in measured else "" for head in range(heads)])
    spreads = {
        name: Summary.of(
            [getattr(measured[head], name) if head in measured else nan for head in range(heads)]
        )
        for name in (*MEASURES, "plcc_plain", "rmse_plain")
    }
    spreads["rmse_calibrated"] = Summary.of(
        [calibrated_rmse(rows) if head in measured else nan for head, rows in enumerate(own)]
    )
    return MetricsSummary(**spreads, n=tuple(map(len, own)), notes=tuple(notes), datasets={})


# --- groupings
# ----------------------------------------------------------------------------------------------------------------------


def _by_resolution(ask: GroupRequest) -> Groups:
    """Group by the classes of table VII.

    With the 57 grey videos of YouTube-UGC left out, these borders give the paper's numbers, 427, 566 and 448
    videos, on the published sizes of KoNViD-1k, LIVE-VQC and YouTube-UGC; all other videos, among them the
    whole 540p of KoNViD-1k, are in none of its classes.
    """

    def kind(size: tuple[int, int]) -> str:
        return next((name for name, belongs in _LI_CLASSES if belongs(*size)), OTHER)

    words = f"1080p is 1920x1080, 720p is 1280x720, <=480p fits in 720x480, as in table VII of Li et al.; '{OTHER}' are in none of these"
    return Groups(
        words,
        (*(name for name, _ in _LI_CLASSES), OTHER),
        {video: kind(size) for video, size in _sizes(ask).items()},
    )


def _by_short_side(ask: GroupRequest) -> Groups:
    of = {
        video: _SHORT_SIDE_NAMES[bisect_left(_SHORT_SIDES, min(size))] for video, size in _sizes(ask).items()
    }
    return Groups("by the shorter side in samples, each class without the ones before", _SHORT_SIDE_NAMES, of)


def _by_class(ask: GroupRequest) -> Groups:
    dataset = ask.source.dataset.name
    manifest = load_manifest(dataset) if dataset in manifest_names() else None
    if manifest is None or not manifest.class_pattern:
        able = ", ".join(name for name in manifest_names() if load_manifest(name).class_pattern)
        raise ArgumentError(
            f"by is 'class', but names in '{dataset}' do not tell the content class (those of {able} do); "
            "give the path of a CSV with the columns video,group."
        )
    found = {video: manifest.class_of(video) for video in ask.videos}
    _refuse_without(
        [video for video, name in found.items() if name is None], ask, "a content class in their name"
    )
    of = {video: name for video, name in found.items() if name is not None}
    return Groups(f"content classes that names in '{dataset}' hold", tuple(sorted(set(of.values()))), of)


def _by_quality(ask: GroupRequest) -> Groups:
    dataset = ask.source.dataset
    low, high = dataset.mos_range
    threshold = (low + high) / 2 if ask.quality_threshold is None else ask.quality_threshold
    if not low < threshold <= high:
        raise ArgumentError(
            f"quality_threshold is {threshold:g}; it has to be above {low:g} and at most {high:g}, the "
            f"range of '{dataset.name}'."
        )
    mos = {video.name: video.mos for video in dataset.videos}
    of = {video: "low" if mos[video] < threshold else "high" for video in ask.videos}
    return Groups(f"low is {dataset.score_name} below {threshold:g}, high the rest", ("low", "high"), of)


def _by_part(ask: GroupRequest) -> Groups:
    parts = {video.name: video.split for video in ask.source.dataset.videos}
    _refuse_without([video for video in ask.videos if parts[video] is None], ask, "an official part")
    of = {video: str(parts[video]) for video in ask.videos}
    return Groups(f"official parts of '{ask.source.dataset.name}'", SPLIT_NAMES, of)


GROUPINGS.add(
    "resolution", Grouping("1080p, 720p, <=480p as in table VII of Li et al., and the others", _by_resolution)
)
GROUPINGS.add(
    "short-side", Grouping("shorter side at most 480, 720 or 1080 samples, or more", _by_short_side)
)
GROUPINGS.add("class", Grouping("content class, where the data set's names hold it (youtube-ugc)", _by_class))
GROUPINGS.add("quality", Grouping("low and high, parted at a label", _by_quality))
GROUPINGS.add("part", Grouping("official part of the data set", _by_part))


def _groups_of_csv(path: Path, ask: GroupRequest) -> Groups:
    """Return the groups that a CSV with the columns video,group names; a video with an empty group is in
    none.
    """
    table = read_table(path)
    if table.header != CSV_COLUMNS:
        raise ArgumentError(
            f"'{path}' has the columns {','.join(table.header)}; groups are a CSV with "
            f"{','.join(CSV_COLUMNS)}."
        )
    rows = [(video, group) for _, (video, group) in table.rows]
    if twice := duplicates([video for video, _ in rows]):
        raise ArgumentError(
            f"'{path}' has more than one row for {len(twice)} video(s) (first: {twice[0]}); keep one row a "
            f"video."
        )
    named = {video for video, _ in rows}
    missing = [video for video in ask.videos if video not in named]
    _refuse_without(
        missing, ask, f"a row in '{path}'", "add them, with an empty group where they belong to none"
    )
    return Groups(
        f"groups of '{path}'",
        tuple(dict.fromkeys(group for _, group in rows if group)),
        {v: g for v, g in rows if g},
    )


def _sizes(ask: GroupRequest) -> dict[str, tuple[int, int]]:
    """Return video → (width, height) in samples, as shown."""
    known = {video: ask.source.source(video) or {} for video in ask.videos}
    missing = [video for video, source in known.items() if not {"width", "height"} <= source.keys()]
    _refuse_without(
        missing,
        ask,
        "a stored size of frames",
        "extract instead of importing, or give a CSV with the columns video,group",
    )
    return {video: (int(source["width"]), int(source["height"])) for video, source in known.items()}


def _refuse_without(videos: Sequence[str], ask: GroupRequest, what: str, next_step: str = "") -> None:
    if videos:
        raise ArgumentError(
            f"{len(videos)} of the {len(ask.videos)} measured videos lack {what} (first: {videos[0]}); "
            f"{next_step or 'give the path of a CSV with the columns video,group'}."
        )
