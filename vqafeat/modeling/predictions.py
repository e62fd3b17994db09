"""The scores that a run gave to videos, as its folder keeps them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqafeat.csv_text import unguarded
from vqafeat.errors import WeightsError
from vqafeat.metrics import evaluate_predictions
from vqafeat.modeling.mixing import own_names
from vqafeat.modeling.run_files import PREDICTIONS, write_csv
from vqafeat.modeling.summary import MetricsSummary

_COLUMNS = ("split", "part", "video", "content", "mos", "prediction")


@dataclass(frozen=True)
class Prediction:
    """One video's score by one split's head, on the label scale of the video's own data set where the run was trained on that one."""

    split: int
    part: str
    video: str
    content: str
    mos: float
    prediction: float


def write_predictions(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Write the table of a run folder."""
    write_csv(folder / PREDICTIONS, _COLUMNS, [tuple(getattr(row, key) for key in _COLUMNS) for row in predictions])


def read_predictions(folder: Path) -> tuple[Prediction, ...]:
    """Return the table of a run folder.

    Raises:
        WeightsError: it is missing or damaged.
    """
    path = folder / PREDICTIONS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(
                Prediction(
                    int(row["split"]),
                    row["part"],
                    unguarded(row["video"]),
                    unguarded(row["content"]),
                    float(row["mos"]),
                    float(row["prediction"] or "nan"),
                )
                for row in csv.DictReader(file)
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"'{path}' is damaged ({type(error).__name__}: {error}); run `vqafeat fit` again.") from error


def summarise(
    predictions: Sequence[Prediction], splits: int, mapping: str, notes: Sequence[str], datasets: Sequence[str] = ("",)
) -> MetricsSummary:
    """Return the metrics of the test parts, one value a split.

    Args:
        predictions: of all splits; those of other parts are left out.
        splits: their number.
        mapping: what PLCC and RMSE are read after.
        notes: what a reader has to know.
        datasets: where there are several, each is measured on its own scale, and the whole is their weighted mean.
    """
    tested = [row for row in predictions if row.part == "test"]
    if len(datasets) == 1:
        return _measured(tested, splits, mapping, notes)
    rows = {name: [row for row in tested if own_names([row.video], name)] for name in datasets}
    return MetricsSummary.weighted({name: _measured(own, splits, mapping, ()) for name, own in rows.items()}, notes)


def _measured(tested: Sequence[Prediction], splits: int, mapping: str, notes: Sequence[str]) -> MetricsSummary:
    metrics = []
    for number in range(splits):
        own = [row for row in tested if row.split == number]
        metrics.append(evaluate_predictions([row.prediction for row in own], [row.mos for row in own], mapping=mapping))
    return MetricsSummary.of(metrics, notes)
