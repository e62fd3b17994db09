"""Cells of groups: a head measured on one group of its test videos, by size, content or quality."""

from dataclasses import dataclass, replace
from math import isnan

from vqafeat.errors import ArgumentError
from vqafeat.evaluation import GROUPINGS
from vqafeat.evaluation.groups import group_metrics, group_videos
from vqafeat.paper_tables.cells.base import CellOptions, Measured, Task, cell_type
from vqafeat.training.joint_store import strip_dataset_prefix
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import Summary
from vqafeat.training.run import Run

# labels of all data sets are brought to this range, as the threshold of Li et al. is stated on it
_COMMON = (1.0, 5.0)


@dataclass(frozen=True)
class SubsetOptions(CellOptions):
    """The group.

    Attributes:
        by: name of a grouping, as in `vqafeat list groupings`.
        name: of the group.
        within: data sets whose videos can be in it; all, where none is named.
        threshold: of the grouping `quality`, on the common range 1 to 5.
    """

    by: str = ""
    name: str = ""
    within: tuple[str, ...] = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        GROUPINGS.get(self.by)
        if not self.name:
            raise ArgumentError(f"name of the group is empty; name one that the grouping '{self.by}' makes.")


@cell_type("subset", "measured on one group of the test videos", SubsetOptions)
def measure_subset(task: Task) -> Measured:
    """Fit, or find the run, and measure each head on the group's videos in its test part, on one common range
    of labels.

    Source: Li et al. (TCSVT 2022), section IV-C2, tables VII to IX.
    """
    run, group = task.fits.fit(task.request), _group(task)
    rows = [row for row in run.predictions if row.part == "test" and row.video in group]
    scaled = _on_common_range(run, rows)
    splits = run.config.splits
    summary: Summary = getattr(group_metrics(scaled, splits, task.request.mapping), task.cell.measure)
    few = sum(map(isnan, summary.values))
    note = f"{few} of {splits} splits have no value: too few of the group's videos are in their test part"
    return Measured(summary, len(scaled) / splits, (run.path,), (note,) if few else ())


def _on_common_range(run: Run, rows: list[Prediction]) -> list[Prediction]:
    """Return the rows with labels and scores brought from each data set's range to the common one."""
    datasets, scaled = run.config.datasets, []
    for one in datasets:
        low, high = one.mos_range
        slope = (_COMMON[1] - _COMMON[0]) / (high - low)
        for row in rows:
            if len(datasets) == 1 or strip_dataset_prefix([row.video], one.name):
                mos, score = (_COMMON[0] + slope * (value - low) for value in (row.mos, row.prediction))
                scaled.append(replace(row, mos=mos, prediction=score))
    return scaled


def _group(task: Task) -> set[str]:
    """Return the names that the group's videos have in the run."""
    request, options = task.request, task.cell.options
    sources = task.fits.datasets(request)
    group: set[str] = set()
    for dataset, source in zip(request.datasets, sources, strict=True):
        prefix = "" if len(sources) == 1 else f"{source.dataset.name}/"
        names = tuple(video.name for video in source.dataset.videos)
        if task.fits.stores.stands_in and options.by != "quality":
            # no group of the paper is in the stand-in; every second video does for one
            group_of = dict.fromkeys(sorted(names)[::2], options.name)
        elif options.within and dataset not in options.within:
            group_of = {}
        else:
            threshold = _threshold(options, source.dataset.mos_range)
            group_of = dict(group_videos(options.by, source, names, threshold).of)
        group |= {f"{prefix}{video}" for video, name in group_of.items() if name == options.name}
    return group


def _threshold(options: SubsetOptions, mos_range: tuple[float, float]) -> float | None:
    if options.threshold is None:
        return None
    share = (options.threshold - _COMMON[0]) / (_COMMON[1] - _COMMON[0])
    return mos_range[0] + share * (mos_range[1] - mos_range[0])
