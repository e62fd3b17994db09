"""Cells of groups: a head measured on one group of its test videos, by size, content or quality."""

from dataclasses import dataclass, replace
from math import isnan

from vqafeat.evaluation import GROUPINGS
from vqafeat.evaluation.groups import group_metrics, group_videos
from vqafeat.paper_tables.cells.base import CELL_TYPES, CellType, Measured, Task
from vqafeat.schema import NonEmpty, Texts
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import Summary
from vqafeat.training.run_config import RunConfig

# the range to which all labels are scaled; the threshold of Li et al. refers to it
_LOWEST, _HIGHEST = 1.0, 5.0


@CELL_TYPES.register("subset")
@dataclass(frozen=True)
class SubsetCell(CellType):
    """A head measured on one group of its test videos, with all labels on one range.

    Source: Li et al. (TCSVT 2022), section IV-C2, tables VII to IX.

    Attributes:
        by: a name in `GROUPINGS`.
        name: of the group.
        within: data sets whose videos the group may hold; empty for all.
        threshold: of the grouping `quality`, on the range 1 to 5.
    """

    by: str
    name: NonEmpty[str]
    within: Texts = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        GROUPINGS.get(self.by)

    def measured(self, task: Task) -> Measured:
        """Return the measure of the heads on the group's videos in their test parts."""
        run, group = task.fits.fit(task.request), self._group(task)
        rows = [row for row in run.predictions if row.part == "test" and row.video in group]
        scaled, splits = [_on_one_range(row, run.config) for row in rows], run.config.splits
        summary: Summary = getattr(group_metrics(scaled, splits, task.request.mapping), task.measure)
        few = sum(map(isnan, summary.values))
        note = f"{few} of {splits} splits have no value: their test parts have too few videos of the group"
        return Measured(summary, len(scaled) / splits, (run.path,), (note,) if few else ())

    def _group(self, task: Task) -> set[str]:
        """Return the names that the group's videos have in the run."""
        datasets, sources = task.request.datasets, task.fits.sources(task.request)
        group: set[str] = set()
        for dataset, source in zip(datasets, sources, strict=True):
            prefix = "" if len(sources) == 1 else f"{source.dataset.name}/"
            names = tuple(video.name for video in source.dataset.videos)
            if task.fits.stores.stands_in and self.by != "quality":
                # the demo data set has none of the paper's groups
                members = sorted(names)[::2]
            elif self.within and dataset not in self.within:
                members = []
            else:
                low, high = source.dataset.mos_range
                share = None if self.threshold is None else (self.threshold - _LOWEST) / (_HIGHEST - _LOWEST)
                threshold = None if share is None else low + share * (high - low)
                group_of = group_videos(self.by, source, names, threshold).of
                members = [video for video, name in group_of.items() if name == self.name]
            group.update(prefix + video for video in members)
        return group


def _on_one_range(row: Prediction, config: RunConfig) -> Prediction:
    """Return the row with label and score scaled from its data set's range to 1 to 5."""
    low, high = config.datasets[dataset_number(row.video, config.dataset_names)].mos_range
    slope = (_HIGHEST - _LOWEST) / (high - low)
    mos, score = (_LOWEST + slope * (value - low) for value in (row.mos, row.prediction))
    return replace(row, mos=mos, prediction=score)
