"""The content of a report page, from run folders and filled tables."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from itertools import product
from math import inf, isfinite, nan
from pathlib import Path
from urllib.parse import quote

import numpy as np

from vqafeat.datasets import FileRules, load_manifest, manifest_names
from vqafeat.datasets.locate import VIDEO_EXTENSIONS, VideoIndex, candidate_files, index_videos
from vqafeat.errors import ArgumentError, DatasetError, StoreError, WeightsError
from vqafeat.evaluation.compare import compare_runs, run_names
from vqafeat.evaluation.model import Model
from vqafeat.io import summarize
from vqafeat.metrics import LogisticFit, fit_logistic
from vqafeat.remote import StorePath
from vqafeat.report.content import (
    ALL_SPLITS,
    FrameCurve,
    Report,
    ReportComparison,
    ReportRun,
    ReportVideo,
    TrainingCurve,
    WrittenTable,
)
from vqafeat.statistics import compare
from vqafeat.store import FeatureStore, store_path
from vqafeat.store.features import fuse, split_feature_sets
from vqafeat.training.joint_store import dataset_number
from vqafeat.training.predictions import Prediction, calibration_notes
from vqafeat.training.results import CURVE, METRICS, reading
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig

MOST_POINTS = 1500  # of a curve, about one for each column of a screen
_FEWEST_TO_FIT = 2
NO_STORE = "Give --store FOLDER to `vqafeat report` to see the score of each frame."
NOT_TESTED = "Only the heads that tested a video score its frames, and this video is in no test part."


def with_frame_curves(run: ReportRun, folder: Path, store: StorePath | None, most: int) -> ReportRun:
    """Return a run with frame curves of its worst test videos, and the reasons why other videos have none.

    At most `most` videos have curves, shared among the run's data sets.
    """
    worst = worst_videos(run)
    not_selected = (
        f"With --curves {most}, `vqafeat report` scores the frames of at most {most} test video(s) of a run, "
        f"those with the largest errors. Give a larger number to see the score of each frame of this video."
    )
    reasons = dict.fromkeys(run.videos, NOT_TESTED)
    reasons |= dict.fromkeys(worst, NO_STORE if store is None else not_selected)
    curves, notes, datasets = dict[str, FrameCurve](), list(run.notes), run.config.datasets
    for number, dataset in enumerate(datasets):
        videos = [video for video in worst if run.videos[video].dataset == dataset.name]
        selected = videos[: most // len(datasets) + (number < most % len(datasets))]
        if store is None or not selected:
            continue
        try:
            features = FeatureStore.open(store_path(store, dataset.name))
            model = Model.load(folder, dataset.name, final=False)
            for name in split_feature_sets(run.config.feature_sets):
                model.check_identity(name, features.identity(name))
        except (StoreError, WeightsError) as error:
            notes.append(f"no scores of frames for '{dataset.name}': {error}")
            reasons |= dict.fromkeys(videos, f"N{notes[-1][1:]}")
            continue
        timeless = list[str]()
        for video in selected:
            name = run.videos[video].name
            try:
                if problem := features.times_problem(name):
                    timeless.append(name)
                    next_step = "correct the file's time stamps and extract it again"
                    raise StoreError(f"the times of the frames {problem}; {next_step}.")
                curves[video] = _frame_curve(run, video, model, features)
                del reasons[video]
            except StoreError as error:
                reasons[video] = f"No score of each frame: {error}"
        if timeless:
            listed = summarize(timeless)
            notes.append(f"no scores of frames for videos without usable times of their frames: {listed}")
    return replace(run, frames=curves, no_frames=reasons, notes=tuple(notes))


def worst_videos(run: ReportRun) -> list[str]:
    """Return the run's test videos, those with the largest mean error over their splits first."""
    errors = defaultdict[str, list[float]](list)
    for row in run.scores:
        if row.part == "test":
            errors[row.video].append(row.score - row.mos)
    sizes = {video: abs(float(np.mean(own))) for video, own in errors.items()}
    return sorted(sizes, key=lambda video: (-sizes[video], run.videos[video].name))


def _frame_curve(run: ReportRun, video: str, model: Model, store: FeatureStore) -> FrameCurve:
    """Score the frames of a video as its test did; a frame in several draws gets the mean of its scores."""
    name = run.videos[video].name
    splits = [row.split for row in run.scores if (row.part, row.video) == ("test", video)]
    feature_sets = split_feature_sets(run.config.feature_sets)
    for feature_set in feature_sets:
        if not store.is_complete(feature_set, name):
            raise StoreError(
                f"'{store.path}' has no complete features '{feature_set}' of this video; run "
                f"`vqafeat extract` again."
            )
    features = fuse([store.read(feature_set, name) for feature_set in feature_sets], name)
    seconds = store.seconds(name)
    row_seconds = None if seconds is None else seconds[features.frame]
    draws = model.draws(name, len(features.frame), row_seconds)
    rows, frame_scores, _ = model.frame_curve(features.values, splits, draws)
    total, taken = np.bincount(rows, weights=frame_scores), np.bincount(rows)
    kept = np.flatnonzero(taken)
    shown = np.linspace(0, len(kept) - 1, min(len(kept), MOST_POINTS)).round().astype(int)
    kept = kept[np.unique(shown)]
    scores = (total[kept] / taken[kept]).tolist()
    # players count from the first frame
    times = [] if seconds is None else (seconds[features.frame][kept] - seconds[0]).round(4).tolist()
    return FrameCurve(tuple(splits), tuple(times), tuple(float(f"{score:.6g}") for score in scores))


