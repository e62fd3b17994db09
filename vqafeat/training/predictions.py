"""The scores that a run gave to videos, as its folder stores them, and their calibration.

Training fixes a head's order of videos, but not the scale of its output. A score is therefore

    score = clip(slope · output + offset, smallest label, largest label),

a line that is fitted on the validation videos of the split (on its training videos if there are none), never
on test videos. It is the weighted mean of two lines. One is the output itself. The other is the least squares
line with a smaller slope: times n / (n + 5) for n videos, since few videos overstate it, but at least a tenth
of the ratio of the standard deviations of labels and outputs, so that the order is kept. The weight minimises
the squared error when each video is scored by the line of the others (Breiman, *Stacked Regressions*, 1996).
If the loss brings outputs to the labels' scale, the weight is computed as if the output scored 5 more videos
correctly and the line missed them by a standard deviation. A logistic is no better on held-out videos
(tests/bench/RESULTS.md).
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite, nan
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import unescape_formula, write_csv, write_json
from vqafeat.losses.base import on_label_scale
from vqafeat.metrics import Metrics, evaluate_predictions
from vqafeat.schema import parse
from vqafeat.splits import PART_WORDS
from vqafeat.training import results
from vqafeat.training.joint_store import dataset_number, strip_dataset_prefix
from vqafeat.training.run_config import RunConfig

FEWEST_TO_MEASURE = 2
_PRIOR_VIDEOS = 5
_SMALLEST_CORRELATION = 0.1

# [data set][split]
Calibrations = tuple[tuple["Calibration", ...], ...]


@dataclass(frozen=True)
class Calibration:
    """The line from one head's outputs to scores on one data set's label scale, `low` to `high`."""

    slope: float
    offset: float
    low: float
    high: float
    part: str  # that the line was fitted on, "validation" or "train"
    videos: int  # in that part
    note: str = ""  # a warning for readers

    def __post_init__(self) -> None:
        finite = all(isfinite(value) for value in (self.slope, self.offset, self.low, self.high))
        if not finite or self.slope < 0 or self.low > self.high:
            line = f"calibration {self.slope} · output + {self.offset} between {self.low} and {self.high}"
            allowed = "the slope has to be at least 0, the range in order, and all numbers finite"
            raise ArgumentError(f"{line}: {allowed}.")

    def scores(self, outputs: ArrayLike) -> NDArray[np.float64]:
        """Return scores on the label scale, of the shape of `outputs`."""
        line = self.slope * np.asarray(outputs, dtype=np.float64) + self.offset
        return np.asarray(np.clip(line, self.low, self.high))


def fit_calibration(
    outputs: ArrayLike, mos: ArrayLike, mos_range: tuple[float, float], part: str, scaled: bool = False
) -> Calibration:
    """Return the line from (video,) outputs of a head to (video,) labels, as this module's docstring says.

    Videos of `part` without a finite output are left out. `scaled` is whether the loss brings outputs to the
    labels' scale.
    """
    x, y = np.asarray(outputs, dtype=np.float64), np.asarray(mos, dtype=np.float64)
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    words = PART_WORDS[part]
    problem = f"the {y.size} {words} video(s) have the same label" if y.size and np.ptp(y) == 0 else ""
    if not x.size or float(x.std()) <= 1e-9 * float(np.abs(x).max()):
        problem = f"the head gives its {x.size} {words} video(s) the same score"
    if problem:
        slope, offset, instead = 1.0, 0.0, "the head's output is taken as it is"
        if not scaled:
            slope, offset = 0.0, float(y.mean()) if y.size else sum(mos_range) / 2
            instead = "the calibrated score is their mean label"
        return Calibration(slope, offset, *mos_range, part, x.size, f"{problem}, so {instead}")
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    slope = float(_shrunk_slope(x.size, x.var(), y.var(), covariance))
    offset = float(y.mean() - slope * x.mean())
    left_out = _left_out_scores(x, y)
    prior = _PRIOR_VIDEOS * float(y.var()) if scaled else 0.0
    squares = float(np.sum((x - left_out) ** 2)) + prior
    product = np.sum((y - left_out) * (x - left_out)) + prior
    share = float(np.clip(product / squares, 0, 1)) if squares > 0 else 0.0
    against = f"the head's scores run against the labels of its {x.size} {words} videos"
    note = against if covariance < 0 else ""
    return Calibration(share + (1 - share) * slope, (1 - share) * offset, *mos_range, part, x.size, note)


def _shrunk_slope(
    count: int, var_x: ArrayLike, var_y: ArrayLike, covariance: ArrayLike
) -> NDArray[np.float64]:
    """Return the slopes of shrunk least squares lines; 0 where the outputs do not vary."""
    x, y, both = (np.asarray(values, dtype=np.float64) for values in (var_x, var_y, covariance))
    varying = np.where(x > 0, x, 1.0)
    smallest = _SMALLEST_CORRELATION * np.sqrt(y / varying)
    slopes = np.maximum(both / varying * count / (count + _PRIOR_VIDEOS), smallest)
    return np.where(x > 0, slopes, 0.0)


def _left_out_scores(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (video,) scores by the line of the others, whose moments follow from those of all."""
    a, b, others = x - x.mean(), y - y.mean(), x.size - 1
    mean_a, mean_b = -a / others, -b / others
    var_a, var_b = ((np.sum(own**2) - own**2) / others - mean**2 for own, mean in ((a, mean_a), (b, mean_b)))
    covariance = (np.sum(a * b) - a * b) / others - mean_a * mean_b
    # the variance of equal values is not exactly 0, because of rounding
    constant = var_a <= 1e-12 * np.sum(a**2) / others
    slopes = _shrunk_slope(others, np.where(constant, 0.0, var_a), np.clip(var_b, 0.0, None), covariance)
    return np.asarray(y.mean() + mean_b + slopes * (a - mean_a))


