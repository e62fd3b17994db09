"""Two runs on the same splits, their scores blended: Li et al.'s ensemble of GRU and Transformer."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.metrics import evaluate_predictions
from vqafeat.modeling.predictions import Prediction, summarise
from vqafeat.modeling.run_config import RunConfig
from vqafeat.modeling.run_files import CONFIG, METRICS, PREDICTIONS, SPLITS, read_json
from vqafeat.modeling.summary import MetricsSummary

# table XV gives ratios of two decimals
KAPPAS = tuple(step / 100 for step in range(101))
_PARTS = ("validation", "test")
_FEWEST_TO_CHOOSE = 3
# equal rankings of the same videos may differ this much in SROCC
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ensemble:
    """Blended scores, κ·first + (1 − κ)·second.

    Attributes:
        kappas: one a split.
        chosen: how they came about, in words.
        summary: metrics of the test parts, one value a split.
        predictions: of the test parts.
    """

    kappas: tuple[float, ...]
    chosen: str
    summary: MetricsSummary
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class _Run:
    """A finished run's configuration, its splits as names, and its scores by split, part and video."""

    config: RunConfig
    splits: Sequence[Mapping[str, list[str]]]
    rows: Mapping[tuple[int, str, str], Prediction]


def ensemble(first: Path, second: Path, *, kappa: float | None = None, mapping: str | None = None) -> Ensemble:
    """Blend the scores that two runs left for the same splits of the same data set and measure them on the test parts.

    Li et al. (TCSVT 2022), equation 17: Q = κ·Q_GRU + (1 − κ)·Q_Transformer. The paper gives one "best ratio" a data set and does not say
    what it was chosen on; here each split's κ, of 0, 0.01 … 1, is the one with the highest SROCC on that split's validation part, and of
    several the one closest to 0.5.

    Args:
        first: run folder whose scores have the weight κ.
        second: run folder of the same splits.
        kappa: for all splits; without it, chosen on validation.
        mapping: what PLCC and RMSE are read after; without it, the first run's own.

    Raises:
        WeightsError: a folder is no finished run.
        ArgumentError: the runs differ in data set, label scale or splits, there is no validation part to choose on, or `kappa` is not
            between 0 and 1.
    """
    if kappa is not None and not 0 <= kappa <= 1:
        raise ArgumentError(f"kappa is {kappa}; it has to be between 0 and 1, as 0.5.")
    one, two = _read(first), _read(second)
    _check_same(one, two, first, second)
    kappas = [kappa if kappa is not None else _chosen(one, two, number) for number in range(len(one.splits))]
    predictions = tuple(row for number, value in enumerate(kappas) for row in _blended(one, two, number, "test", value))
    chosen = "highest SROCC on each split's validation part" if kappa is None else "given"
    summary = summarise(predictions, len(kappas), mapping or one.config.mapping, [])
    return Ensemble(tuple(kappas), chosen, summary, predictions)


def _read(folder: Path) -> _Run:
    read_json(folder / METRICS)
    config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
    splits = read_json(folder / SPLITS)["splits"]
    path = folder / PREDICTIONS
    if not splits or not path.is_file():
        raise WeightsError(f"'{folder}' has no predictions on splits of its own (an imported head has none); blend runs of `vqafeat fit`.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            Prediction(int(row["split"]), row["part"], row["video"], row["content"], float(row["mos"]), float(row["prediction"]))
            for row in csv.DictReader(file)
        ]
    return _Run(config, splits, {(row.split, row.part, row.video): row for row in rows if row.part in _PARTS})


def _check_same(one: _Run, two: _Run, first: Path, second: Path) -> None:
    for name in ("dataset", "dataset_digest", "score_name"):
        values = getattr(one.config, name), getattr(two.config, name)
        if values[0] != values[1]:
            raise ArgumentError(f"{name} of '{first}' is {values[0]!r}, of '{second}' {values[1]!r}; blend runs on one data set.")
    if len(one.splits) != len(two.splits):
        raise ArgumentError(f"'{first}' has {len(one.splits)} splits, '{second}' {len(two.splits)}; fit both with the same splits.")
    for number, (own, other) in enumerate(zip(one.splits, two.splits, strict=True)):
        for part in ("train", *_PARTS):
            if sorted(own[part]) != sorted(other[part]):
                raise ArgumentError(
                    f"split {number} has other {part} videos in '{second}' than in '{first}'; fit both with the same splits and seed."
                )


def _chosen(one: _Run, two: _Run, number: int) -> float:
    if len(one.splits[number]["validation"]) < _FEWEST_TO_CHOOSE:
        raise ArgumentError(
            f"split {number} has {len(one.splits[number]['validation'])} validation video(s), too few to choose kappa on; "
            "fit with a validation part (60/20/20), or give --kappa."
        )
    sroccs = []
    for kappa in KAPPAS:
        rows = _blended(one, two, number, "validation", kappa)
        sroccs.append(evaluate_predictions([row.prediction for row in rows], [row.mos for row in rows], mapping="none").srocc)
    if np.isnan(sroccs).all():
        raise ArgumentError(f"the validation scores of split {number} are constant in both runs, so no kappa is best; give --kappa.")
    best = np.nanmax(sroccs) - _ROUNDING
    return min((kappa for kappa, srocc in zip(KAPPAS, sroccs, strict=True) if srocc >= best), key=lambda kappa: abs(kappa - 0.5))


def _blended(one: _Run, two: _Run, number: int, part: str, kappa: float) -> list[Prediction]:
    blended = []
    for video in one.splits[number][part]:
        own, other = one.rows[number, part, video], two.rows[number, part, video]
        score = kappa * own.prediction + (1 - kappa) * other.prediction
        blended.append(Prediction(number, part, video, own.content, own.mos, score))
    return blended