class VideoFolder:
    """The video files below a folder, located as in an extraction, for a page in `page_folder`."""

    def __init__(self, root: Path, page_folder: Path) -> None:
        next_step = "name the folder that holds the video files."
        if not root.is_dir():
            raise DatasetError(f"videos is '{root}', which is not a folder; {next_step}")
        if not index_videos(root, FileRules()).files:
            kinds = ", ".join(VIDEO_EXTENSIONS[:4])
            raise DatasetError(f"videos is '{root}', which has no video files ({kinds} …); {next_step}")
        self._root, self._page_folder = root, page_folder
        self._index = cache(self._index_of)

    def _index_of(self, dataset: str) -> tuple[FileRules, VideoIndex]:
        rules = load_manifest(dataset).files if dataset in manifest_names() else FileRules()
        rules = replace(rules, folders=(dataset, *rules.folders), extensions=(), exact_paths_only=False)
        return rules, index_videos(self._root, rules)

    def address(self, dataset: str, name: str) -> str:
        """Return a video's address relative to the page, percent-encoded; empty unless one file matches."""
        rules, index = self._index(dataset)
        files = candidate_files([name], rules, index)[name]
        if len(files) != 1:
            return ""
        path = os.path.relpath(self._root / files[0], self._page_folder)
        # a path that is not UTF-8 keeps its bytes
        return quote(os.fsencode(Path(path).as_posix()))


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
    """Read finished runs, and tables with the runs behind them, into a page in `page_folder`.

    Args:
        tables: files that `vqafeat table --json` wrote.
        store: folder of the feature stores, for the scores of frames.
        videos: folder of the video files, which the page plays.
        curves: number of videos of each run, the worst first, whose frames are scored.
    """
    if not (folders or tables) or len({folder.resolve() for folder in folders}) < len(folders):
        given = ", ".join(map(str, folders)) or "none"
        raise ArgumentError(f"runs are {given}; name at least one run folder, and each only once.")
    if curves < 0:
        raise ArgumentError(f"curves is {curves}; it has to be 0 or more.")
    if store is not None and not store.is_dir():
        next_step = "name the folder of the feature stores"
        raise ArgumentError(f"store is '{store}', which is not a folder; {next_step}.")
    files = None if videos is None else VideoFolder(videos, page_folder)
    written = [WrittenTable.read(path) for path in tables]
    all_folders = (*folders, *(run for table in written for run in table.runs))
    folders = list({folder.resolve(): folder for folder in all_folders}.values())
    runs = [
        with_frame_curves(report_run(folder, name, files), folder, store, curves)
        for folder, name in zip(folders, run_names([folder.resolve() for folder in folders]), strict=True)
    ]
    shown = tuple(table.shown(folders) for table in written)
    title = title or " · ".join(table.name for table in shown) or _question(runs)
    return Report(title, tuple(runs), shown, tuple(_comparisons(folders)), date.today().isoformat())


def _question(runs: Sequence[ReportRun]) -> str:
    """Return the question that runs answer, such as "Which head predicts the MOS of konvid best: A or B?"."""
    configs = [run.config for run in runs]
    labels = defaultdict[str, dict[str, None]](dict)
    for one in (dataset for own in configs for dataset in own.datasets):
        labels[one.score_name][one.name] = None
    predicted = " and ".join(f"the {score} of {_listed(names, 'and')}" for score, names in labels.items())
    choices = {
        "head": [own.head for own in configs],
        "features": [own.feature_sets for own in configs],
        "loss": [str(own.recipe.get("loss", "")) for own in configs],
    }
    several = {name: list(dict.fromkeys(own)) for name, own in choices.items() if len(set(own)) > 1}
    if len(runs) == 1:
        return f"How well does {configs[0].head} on {configs[0].feature_sets} predict {predicted}?"
    if len(several) != 1 or len({own.dataset for own in configs}) > 1:
        return f"How well do {len(runs)} runs predict {predicted}?"
    ((name, options),) = several.items()
    verb = "predict" if name == "features" else "predicts"
    return f"Which {name} {verb} {predicted} best: {_listed(options, 'or')}?"


def _listed(words: Iterable[str], last: str) -> str:
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end


