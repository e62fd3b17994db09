"""From finished run folders and filled tables to a page."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np

from vqafeat.datasets import FileRules, load_manifest, manifest_names
from vqafeat.datasets.locate import VIDEO_EXTENSIONS
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
from vqafeat.training.calibration import calibration_notes
from vqafeat.training.data import fuse, split_feature_sets
from vqafeat.training.predictions import Prediction
from vqafeat.training.results import CURVE
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig

Facts = dict[str, list[tuple[str, str]]]


def describe_run(run: Run) -> Facts:
    """Return what a run's configuration records, in words; groups without a value are left out."""
    return {group: rows for group, values in run.describe().items() if (rows := _rows(values))}


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), text) for name, value in values.items() if (text := _text(value))]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


MOST_POINTS = 1500  # more than a screen has columns
NO_STORE = "Give --store FOLDER to `vqafeat report` to see the score of each frame."
NOT_TESTED = (
    "The score of each frame is that of the heads that tested a video, and this video is in no test part."
)
_SECOND_DIGITS, _SCORE_DIGITS = 4, 6


def with_frame_curves(run: ReportRun, folder: Path, store: StorePath | None, most: int) -> ReportRun:
    """Return a run with the curves of its worst test videos, and with the reason why each other video has
    none.

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
            scorer = _FrameScorer(
                run, Model.load(folder, one.name), FeatureStore.open(store_path(store, one.name))
            )
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
        f"With --curves {most}, `vqafeat report` scores the frames of at most {most} test video(s) of a "
        f"run, those with the largest "
        "errors. Give a larger number to see the score of each frame of this video."
    )


class _FrameScorer:
    """The heads of a run on the features of a store.

    Raises:
        StoreError: the store lacks a feature set, or its features were computed differently than those of the
            training.
    """

    def __init__(self, run: ReportRun, model: Model, store: FeatureStore) -> None:
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
                raise StoreError(
                    f"'{self._store.path}' has no complete features '{one}' of this video; run `vqafeat "
                    f"extract` again."
                )
        features = fuse([self._store.read(one, name) for one in self._sets], name)
        seconds = self._store.seconds(name)
        own_seconds = None if seconds is None else seconds[features.frame]
        draws = self._model.draws(name, len(features.frame), own_seconds)
        rows, frame_scores = self._model.frame_curve(features.values, splits, draws)
        total, taken = np.bincount(rows, weights=frame_scores), np.bincount(rows)
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


class VideoFolder:
    """The video files below a folder, found by the names that data sets give them.

    A video is the file of that relative path, also below a folder of its data set's name; else the only file
    of that basename; else the only one whose name the data set's manifest makes the same. Where several fit,
    none is taken.

    Args:
        root: the folder.
        page_folder: that the page will lie in; addresses are relative to it.

    Raises:
        DatasetError: the folder does not exist, or holds no video file.
    """

    def __init__(self, root: Path, page_folder: Path) -> None:
        if not root.is_dir():
            raise DatasetError(
                f"videos is '{root}', which is no folder; name the folder that holds the video files."
            )
        self._root, self._page_folder = root, page_folder
        found = (
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.suffix.lower() in VIDEO_EXTENSIONS
        )
        self._paths = frozenset(found)
        if not self._paths:
            raise DatasetError(
                f"videos is '{root}', which holds no video file ({', '.join(VIDEO_EXTENSIONS[:4])} …); name "
                f"another folder."
            )
        self._by_basename = _grouped((PurePosixPath(path).name, path) for path in self._paths)
        self._rules: dict[str, tuple[FileRules, Mapping[str, list[str]]]] = {}

    def address(self, dataset: str, name: str) -> str:
        """Return where a page finds a video, relative to it and percent-encoded; empty where no file, or more
        than one, fits.
        """
        exact = [path for path in (name, f"{dataset}/{name}") if path in self._paths]
        fitting = (
            exact[:1] or self._by_basename.get(PurePosixPath(name).name, []) or self._canonical(dataset, name)
        )
        if len(fitting) != 1:
            return ""
        path = os.path.relpath(self._root / fitting[0], self._page_folder)
        # a path that is not UTF-8 keeps its bytes
        return quote(os.fsencode(Path(path).as_posix()))

    def _canonical(self, dataset: str, name: str) -> list[str]:
        if dataset not in self._rules:
            rules = load_manifest(dataset).files if dataset in manifest_names() else FileRules()
            self._rules[dataset] = rules, _grouped((_key(rules, path), path) for path in self._paths)
        rules, by_key = self._rules[dataset]
        return by_key.get(_key(rules, name), [])


def _key(rules: FileRules, path: str) -> str:
    name = (rules.canonical(path) if rules.pattern else None) or PurePosixPath(path).name
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in VIDEO_EXTENSIONS else name


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, path in pairs:
        groups[key].append(path)
    return groups


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
        folders: of the runs.
        page_folder: of the page; addresses of videos are relative to it.
        tables: files that `vqafeat table --json` wrote.
        title: of the page; without it, made of the runs' names.
        store: folder of the feature stores, for curves of the frames' scores; without it, the page says how
            to get them.
        videos: folder of the video files, for playing them.
        curves: most videos of each run, the worst first, whose frames' scores are computed.

    Raises:
        ArgumentError: no run is given, one is given twice, `curves` is negative or `store` is no folder.
        WeightsError: a folder is no finished run, is damaged, or holds no score.
        DatasetError: `videos` is no folder or holds no video file, or a table cannot be read.
    """
    if not (folders or tables) or len({folder.resolve() for folder in folders}) < len(folders):
        raise ArgumentError(
            f"runs are {', '.join(map(str, folders)) or 'none'}; name at least one run folder, and each of "
            f"them once."
        )
    if curves < 0:
        raise ArgumentError(f"curves is {curves}; it has to be 0 or more.")
    if store is not None and not store.is_dir():
        raise ArgumentError(
            f"store is '{store}', which is no folder; name the folder of the feature stores, or leave it out."
        )
    files = None if videos is None else VideoFolder(videos, page_folder)
    written = [WrittenTable.read(path) for path in tables]
    every = {
        folder.resolve(): folder for folder in (*folders, *(run for table in written for run in table.runs))
    }
    folders = list(every.values())
    runs = [run_of(folder, name, files) for folder, name in zip(folders, _names(folders), strict=True)]
    runs = [with_frame_curves(run, folder, store, curves) for run, folder in zip(runs, folders, strict=True)]
    shown = tuple(table.shown(folders) for table in written)
    words = " · ".join([*(table.name for table in shown), *(() if shown else (run.name for run in runs))])
    return Report(title or words, tuple(runs), shown)


