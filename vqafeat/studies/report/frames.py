"""Scores of the frames of a run's worst videos, computed from the feature store."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np

from vqafeat.errors import StoreError, WeightsError
from vqafeat.modeling.rows import selected
from vqafeat.modeling.sampling import VideoRows, rows_in_testing
from vqafeat.modeling.sequences import fuse, split_feature_sets
from vqafeat.modeling.trained import TrainedModel
from vqafeat.places import Place
from vqafeat.store import FeatureStore, store_path
from vqafeat.studies.report.page import FrameCurve, ReportRun

MOST_POINTS = 1500  # more than a screen has columns
_SECOND_DIGITS, _SCORE_DIGITS = 4, 6


def with_frame_curves(run: ReportRun, folder: Path, store: Place, most: int) -> ReportRun:
    """Return a run with the curves of its worst test videos; what the store does not hold becomes a note."""
    curves: list[FrameCurve] = []
    notes = list(run.notes)
    for dataset in [one.name for one in run.datasets]:
        share = -(-most // len(run.datasets))
        worst = [video for video in worst_videos(run) if run.videos[video].dataset == dataset][:share]
        try:
            curves += _curves(run, TrainedModel.load(folder, dataset), FeatureStore.open(store_path(store, dataset)), worst)
        except (StoreError, WeightsError) as error:
            notes.append(f"no scores of frames for '{dataset}': {error}")
    return replace(run, frames=tuple(curves[:most]), notes=tuple(notes))


def worst_videos(run: ReportRun) -> list[int]:
    """Return the run's test videos, those with the largest mean error over their splits first."""
    errors: dict[int, list[float]] = {}
    for part, video, error in zip(run.scores.part, run.scores.video, run.scores.error, strict=True):
        if part == "test" and isfinite(error):
            errors.setdefault(video, []).append(error)
    means = {video: abs(float(np.mean(own))) for video, own in errors.items()}
    return sorted(means, key=lambda video: (-means[video], run.videos[video].name))


def _curves(run: ReportRun, model: TrainedModel, store: FeatureStore, videos: Iterable[int]) -> list[FrameCurve]:
    sets = split_feature_sets(model.config.feature_sets)
    for name in sets:
        model.check_identity(name, store.identity(name))
    tested = zip(run.scores.part, run.scores.video, run.scores.split, strict=True)
    splits: dict[int, list[int]] = {}
    for part, video, split in tested:
        if part == "test":
            splits.setdefault(video, []).append(split)
    complete = [video for video in videos if all(store.is_complete(name, run.videos[video].name) for name in sets)]
    return [_curve(model, store, sets, video, run.videos[video].name, splits[video]) for video in complete]


def _curve(model: TrainedModel, store: FeatureStore, sets: Sequence[str], video: int, name: str, splits: Sequence[int]) -> FrameCurve:
    """Score the frames as the run's own test did; a frame that several draws take has its mean."""
    features = fuse([store.read(one, name) for one in sets], name)
    seconds = store.seconds(name)
    own_seconds = None if seconds is None else seconds[features.frame]
    rows = VideoRows(name, len(features.frame), lambda: own_seconds)
    total, taken = np.zeros(rows.count), np.zeros(rows.count)
    for draw in rows_in_testing(model.config.frame_input, rows, model.config.seed):
        own = np.arange(rows.count) if draw is None else draw
        for split in splits:
            np.add.at(total, own, model.frame_scores(selected(features.values, draw), split))
            np.add.at(taken, own, 1)
    kept = np.flatnonzero(taken)
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), MOST_POINTS)).round().astype(int))]
    scores = (total[kept] / taken[kept]).tolist()
    # players count from the first frame
    times = [] if seconds is None else (seconds[features.frame][kept] - seconds[0]).tolist()
    return FrameCurve(
        video,
        tuple(splits),
        tuple(round(second, _SECOND_DIGITS) for second in times),
        tuple(float(f"{score:.{_SCORE_DIGITS}g}") for score in scores),
    )