def _comparisons(folders: Sequence[Path]) -> Iterator[ReportComparison]:
    """Yield a comparison for each group of runs that were tested on the same videos with the same labels."""
    groups, runs = defaultdict[object, list[int]](list), list(map(Run, folders))
    for index, run in enumerate(runs):
        tests = tuple(tuple(sorted(split["test"])) for split in run.splits)
        datasets = tuple((one.name, one.digest, one.score_name) for one in run.config.datasets)
        groups[datasets, tests].append(index)
    for group in (group for group in groups.values() if len(group) > 1):
        means = {index: runs[index].metrics.srocc.mean for index in group}
        ranked = sorted(group, key=lambda index: means[index] if isfinite(means[index]) else -inf)
        best, *others = reversed(ranked)
        dataset, own = runs[best].config.dataset, [folders[index] for index in (*others, best)]
        try:
            if not isfinite(means[best]):
                raise ArgumentError("their SROCC is not defined.")
            compared = compare_runs(own, baseline=folders[best])
        except (ArgumentError, WeightsError) as error:
            yield ReportComparison(dataset, 0, dict.fromkeys((best, *others)), str(error))
            continue
        # Holm's correction is for all pairs, since the best run is known from the same values
        every = compare({str(index): runs[index].metrics.srocc.values for index in group})
        holm = {frozenset((int(pair.first), int(pair.second))): pair.p_holm for pair in every}
        pairs = {
            index: replace(pair, p_holm=holm[frozenset((index, best))])
            for index, pair in zip(others, compared.pairs, strict=True)
        }
        yield ReportComparison(dataset, compared.videos, {best: None, **pairs})


def report_run(folder: Path, name: str, files: VideoFolder | None = None) -> ReportRun:
    """Return what a page shows of one run, without scores of frames."""
    run = Run(folder).check_finished()
    config, metrics = run.config, run.metrics
    scores = tuple(row for row in run.predictions if isfinite(row.score) and isfinite(row.mos))
    if not any(row.part == "test" for row in scores):
        next_step = "so there is nothing to report; run `vqafeat fit` again"
        raise WeightsError(f"'{folder}' has no score of a test video, {next_step}.")
    videos = {row.video: row for row in scores}
    left_out = len(run.predictions) - len(scores)
    notes = [f"{left_out} of {len(run.predictions)} rows without a score left out"] if left_out else []
    calibrations = run.calibrations or ()
    # `fit` notes them among its metrics, an earlier version did not
    notes += [note for note in calibration_notes(config, calibrations) if note not in metrics.notes]
    parts = {calibration.part for by_split in calibrations for calibration in by_split}
    return ReportRun(
        name=name,
        config=config,
        calibrated_on=tuple(sorted(parts, reverse=True)),
        summary=metrics,
        videos={name: _video(row, config, files) for name, row in videos.items()},
        scores=scores,
        fitted=_fitted(scores, config),
        training=_training(folder, run.kept_epochs),
        finished=date.fromtimestamp((folder / METRICS).stat().st_mtime).isoformat(),
        facts=run.describe(),
        no_frames=dict.fromkeys(videos, NO_STORE),
        notes=tuple(notes),
    )


def _video(row: Prediction, config: RunConfig, files: VideoFolder | None) -> ReportVideo:
    """Return a video under its name in its data set; runs on several data sets name it `konvid/123.mp4`."""
    dataset = config.dataset_names[dataset_number(row.video, config.dataset_names)]
    prefix = f"{dataset}/" if len(config.datasets) > 1 else ""
    name = row.video.removeprefix(prefix)
    address = "" if files is None else files.address(dataset, name)
    return ReportVideo(name, dataset, row.content.removeprefix(prefix), row.mos, address)


def _fitted(scores: Sequence[Prediction], config: RunConfig) -> dict[tuple[str, int], LogisticFit]:
    """Fit the increasing logistic to the test scores of each data set and split, whatever the mapping."""
    fits, names = {}, config.dataset_names
    tested = [(names[dataset_number(row.video, names)], row) for row in scores if row.part == "test"]
    for key in product(names, (ALL_SPLITS, *range(config.splits))):
        own = [row for dataset, row in tested if key in ((dataset, row.split), (dataset, ALL_SPLITS))]
        if len(own) < _FEWEST_TO_FIT:
            few = f"{len(own)} test video(s) are too few for a logistic"
            fits[key] = LogisticFit((nan, nan, nan, nan), few)
        else:
            fits[key] = fit_logistic([row.score for row in own], [row.mos for row in own])
    return fits


def _training(folder: Path, kept: Sequence[int]) -> tuple[TrainingCurve, ...]:
    """Return the columns of curve.csv for each split, without measures that are never defined."""
    path = folder / CURVE
    if not path.is_file():
        return ()
    by_split, curves = defaultdict[int, list[dict[str, float]]](list), []
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            row = {name: float(value) if value else nan for name, value in cells.items()}
            by_split[int(row.pop("split"))].append(row)
        for split, rows in by_split.items():
            columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
            epochs = tuple(map(int, columns.pop("epoch")))
            series = {name: values for name, values in columns.items() if any(map(isfinite, values))}
            curves.append(TrainingCurve(split, kept[split] if split < len(kept) else 0, epochs, series))
    return tuple(curves)