def run_of(folder: Path, name: str, files: VideoFolder | None = None) -> ReportRun:
    """Return what a page says of one run.

    Raises:
        WeightsError: the folder is no finished run, is damaged, or holds no score.
    """
    recorded = Run(folder).check_finished()
    config, predictions = recorded.config, recorded.predictions
    scored = [row for row in predictions if isfinite(row.score) and isfinite(row.mos)]
    if not any(row.part == "test" for row in scored):
        raise WeightsError(
            f"'{folder}' holds no score of a test video, so there is nothing to report; run `vqafeat fit` "
            f"again."
        )
    videos, places = _videos(scored, config, files)
    left_out = len(predictions) - len(scored)
    left_out_note = [f"{left_out} of {len(predictions)} rows without a score left out"] if left_out else []
    calibrations, summary = recorded.calibrations or (), recorded.metrics
    # a fit notes them among its metrics, an earlier version did not
    new_notes = [note for note in calibration_notes(config, calibrations) if note not in summary.notes]
    return ReportRun(
        name=name,
        head=config.head,
        feature_sets=config.feature_sets,
        splits=config.splits,
        mapping=config.mapping,
        calibrated_on=tuple(sorted({item.part for own in calibrations for item in own}, reverse=True)),
        datasets=config.datasets,
        summary=summary,
        videos=videos,
        scores=_table(scored, places),
        fitted=_fitted(scored, [videos[place].dataset for place in places], config),
        training=_training(folder, recorded.kept_epochs),
        facts=describe_run(recorded),
        no_frames=(NO_STORE,) * len(videos),
        notes=(*left_out_note, *new_notes),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' own names, or the paths as given where two would be the same."""
    names = [folder.name or folder.resolve().name for folder in folders]
    return [
        str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)
    ]


