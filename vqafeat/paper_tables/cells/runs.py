"""Cells of runs: a fit on its splits, other videos or a group; comparisons of two fits; averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt
from scipy.stats import entropy

from vqafeat.datasets.dataset import SplitName
from vqafeat.errors import ArgumentError
from vqafeat.evaluation import GROUPINGS
from vqafeat.evaluation.compare import ensemble
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.groups import group_metrics, group_videos
from vqafeat.evaluation.model import Model
from vqafeat.paper_tables.table import CELL_TYPES, CellResult, CellType, Measured, TableFit, Task
from vqafeat.schema import NonEmpty, Texts
from vqafeat.statistics import PairedTest, paired_test
from vqafeat.store.features import FeatureReader
from vqafeat.training.fit_videos import draw_splits
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import EVERY_MEASURE, Summary
from vqafeat.training.run import Run


@CELL_TYPES.register("fit")
@dataclass(frozen=True)
class _FitCell(CellType):
    """A head on its splits; of several data sets, on `member`, or the average weighted by test videos."""

    member: str = ""

    def measured(self, task: Task) -> Measured:
        datasets = task.request.datasets
        if self.member and (self.member not in datasets or len(datasets) < 2):
            known = ", ".join(datasets)
            raise ArgumentError(f"member is '{self.member}'; name one of several data sets, here {known}.")
        run = task.fits.fit(task.request)
        # by position, because shares of the demo data set have other names
        members = list(run.metrics.datasets.values())
        summary = members[datasets.index(self.member)] if self.member else run.metrics
        return Measured.of(summary, task.measure, (run.path,))


def _evaluated(task: Task, run: Run, source: FeatureReader, part: str | None = None) -> Measured:
    mapping, skip_missing = task.request.mapping, task.fits.skip_missing
    evaluation = evaluate(run.path, source, mapping=mapping, part=part, skip_missing=skip_missing)
    return Measured.of(evaluation.summary, task.measure, (run.path,))


@CELL_TYPES.register("cross")
@dataclass(frozen=True)
class _CrossCell(CellType):
    """A head measured on all videos of another data set, `test`."""

    test: NonEmpty[str]

    def requests(self, request: TableFit) -> tuple[TableFit, ...]:
        return request, request.changed({"datasets": self.test})

    def measured(self, task: Task) -> Measured:
        run = task.fits.fit(task.request, [self.test])
        return _evaluated(task, run, task.fits.sources(task.request, [self.test])[-1])


@CELL_TYPES.register("part")
@dataclass(frozen=True)
class _PartCell(CellType):
    """A head measured on all videos of the official part `name`."""

    name: SplitName

    def measured(self, task: Task) -> Measured:
        run = task.fits.fit(task.request)
        return _evaluated(task, run, task.fits.joined(task.request), self.name)


@dataclass(frozen=True)
class _PairedRuns(CellType):
    """Base class of cells that compare a run with one that differs in the values `against`."""

    against: NonEmpty[Mapping[str, Any]]

    def requests(self, request: TableFit) -> tuple[TableFit, ...]:
        return request, request.changed(self.against)

    def tested(self, task: Task, measure: str, test: str) -> tuple[PairedTest, tuple[Path, ...]]:
        """Return the paired test over the splits, and the folders of both runs."""
        runs = [task.fits.fit(request) for request in self.requests(task.request)]
        first, second = (getattr(run.metrics, measure).values for run in runs)
        return paired_test(first, second, test), tuple(run.path for run in runs)


@CELL_TYPES.register("paired")
@dataclass(frozen=True)
class _PairedCell(_PairedRuns):
    """The p of a paired test of the measure `of` over the splits (Fang et al., section V-C)."""

    measures = ("p",)

    of: str = "srocc"
    test: Literal["t", "wilcoxon"] = "t"

    def __post_init__(self) -> None:
        if self.of not in EVERY_MEASURE:
            raise ArgumentError(f"of is '{self.of}'; it has to be one of {', '.join(EVERY_MEASURE)}.")

    def measured(self, task: Task) -> Measured:
        tested, runs = self.tested(task, self.of, self.test)
        return Measured(Summary.of([tested.p]), runs=runs, notes=(tested.note,) if tested.note else ())


@CELL_TYPES.register("difference")
@dataclass(frozen=True)
class _DifferenceCell(_PairedRuns):
    """The mean difference from another run over the splits."""

    def measured(self, task: Task) -> Measured:
        tested, runs = self.tested(task, task.measure, "t")
        return Measured(Summary.of([tested.mean_difference]), runs=runs)


@CELL_TYPES.register("improvement")
@dataclass(frozen=True)
class _ImprovementCell(_PairedRuns):
    """How far the SROCC of the run `against` is above the cell's own, in percent of it (A2INet, table 5)."""

    measures = ("gain",)

    def measured(self, task: Task) -> Measured:
        runs = [task.fits.fit(request) for request in self.requests(task.request)]
        own, other = (run.metrics.srocc.median for run in runs)
        gain = 100 * (other / own - 1) if own else nan
        return Measured(Summary.of([gain]), runs=tuple(run.path for run in runs))


