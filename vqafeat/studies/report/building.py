"""From finished run folders and filled tables to a page."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.metrics import fit_logistic
from vqafeat.remote import Place
from vqafeat.studies.report.facts import facts_of
from vqafeat.studies.report.frames import NO_STORE, with_frame_curves
from vqafeat.studies.report.page import FittedCurve, Report, ReportRun, ReportVideo, ScoreTable, TrainingCurve
from vqafeat.studies.report.tables import WrittenTable
from vqafeat.studies.report.videos import VideoFolder
from vqafeat.training.calibration import calibration_notes
from vqafeat.training.results import CURVE, Prediction, load_calibrations, read_predictions, read_summary
from vqafeat.training.run import RecordedRun, RunConfig

ALL_SPLITS = -1
_FEWEST_TO_FIT = 2


def build_report(
    folders: Sequence[Path],
    page_folder: Path,
    *,
    tables: Sequence[Path] = (),
    title: str | None = None,
    store: Place | None = None,
    videos: Path | None = None,
    curves: int = 20,
) -> Report:
    """Read finished runs, and tables with the runs behind them, into a page.

    Args:
        folders: of the runs.
        page_folder: of the page; addresses of videos are relative to it.
        tables: files that `vqafeat table --json` wrote.
        title: of the page; without it, made of the runs' names.
        store: folder of the feature stores, for curves of the frames' scores; without it, the page says how to get them.
        videos: folder of the video files, for playing them.
        curves: most videos of each run, the worst first, whose frames' scores are computed.

    Raises:
        ArgumentError: no run is given, one is given twice, `curves` is negative or `store` is no folder.
        WeightsError: a folder is no finished run, is damaged, or holds no score.
        DatasetError: `videos` is no folder or holds no video file, or a table cannot be read.
    """
    if not (folders or tables) or len({folder.resolve() for folder in folders}) < len(folders):
        raise ArgumentError(f"runs are {', '.join(map(str, folders)) or 'none'}; name at least one run folder, and each of them once.")
    if curves < 0:
        raise ArgumentError(f"curves is {curves}; it has to be 0 or more.")
    if store is not None and not store.is_dir():
        raise ArgumentError(f"store is '{store}', which is no folder; name the folder of the feature stores, or leave it out.")
    files = None if videos is None else VideoFolder(videos, page_folder)
    written = [WrittenTable.read(path) for path in tables]
    every = {folder.resolve(): folder for folder in (*folders, *(run for table in written for run in table.runs))}
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
    recorded = RecordedRun.read(folder)
    config = recorded.config
    predictions = read_predictions(folder, config)
    scored = [row for row in predictions if isfinite(row.score) and isfinite(row.mos)]
    if not any(row.part == "test" for row in scored):
        raise WeightsError(f"'{folder}' holds no score of a test video, so there is nothing to report; run `vqafeat fit` again.")
    videos, places = _videos(scored, config, files)
    left_out = len(predictions) - len(scored)
    left_out_note = [f"{left_out} of {len(predictions)} rows without a score left out"] if left_out else []
    calibrations, summary = load_calibrations(folder, config) or (), read_summary(folder, config)
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
        training=_training(folder, recorded.metrics.get("kept_epochs", [])),
        facts=facts_of(config, str(folder)),
        no_frames=(NO_STORE,) * len(videos),
        notes=(*left_out_note, *new_notes),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' own names, or the paths as given where two would be the same."""
    names = [folder.name or folder.resolve().name for folder in folders]
    return [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]


def _videos(rows: Sequence[Prediction], config: RunConfig, files: VideoFolder | None) -> tuple[tuple[ReportVideo, ...], list[int]]:
    """Return the videos in the order of their first row, and each row's place among them."""
    names = [one.name for one in config.datasets]
    place: dict[str, int] = {}
    videos: list[ReportVideo] = []
    for row in rows:
        if row.video not in place:
            place[row.video] = len(videos)
            video = _video(row, names)
            videos.append(video if files is None else replace(video, address=files.address(video.dataset, video.name)))
    return tuple(videos), [place[row.video] for row in rows]


def _video(row: Prediction, datasets: Sequence[str]) -> ReportVideo:
    """Return a video under the name that it has in its own data set; runs on several name it `konvid/123.mp4`."""
    own = next((name for name in datasets if len(datasets) > 1 and row.video.startswith(f"{name}/")), None)
    if own is None:
        return ReportVideo(row.video, datasets[0], row.content, row.mos)
    return ReportVideo(row.video.removeprefix(f"{own}/"), own, row.content.removeprefix(f"{own}/"), row.mos)


def _fitted(rows: Sequence[Prediction], datasets: Sequence[str], config: RunConfig) -> tuple[FittedCurve, ...]:
    """Return the increasing logistic of the calibrated scores, for each data set and split, whatever mapping the run was measured with."""
    found = []
    for dataset in dict.fromkeys(datasets):
        tested = [row for row, own in zip(rows, datasets, strict=True) if own == dataset and row.part == "test"]
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
            rows = [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]
        by_split: dict[int, list[dict[str, float]]] = {}
        for row in rows:
            by_split.setdefault(int(row["split"]), []).append(row)
        return tuple(_training_curve(split, own, kept) for split, own in by_split.items())
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"'{path}' is damaged ({type(error).__name__}: {error}); run `vqafeat fit` again.") from error


def _training_curve(split: int, rows: Sequence[Mapping[str, float]], kept: Sequence[int]) -> TrainingCurve:
    names = [name for name in rows[0] if name not in ("split", "epoch")]
    series = {name: tuple(row[name] for row in rows) for name in names if any(isfinite(row[name]) for row in rows)}
    return TrainingCurve(split, kept[split] if split < len(kept) else 0, tuple(int(row["epoch"]) for row in rows), series)
