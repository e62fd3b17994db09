"""Scores of the frames of a run's worst videos, computed from the feature store."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from vqafeat.errors import StoreError, WeightsError
from vqafeat.evaluation.model import TrainedModel
from vqafeat.remote import Place
from vqafeat.store import FeatureStore, store_path
from vqafeat.studies.report.page import FrameCurve, ReportRun
from vqafeat.training.data import fuse, selected, split_feature_sets
from vqafeat.training.frame_sampling import VideoRows, rows_in_testing

MOST_POINTS = 1500  # more than a screen has columns
NO_STORE = "Give --store FOLDER to `vqafeat report` to see the score of each frame."
NOT_TESTED = "The score of each frame is that of the heads that tested a video, and this video is in no test part."
_SECOND_DIGITS, _SCORE_DIGITS = 4, 6


def with_frame_curves(run: ReportRun, folder: Path, store: Place | None, most: int) -> ReportRun:
    """Return a run with the curves of its worst test videos, and with the reason why each other video has none.

    Args:
        run: without curves.
        folder: of the run.
        store: folder of the feature stores; without it, there are no curves.
        most: videos whose frames are scored, shared among the run's data sets.
    """
    worst = worst_videos(run)
    reasons = dict.fromkeys(range(len(run.videos)), NOT_TESTED)
    reasons |= dict.fromkeys(worst, NO_STORE if store is None else _not_among(most))
    curves, notes = list[FrameCurve](), list(run.notes)
    for number, one in enumerate(run.datasets):
        own = [video for video in worst if run.videos[video].dataset == one.name]
        chosen = own[: most // len(run.datasets) + (number < most % len(run.datasets))]
        if store is None or not chosen:
            continue
        try:
            scorer = _FrameScorer(run, TrainedModel.load(folder, one.name), FeatureStore.open(store_path(store, one.name)))
        except (StoreError, WeightsError) as error:
            notes.append(f"no scores of frames for '{one.name}': {error}")
            reasons |= dict.fromkeys(own, f"No scores of frames for '{one.name}': {error}")
            continue
        for video in chosen:
            try:
                curves.append(scorer.curve(video))
                reasons[video] = ""
            except StoreError as error:
                reasons[video] = f"No score of each frame: {error}"
    return replace(run, frames=tuple(curves), no_frames=tuple(reasons.values()), notes=tuple(notes))


def worst_videos(run: ReportRun) -> list[int]:
    """Return the run's test videos, those with the largest mean error over their splits first."""
    errors: dict[int, list[float]] = {}
    for part, video, error in zip(run.scores.part, run.scores.video, run.scores.error, strict=True):
        if part == "test":
            errors.setdefault(video, []).append(error)
    means = {video: abs(float(np.mean(own))) for video, own in errors.items()}
    return sorted(means, key=lambda video: (-means[video], run.videos[video].name))


def _not_among(most: int) -> str:
    return (
        f"With --curves {most}, `vqafeat report` scores the frames of at most {most} test video(s) of a run, those with the largest "
        "errors. Give a larger number to see the score of each frame of this video."
    )


class _FrameScorer:
    """The heads of a run on the features of a store.

    Raises:
        StoreError: the store lacks a feature set, or its features were computed differently than those of the training.
    """

    def __init__(self, run: ReportRun, model: TrainedModel, store: FeatureStore) -> None:
        self._run, self._model, self._store = run, model, store
        self._sets = split_feature_sets(model.config.feature_sets)
        for name in self._sets:
            model.check_identity(name, store.identity(name))
        self._splits: dict[int, list[int]] = {}
        for part, video, split in zip(run.scores.part, run.scores.video, run.scores.split, strict=True):
            if part == "test":
                self._splits.setdefault(video, []).append(split)

    def curve(self, video: int) -> FrameCurve:
        """Score the frames as the run's own test did; a frame that several draws take has its mean.

        Raises:
            StoreError: the features of the video are not stored whole, or are damaged.
        """
        name, splits = self._run.videos[video].name, self._splits[video]
        for one in self._sets:
            if not self._store.is_complete(one, name):
                raise StoreError(f"'{self._store.path}' has no complete features '{one}' of this video; run `vqafeat extract` again.")
        features = fuse([self._store.read(one, name) for one in self._sets], name)
        seconds = self._store.seconds(name)
        own_seconds = None if seconds is None else seconds[features.frame]
        rows = VideoRows(name, len(features.frame), lambda: own_seconds)
        total, taken = np.zeros(rows.count), np.zeros(rows.count)
        for draw in rows_in_testing(self._model.config.frame_input, rows, self._model.config.seed):
            own = np.arange(rows.count) if draw is None else draw
            for split in splits:
                np.add.at(total, own, self._model.frame_scores(selected(features.values, draw), split))
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