@CELL_TYPES.register("ensemble")
@dataclass(frozen=True)
class _EnsembleCell(CellType):
    """The blended scores of a run and of one that differs in the values `second`, or the κ of these."""

    measures = (*EVERY_MEASURE, "kappa")

    second: NonEmpty[Mapping[str, Any]]

    def requests(self, request: TableFit) -> tuple[TableFit, ...]:
        return request, request.changed(self.second)

    def measured(self, task: Task) -> Measured:
        first, second = (task.fits.fit(request) for request in self.requests(task.request))
        blend = ensemble(first.path, second.path, mapping=task.request.mapping)
        kappas, runs = ", ".join(f"{kappa:.2f}" for kappa in blend.kappas), (first.path, second.path)
        if task.measure == "kappa":
            return Measured(Summary.of(blend.kappas), runs=runs)
        measured = Measured.of(blend.summary, task.measure, runs)
        return replace(measured, notes=(*measured.notes, f"kappa {kappas} ({blend.selection})"))


@CELL_TYPES.register("weighted")
@dataclass(frozen=True)
class _WeightedCell(CellType):
    """The average of the other cells of the row, weighted by their videos (Li et al., table III)."""

    reads_features = False

    def measured(self, task: Task) -> Measured:
        return average(task.peers)


def average(peers: Sequence[CellResult]) -> Measured:
    """Return the average of measured cells, weighted by the videos of each."""
    cells = [(peer, peer.measured) for peer in peers if peer.measured]
    if len(cells) < len(peers) or not cells:
        raise ArgumentError(f"{len(cells)} of {len(peers)} cells to average are measured; run the others.")

    def weighted(values: Sequence[float]) -> Summary:
        return Summary.of([float(np.average(values, weights=[measured.videos for _, measured in cells]))])

    plain = [peer.statistic_of(measured.plain) for peer, measured in cells if measured.plain]
    return Measured(
        spread=weighted([peer.value for peer in peers]),
        runs=tuple(run for _, measured in cells for run in measured.runs),
        plain=weighted(plain) if len(plain) == len(cells) else None,
    )


# data set → slope and offset of INLSA's calibration in VIDEVAL's demo_eval_BVQA_feats_all_combined.py:
# 5 − 4(−0.0993 + 1.1241(5 − y)/4), 5 − 4(0.0253 + 0.7132(100 − y)/100), and YouTube-UGC as it is
_INLSA = {"konvid": (1.1241, -0.2233), "live-vqc": (0.028528, 2.046), "youtube-ugc": (1.0, 0.0)}
# the range to which other labels are scaled
_LOWEST, _HIGHEST = 1.0, 5.0