def _videos(
    rows: Sequence[Prediction], config: RunConfig, files: VideoFolder | None
) -> tuple[tuple[ReportVideo, ...], list[int]]:
    """Return the videos in the order of their first row, and each row's place among them."""
    names = [one.name for one in config.datasets]
    place: dict[str, int] = {}
    videos: list[ReportVideo] = []
    for row in rows:
        if row.video not in place:
            place[row.video] = len(videos)
            video = _video(row, names)
            videos.append(
                video if files is None else replace(video, address=files.address(video.dataset, video.name))
            )
    return tuple(videos), [place[row.video] for row in rows]


def _video(row: Prediction, datasets: Sequence[str]) -> ReportVideo:
    """Return a video under the name that it has in its own data set; runs on several name it
    `konvid/123.mp4`.
    """
    own = next((name for name in datasets if len(datasets) > 1 and row.video.startswith(f"{name}/")), None)
    if own is None:
        return ReportVideo(row.video, datasets[0], row.content, row.mos)
    return ReportVideo(row.video.removeprefix(f"{own}/"), own, row.content.removeprefix(f"{own}/"), row.mos)


def _fitted(
    rows: Sequence[Prediction], datasets: Sequence[str], config: RunConfig
) -> tuple[FittedCurve, ...]:
    """Return the increasing logistic of the calibrated scores, for each data set and split, whatever mapping
    the run was measured with.
    """
    found = []
    for dataset in dict.fromkeys(datasets):
        tested = [
            row for row, own in zip(rows, datasets, strict=True) if own == dataset and row.part == "test"
        ]
        for split in (ALL_SPLITS, *range(config.splits)):
            own = [row for row in tested if split in (ALL_SPLITS, row.split)]
            found.append(_logistic(dataset, split, own))
    return tuple(found)


def _logistic(dataset: str, split: int, rows: Sequence[Prediction]) -> FittedCurve:
    if len(rows) < _FEWEST_TO_FIT:
        return FittedCurve(dataset, split, (), f"{len(rows)} test video(s) are too few for a logistic")
    fit = fit_logistic([row.score for row in rows], [row.mos for row in rows])
    return FittedCurve(dataset, split, fit.tau if fit.converged else (), fit.note)


def _table(rows: Sequence[Prediction], places: Sequence[int]) -> ScoreTable:
    return ScoreTable(
        split=tuple(row.split for row in rows),
        part=tuple(row.part for row in rows),
        video=tuple(places),
        output=tuple(row.prediction for row in rows),
        score=tuple(row.score for row in rows),
        error=tuple(row.score - row.mos for row in rows),
    )


def _training(folder: Path, kept: Sequence[int]) -> tuple[TrainingCurve, ...]:
    """Return what curve.csv holds, split by split.

    Raises:
        WeightsError: the table is damaged.
    """
    path = folder / CURVE
    if not path.is_file():
        return ()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)
            ]
        by_split: dict[int, list[dict[str, float]]] = {}
        for row in rows:
            by_split.setdefault(int(row["split"]), []).append(row)
        return tuple(_training_curve(split, own, kept) for split, own in by_split.items())
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"'{path}' is damaged ({type(error).__name__}: {error}); run `vqafeat fit` again."
        ) from error


def _training_curve(split: int, rows: Sequence[Mapping[str, float]], kept: Sequence[int]) -> TrainingCurve:
    names = [name for name in rows[0] if name not in ("split", "epoch")]
    series = {
        name: tuple(row[name] for row in rows) for name in names if any(isfinite(row[name]) for row in rows)
    }
    return TrainingCurve(
        split, kept[split] if split < len(kept) else 0, tuple(int(row["epoch"]) for row in rows), series
    )
