"""The scores that a run gave to videos, as its folder stores them, and their calibration."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite, nan
from pathlib import Path

import numpy as np

from vqafeat.io import unescape_formula, write_csv
from vqafeat.losses.base import on_label_scale
from vqafeat.metrics import Metrics, evaluate_predictions
from vqafeat.training.calibration import Calibration, Calibrations, fit_calibration, read_calibrations
from vqafeat.training.joint_store import dataset_number, strip_dataset_prefix
from vqafeat.training.results import METRICS, PLAIN_MEASURES, PREDICTIONS, MetricsSummary, read_json, reading
from vqafeat.training.run_config import RunConfig


@dataclass(frozen=True)
class Prediction:
    """One head's output for one video, and its calibrated score; NaN where there is no calibration."""

    split: int
    part: str
    video: str
    content: str
    mos: float
    prediction: float
    score: float = nan


def write_predictions(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Write the table of a run folder."""
    columns = [item.name for item in fields(Prediction)]
    write_csv(folder / PREDICTIONS, columns, [tuple(vars(row).values()) for row in predictions])


def read_predictions(folder: Path, config: RunConfig) -> tuple[Prediction, ...]:
    """Return the table of a run folder; scores that an earlier version did not write are computed."""
    rows = read_rows(folder)
    return with_scores(rows, config, read_calibrations(folder, config) or fit_calibrations(rows, config))


def read_rows(folder: Path) -> list[Prediction]:
    """Return the table of a run folder without calibrated scores."""
    path = folder / PREDICTIONS
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        return [
            Prediction(
                int(row["split"]),
                row["part"],
                unescape_formula(row["video"]),
                unescape_formula(row["content"]),
                float(row["mos"]),
                float(row["prediction"] or "nan"),
            )
            for row in csv.DictReader(file)
        ]


def fit_calibrations(predictions: Sequence[Prediction], config: RunConfig) -> Calibrations:
    """Return the calibrations of each data set and split, on its validation or else training predictions."""
    rows: dict[tuple[int, int, str], list[Prediction]] = {}
    for row in predictions:
        key = (dataset_number(row.video, config.dataset_names), row.split, row.part)
        rows.setdefault(key, []).append(row)
    scaled = on_label_scale(config.recipe.get("loss", "l1"))

    def fitted(number: int, split: int) -> Calibration:
        part = "validation" if (number, split, "validation") in rows else "train"
        own = rows.get((number, split, part), [])
        outputs, mos = [row.prediction for row in own], [row.mos for row in own]
        return fit_calibration(outputs, mos, config.datasets[number].mos_range, part, scaled)

    numbers, splits = range(len(config.datasets)), range(config.splits)
    return tuple(tuple(fitted(number, split) for split in splits) for number in numbers)


def with_scores(
    predictions: Sequence[Prediction], config: RunConfig, calibrations: Calibrations
) -> tuple[Prediction, ...]:
    """Return the predictions with their calibrated scores."""

    def score(row: Prediction) -> float:
        number = dataset_number(row.video, config.dataset_names)
        return float(calibrations[number][row.split].scores(row.prediction))

    return tuple(replace(row, score=score(row)) for row in predictions)


def load_calibrations(folder: Path, config: RunConfig) -> Calibrations | None:
    """Return a run folder's calibrations, from predictions if none are stored; an imported head has none."""
    stored = read_calibrations(folder, config)
    if stored is not None or not (folder / PREDICTIONS).is_file():
        return stored
    return fit_calibrations(read_rows(folder), config)


def summarise(
    predictions: Sequence[Prediction],
    splits: int,
    mapping: str,
    notes: Sequence[str],
    datasets: Sequence[str] = ("",),
    fewest: int = 0,
) -> MetricsSummary:
    """Return the metrics of the test parts, one value a split; of several data sets, their weighted mean.

    A split with fewer than `fewest` test videos has NaN.
    """
    tested = [row for row in predictions if row.part == "test"]
    if len(datasets) == 1:
        return _measured(tested, splits, mapping, notes, fewest)
    rows = {name: [row for row in tested if strip_dataset_prefix([row.video], name)] for name in datasets}
    summaries = {name: _measured(own, splits, mapping, (), fewest) for name, own in rows.items()}
    return MetricsSummary.weighted(summaries, notes)


def read_metrics(folder: Path, config: RunConfig) -> MetricsSummary:
    """Return the metrics of a finished run; those missing from an earlier version follow from predictions."""
    values = read_json(folder / METRICS)
    with reading(folder / METRICS):
        summary = MetricsSummary.from_dict(values)
    complete = not summary.n or all(name in values for name in PLAIN_MEASURES)
    if complete or not (folder / PREDICTIONS).is_file():
        return summary
    rows = read_predictions(folder, config)
    if not all(isfinite(row.prediction) for row in rows if row.part == "test"):
        return summary
    return summary.with_plain(summarise(rows, config.splits, config.mapping, (), config.dataset_names))


def _measured(
    tested: Sequence[Prediction], splits: int, mapping: str, notes: Sequence[str], fewest: int
) -> MetricsSummary:
    metrics, rmse_calibrated = [], []
    for number in range(splits):
        own = [row for row in tested if row.split == number]
        if len(own) < fewest:
            few = f"not measured, as fewer than {fewest} of the videos are in the test part"
            metrics.append(Metrics(nan, nan, nan, nan, nan, nan, len(own), few))
            rmse_calibrated.append(nan)
            continue
        scores, labels = [row.prediction for row in own], [row.mos for row in own]
        metrics.append(evaluate_predictions(scores, labels, mapping))
        rmse_calibrated.append(float(np.sqrt(np.mean([(row.score - row.mos) ** 2 for row in own]))))
    return MetricsSummary.of(metrics, notes, rmse_calibrated)
