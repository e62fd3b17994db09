"""From finished run folders and filled tables to a page."""

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from vqafeat.datasets import FileRules, load_manifest, manifest_names
from vqafeat.datasets.locate import VIDEO_EXTENSIONS, VideoIndex, candidate_files, index_videos
from vqafeat.errors import ArgumentError, DatasetError, StoreError, WeightsError
from vqafeat.evaluation.model import Model
from vqafeat.metrics import fit_logistic
from vqafeat.remote import StorePath
from vqafeat.report.page import (
    FittedCurve,
    FrameCurve,
    Report,
    ReportRun,
    ReportVideo,
    ScoreTable,
    TrainingCurve,
)
from vqafeat.report.tables import WrittenTable
from vqafeat.store import FeatureStore, store_path
from vqafeat.store.features import fuse, split_feature_sets
from vqafeat.training.calibration import calibration_notes
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import CURVE
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig

MOST_POINTS = 1500  # more than a screen has columns
NO_STORE = "Give --store FOLDER to `vqafeat report` to see the score of each frame."
NOT_TESTED = (
    "The score of each frame is that of the heads that tested a video, and this video is in no test part."
)
_SECOND_DIGITS, _SCORE_DIGITS = 4, 6


def with_frame_curves(run: ReportRun, folder: Path, store: StorePath | None, most: int) -> ReportRun:
    """Return a run with frame curves of its worst test videos, and why each other video has none.

    Args:
        folder: of the run.
        store: folder of the feature stores; without it, there are no curves.
        most: number of videos whose frames are scored, shared among the run's data sets.
    """
    worst = worst_videos(run)
    reasons = dict.fromkeys(range(len(run.videos)), NOT_TESTED)
    not_selected = (
        f"With --curves {most}, `vqafeat report` scores the frames of at most {most} test video(s) of a run, "
        f"those with the largest errors. Give a larger number to see the score of each frame of this video."
    )
    reasons |= dict.fromkeys(worst, NO_STORE if store is None else not_selected)
    curves, notes = list[FrameCurve](), list(run.notes)
    for number, dataset in enumerate(run.datasets):
        videos = [video for video in worst if run.videos[video].dataset == dataset.name]
        selected = videos[: most // len(run.datasets) + (number < most % len(run.datasets))]
        if store is None or not selected:
            continue
        try:
            features = FeatureStore.open(store_path(store, dataset.name))
            scorer = _FrameScorer(run, Model.load(folder, dataset.name), features)
        except (StoreError, WeightsError) as error:
            notes.append(f"no scores of frames for '{dataset.name}': {error}")
            reasons |= dict.fromkeys(videos, f"N{notes[-1][1:]}")
            continue
        for video in selected:
            try:
                curves.append(scorer.curve(video))
                reasons[video] = ""
            except StoreError as error:
                reasons[video] = f"No score of each frame: {error}"
    return replace(run, frames=tuple(curves), no_frames=tuple(reasons.values()), notes=tuple(notes))


def worst_videos(run: ReportRun) -> list[int]:
    """Return the run's test videos, those with the largest mean error over their splits first."""
    errors = defaultdict[int, list[float]](list)
    for part, video, error in zip(run.scores.part, run.scores.video, run.scores.error, strict=True):
        if part == "test":
            errors[video].append(error)
    means = {video: abs(float(np.mean(values))) for video, values in errors.items()}
    return sorted(means, key=lambda video: (-means[video], run.videos[video].name))


class _FrameScorer:
    """The heads of a run, applied to the features of a store."""

    def __init__(self, run: ReportRun, model: Model, store: FeatureStore) -> None:
        self._run, self._model, self._store = run, model, store
        self._feature_sets = split_feature_sets(model.config.feature_sets)
        for name in self._feature_sets:
            model.check_identity(name, store.identity(name))
        self._splits = defaultdict[int, list[int]](list)
        for part, video, split in zip(run.scores.part, run.scores.video, run.scores.split, strict=True):
            if part == "test":
                self._splits[video].append(split)

    def curve(self, video: int) -> FrameCurve:
        """Score the frames as the run's test did; a frame in several draws has its mean."""
        name, splits = self._run.videos[video].name, self._splits[video]
        for feature_set in self._feature_sets:
            if not self._store.is_complete(feature_set, name):
                raise StoreError(
                    f"'{self._store.path}' has no complete features '{feature_set}' of this video; run "
                    f"`vqafeat extract` again."
                )
        features = fuse([self._store.read(feature_set, name) for feature_set in self._feature_sets], name)
        seconds = self._store.seconds(name)
        row_seconds = None if seconds is None else seconds[features.frame]
        draws = self._model.draws(name, len(features.frame), row_seconds)
        rows, frame_scores = self._model.frame_curve(features.values, splits, draws)
        total, taken = np.bincount(rows, weights=frame_scores), np.bincount(rows)
        kept = np.flatnonzero(taken)
        shown = np.linspace(0, len(kept) - 1, min(len(kept), MOST_POINTS)).round().astype(int)
        kept = kept[np.unique(shown)]
        scores = (total[kept] / taken[kept]).tolist()
        # players count from the first frame
        times = [] if seconds is None else (seconds[features.frame][kept] - seconds[0]).tolist()
        return FrameCurve(
            video,
            tuple(splits),
            tuple(round(second, _SECOND_DIGITS) for second in times),
            tuple(float(f"{score:.{_SCORE_DIGITS}g}") for score in scores),
        )


class VideoFolder:
    """The video files below a folder, which are found as in an extraction, for a page in `page_folder`."""

    def __init__(self, root: Path, page_folder: Path) -> None:
        next_step = "name the folder that holds the video files."
        if not root.is_dir():
            raise DatasetError(f"videos is '{root}', which is no folder; {next_step}")
        if not index_videos(root, FileRules()).files:
            kinds = ", ".join(VIDEO_EXTENSIONS[:4])
            raise DatasetError(f"videos is '{root}', which holds no video file ({kinds} …); {next_step}")
        self._root, self._page_folder = root, page_folder
        self._index = cache(self._index_of)

    def _index_of(self, dataset: str) -> tuple[FileRules, VideoIndex]:
        rules = load_manifest(dataset).files if dataset in manifest_names() else FileRules()
        rules = replace(rules, folders=(dataset, *rules.folders), extensions=(), exact_paths_only=False)
        return rules, index_videos(self._root, rules)

    def address(self, dataset: str, name: str) -> str:
        """Return a video's address relative to the page, percent-encoded; empty unless one file fits."""
        rules, index = self._index(dataset)
        files = candidate_files([name], rules, index)[name]
        if len(files) != 1:
            return ""
        path = os.path.relpath(self._root / files[0], self._page_folder)
        # a path that is not UTF-8 keeps its bytes
        return quote(os.fsencode(Path(path).as_posix()))


ALL_SPLITS = -1
_FEWEST_TO_FIT = 2


def build_report(
    folders: Sequence[Path],
    page_folder: Path,
    *,
    tables: Sequence[Path] = (),
    title: str | None = None,
    store: StorePath | None = None,
    videos: Path | None = None,
    curves: int = 20,
) -> Report:
    """Read finished runs, and tables with the runs behind them, into a page.

    Args:
        page_folder: folder of the page; addresses of videos are relative to it.
        tables: files that `vqafeat table --json` wrote.
        store: folder of the feature stores, for the scores of frames.
        videos: folder of the video files, which the page plays.
        curves: number of videos of each run, the worst first, whose frames are scored.

    Raises:
        WeightsError: a folder is no finished run, is damaged, or holds no score.
        DatasetError: `videos` is no folder or holds no video file, or a table cannot be read.
    """
    if not (folders or tables) or len({folder.resolve() for folder in folders}) < len(folders):
        given = ", ".join(map(str, folders)) or "none"
        raise ArgumentError(f"runs are {given}; name at least one run folder, and each of them once.")
    if curves < 0:
        raise ArgumentError(f"curves is {curves}; it has to be 0 or more.")
    if store is not None and not store.is_dir():
        raise ArgumentError(
            f"store is '{store}', which is no folder; name the folder of the feature stores, or leave it out."
        )
    files = None if videos is None else VideoFolder(videos, page_folder)
    written = [WrittenTable.read(path) for path in tables]
    all_folders = (*folders, *(run for table in written for run in table.runs))
    folders = list({folder.resolve(): folder for folder in all_folders}.values())
    runs = [
        with_frame_curves(report_run(folder, name, files), folder, store, curves)
        for folder, name in zip(folders, _names(folders), strict=True)
    ]
    shown = tuple(table.shown(folders) for table in written)
    names = [table.name for table in shown] or [run.name for run in runs]
    return Report(title or " · ".join(names), tuple(runs), shown)


def report_run(folder: Path, name: str, files: VideoFolder | None = None) -> ReportRun:
    """Return what a page shows of one run, without curves of frames."""
    run = Run(folder).check_finished()
    config, predictions, metrics = run.config, run.predictions, run.metrics
    scored = [row for row in predictions if isfinite(row.score) and isfinite(row.mos)]
    if not any(row.part == "test" for row in scored):
        raise WeightsError(
            f"'{folder}' holds no score of a test video, so there is nothing to report; run `vqafeat fit` "
            f"again."
        )
    first_rows = {row.video: row for row in reversed(scored)}
    by_name = {
        name: _video(first_rows[name], config, files) for name in dict.fromkeys(row.video for row in scored)
    }
    left_out = len(predictions) - len(scored)
    notes = [f"{left_out} of {len(predictions)} rows without a score left out"] if left_out else []
    calibrations = run.calibrations or ()
    # a fit notes them among its metrics, an earlier version did not
    notes += [note for note in calibration_notes(config, calibrations) if note not in metrics.notes]
    parts = {calibration.part for by_split in calibrations for calibration in by_split}
    return ReportRun(
        name=name,
        head=config.head,
        feature_sets=config.feature_sets,
        splits=config.splits,
        mapping=config.mapping,
        calibrated_on=tuple(sorted(parts, reverse=True)),
        datasets=config.datasets,
        summary=metrics,
        videos=tuple(by_name.values()),
        scores=_score_table(scored, list(by_name)),
        fitted=_fitted(scored, {name: video.dataset for name, video in by_name.items()}, config.splits),
        training=_training(folder, run.kept_epochs),
        facts=_facts(run),
        no_frames=(NO_STORE,) * len(by_name),
        notes=tuple(notes),
    )


def _facts(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Return what decided a run, in words; groups without a value are left out."""
    groups = {
        group: [(name.replace("_", " "), _text(value)) for name, value in values.items() if _text(value)]
        for group, values in run.describe().items()
    }
    return {group: rows for group, rows in groups.items() if rows}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' own names, or the paths as given where two would be the same."""
    names = [folder.name or folder.resolve().name for folder in folders]
    return [
        str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)
    ]


def _video(row: Prediction, config: RunConfig, files: VideoFolder | None) -> ReportVideo:
    """Return a video under its name in its data set; runs on several data sets name it `konvid/123.mp4`."""
    datasets, prefix = [dataset.name for dataset in config.datasets], ""
    dataset = datasets[0]
    if len(datasets) > 1:
        dataset = next((one for one in datasets if row.video.startswith(f"{one}/")), dataset)
        prefix = f"{dataset}/"
    name = row.video.removeprefix(prefix)
    address = "" if files is None else files.address(dataset, name)
    return ReportVideo(name, dataset, row.content.removeprefix(prefix), row.mos, address)


def _score_table(rows: Sequence[Prediction], videos: Sequence[str]) -> ScoreTable:
    indices = {video: index for index, video in enumerate(videos)}
    return ScoreTable(
        split=tuple(row.split for row in rows),
        part=tuple(row.part for row in rows),
        video=tuple(indices[row.video] for row in rows),
        output=tuple(row.prediction for row in rows),
        score=tuple(row.score for row in rows),
        error=tuple(row.score - row.mos for row in rows),
    )


def _fitted(rows: Sequence[Prediction], datasets: Mapping[str, str], splits: int) -> tuple[FittedCurve, ...]:
    """Fit the increasing logistic to the calibrated test scores of each data set and split, whatever the
    run's mapping is; `datasets` is by the name of a video in the run.
    """
    curves = []
    for dataset in dict.fromkeys(datasets.values()):
        tested = [row for row in rows if datasets[row.video] == dataset and row.part == "test"]
        for split in (ALL_SPLITS, *range(splits)):
            own = [row for row in tested if split in (ALL_SPLITS, row.split)]
            if len(own) < _FEWEST_TO_FIT:
                note = f"{len(own)} test video(s) are too few for a logistic"
                curves.append(FittedCurve(dataset, split, (), note))
                continue
            fit = fit_logistic([row.score for row in own], [row.mos for row in own])
            curves.append(FittedCurve(dataset, split, fit.tau if fit.converged else (), fit.note))
    return tuple(curves)


def _training(folder: Path, kept: Sequence[int]) -> tuple[TrainingCurve, ...]:
    """Return what curve.csv holds, split by split."""
    path = folder / CURVE
    if not path.is_file():
        return ()
    try:
        by_split = defaultdict[int, list[dict[str, float]]](list)
        with path.open(newline="", encoding="utf-8") as file:
            for cells in csv.DictReader(file):
                row = {name: float(value) if value else nan for name, value in cells.items()}
                by_split[int(row["split"])].append(row)
        return tuple(_training_curve(split, rows, kept) for split, rows in by_split.items())
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"'{path}' is damaged ({type(error).__name__}: {error}); run `vqafeat fit` again."
        ) from error


def _training_curve(split: int, rows: Sequence[Mapping[str, float]], kept: Sequence[int]) -> TrainingCurve:
    columns = {name: tuple(row[name] for row in rows) for name in rows[0] if name not in ("split", "epoch")}
    series = {name: values for name, values in columns.items() if any(map(isfinite, values))}
    kept_epoch = kept[split] if split < len(kept) else 0
    return TrainingCurve(split, kept_epoch, tuple(int(row["epoch"]) for row in rows), series)