def calibration_words(calibrations: Sequence[Calibration]) -> str:
    """Return on which videos heads were calibrated, for example "calibrated on validation videos"."""
    parts = dict.fromkeys(PART_WORDS.get(one.part, one.part) for one in calibrations)
    return f"calibrated on {' or '.join(parts)} videos"


def calibration_notes(config: RunConfig, calibrations: Calibrations) -> list[str]:
    """Return the notes of a run's calibrations, each once and with its splits."""
    prefixes = [f"{one.name}: " if len(config.datasets) > 1 else "" for one in config.datasets]
    notes = [results.numbered_notes([item.note for item in own]) for own in calibrations]
    return [f"{prefix}{note}" for prefix, own in zip(prefixes, notes, strict=False) for note in own]


def write_calibrations(folder: Path, config: RunConfig, calibrations: Calibrations) -> None:
    """Write calibration.json of a run folder."""
    named = zip(config.datasets, calibrations, strict=True)
    write_json(folder / results.CALIBRATION, {one.name: [asdict(item) for item in own] for one, own in named})


def read_calibrations(folder: Path, config: RunConfig) -> Calibrations | None:
    """Return what calibration.json of a run folder holds, or None where there is no such file."""
    path = folder / results.CALIBRATION
    if not path.is_file():
        return None
    damaged = f"'{path}' is damaged, run `vqafeat fit` again"
    values = parse(dict[str, tuple[Calibration, ...]], results.read_json(path), damaged, WeightsError)
    if any(len(values.get(name, ())) != config.splits for name in config.dataset_names):
        names = ", ".join(config.dataset_names)
        raise WeightsError(f"{damaged}: it needs {config.splits} calibration(s) of each of {names}.")
    return tuple(values[name] for name in config.dataset_names)


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
    write_csv(folder / results.PREDICTIONS, columns, [tuple(vars(row).values()) for row in predictions])


def read_rows(folder: Path) -> list[Prediction]:
    """Return the table of a run folder without calibrated scores."""
    path = folder / results.PREDICTIONS
    with results.reading(path), path.open(newline="", encoding="utf-8") as file:
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


def summarise(
    predictions: Sequence[Prediction],
    splits: int,
    mapping: str,
    notes: Sequence[str],
    datasets: Sequence[str] = ("",),
    fewest: int = FEWEST_TO_MEASURE,
) -> results.MetricsSummary:
    """Return the metrics of the test parts, one value a split; of several data sets, their weighted mean.

    A split with fewer than `fewest` test videos has NaN.
    """
    tested = [row for row in predictions if row.part == "test"]
    if len(datasets) == 1:
        return _measured(tested, splits, mapping, notes, fewest)
    rows = {name: [row for row in tested if strip_dataset_prefix([row.video], name)] for name in datasets}
    summaries = {name: _measured(own, splits, mapping, (), fewest) for name, own in rows.items()}
    return results.MetricsSummary.weighted(summaries, notes)


def _measured(
    tested: Sequence[Prediction], splits: int, mapping: str, notes: Sequence[str], fewest: int
) -> results.MetricsSummary:
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
    return results.MetricsSummary.of(metrics, notes, rmse_calibrated)