@CELL_TYPES.register("subset")
@dataclass(frozen=True)
class SubsetCell(CellType):
    """A head measured on one group of its test videos, with labels and scores of all data sets on 1 to 5.

    Source: Li et al. (TCSVT 2022), section IV-C2, tables VII to IX, who follow VIDEVAL.
    """

    by: str  # a name in `GROUPINGS`
    name: NonEmpty[str]  # of the group
    within: Texts = ()  # data sets whose videos the group may hold; empty for all
    # of `quality`: the smallest high label, or "median" of all labels, which is low itself; None is the
    # middle of the range
    threshold: float | Literal["median"] | None = None
    # from each data set's range to 1 to 5, or as VIDEVAL's INLSA calibration has it
    calibration: Literal["range", "inlsa"] = "range"

    def __post_init__(self) -> None:
        GROUPINGS.get(self.by)
        if self.threshold is not None and self.by != "quality":
            raise ArgumentError(f"threshold is {self.threshold}; leave it out, or group by quality.")
        if isinstance(self.threshold, float) and not _LOWEST < self.threshold <= _HIGHEST:
            allowed = f"it has to be above {_LOWEST:g} and at most {_HIGHEST:g}, or median"
            raise ArgumentError(f"threshold is {self.threshold:g}; {allowed}.")

    def measured(self, task: Task) -> Measured:
        """Return the measure of the heads on the group's videos in their test parts."""
        group, lines, run = self.group(task), self.lines(task), task.fits.fit(task.request)
        names, splits, scaled = run.config.dataset_names, run.config.splits, list[Prediction]()
        for row in run.predictions:
            if row.part == "test" and row.video in group:
                line = lines[dataset_number(row.video, names)]
                values = row.mos, row.prediction, row.score
                mos, prediction, score = (_on_line(value, line) for value in values)
                scaled.append(replace(row, mos=mos, prediction=prediction, score=score))
        summary: Summary = getattr(group_metrics(scaled, splits, task.request.mapping), task.measure)
        few = sum(map(isnan, summary.values))
        note = f"{few} of {splits} splits have no value: their test parts have too few videos of the group"
        return Measured(summary, len(scaled) / splits, (run.path,), (note,) if few else ())

    def lines(self, task: Task) -> list[tuple[float, float]]:
        """Return the slope and offset that bring the labels of each data set to the common scale."""
        if self.calibration == "inlsa" and not task.fits.stores.stands_in:
            if unknown := [dataset for dataset in task.request.datasets if dataset not in _INLSA]:
                known = f"it is known for {', '.join(_INLSA)}; take range"
                raise ArgumentError(f"calibration is inlsa, which has no line for {unknown[0]}; {known}.")
            return [_INLSA[dataset] for dataset in task.request.datasets]
        ranges = [source.dataset.mos_range for source in task.fits.sources(task.request)]
        slopes = [(_HIGHEST - _LOWEST) / (high - low) for low, high in ranges]
        return [(slope, _LOWEST - slope * low) for slope, (low, _) in zip(slopes, ranges, strict=True)]

    def group(self, task: Task) -> set[str]:
        """Return the names that the group's videos have in the run."""
        groups, labels, sources = dict[str, str](), dict[str, float](), task.fits.sources(task.request)
        for dataset, source, line in zip(task.request.datasets, sources, self.lines(task), strict=True):
            prefix = "" if len(sources) == 1 else f"{source.dataset.name}/"
            names = [video.name for video in source.dataset.videos]
            labels |= {prefix + video.name: _on_line(video.mos, line) for video in source.dataset.videos}
            if task.fits.stores.stands_in and self.by != "quality":
                # the demo data set has none of the paper's groups
                of: Mapping[str, str] = dict.fromkeys(sorted(names)[::2], self.name)
            elif self.within and dataset not in self.within:
                of = {}
            elif self.by == "quality":
                of = dict.fromkeys(names, "")
            else:
                of = group_videos(self.by, source, names).of
            groups |= {prefix + video: name for video, name in of.items()}
        if self.by == "quality":
            least_high = self._least_high(list(labels.values()))
            groups = {video: "low" if labels[video] < least_high else "high" for video in groups}
        return {video for video, name in groups.items() if name == self.name}

    def _least_high(self, labels: Sequence[float]) -> float:
        if self.threshold == "median":
            return float(np.nextafter(np.median(labels), np.inf))
        return (_LOWEST + _HIGHEST) / 2 if self.threshold is None else self.threshold


def _on_line(value: float, line: tuple[float, float]) -> float:
    slope, offset = line
    return offset + slope * value


@CELL_TYPES.register("curve")
@dataclass(frozen=True)
class _CurveCell(CellType):
    """A value for each frame of a video, which a figure draws as a curve (A2INet, figure 1(b)).

    The entropy is that of the channels' shares in a frame's mean activations, in bits. The score is of the
    first split's head, without temporal pooling.
    """

    measures = ("entropy", "score")

    # the video has the highest or the lowest MOS in the test part of the first split
    mos: Literal["highest", "lowest"]
    rank: PositiveInt = 1  # 1 for the highest or lowest itself, 2 for the next

    def measured(self, task: Task) -> Measured:
        source, fit = task.fits.joined(task.request), task.fits.stores.adapt(task.request)
        complete, videos = source.complete_videos(fit.features), source.dataset.videos
        (first, *_), _ = draw_splits(source.datasets, fit.config)
        test = [videos[row] for row in first.test if videos[row].name in complete]
        if self.rank > len(test):
            raise ArgumentError(f"rank is {self.rank}; the test part has {len(test)} videos with features.")
        test.sort(key=lambda video: video.mos, reverse=self.mos == "highest")
        video, runs = test[self.rank - 1], tuple[Path, ...]()
        rows = source.read(fit.features, video.name).values
        if task.measure == "entropy":
            means = np.abs(rows[:, : rows.shape[1] // 2].astype(np.float64))
            values = np.asarray(entropy(means, base=2, axis=1))
        else:
            runs = (task.fits.fit(task.request).path,)
            values = Model.load(runs[0], final=False).frame_scores(rows, splits=0, pooled=False)
        note = f"{self.mos} MOS, {self.rank}: '{video.name}' with {video.mos:g}"
        return Measured(Summary.of(values.tolist()), runs=runs, notes=(note,))
