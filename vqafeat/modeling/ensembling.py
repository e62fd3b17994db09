"""Two runs on the same splits, their scores blended: Li et al.'s ensemble of GRU and Transformer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqafeat.errors import ArgumentError
from vqafeat.metrics import evaluate_predictions
from vqafeat.modeling.predictions import Prediction, summarise
from vqafeat.modeling.recorded import RecordedRun, check_same
from vqafeat.modeling.summary import MetricsSummary

# table XV gives ratios of two decimals
KAPPAS = tuple(step / 100 for step in range(101))
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
        mapping: what PLCC and RMSE were read after.
        predictions: of the test parts.
    """

    kappas: tuple[float, ...]
    chosen: str
    summary: MetricsSummary
    mapping: str
    predictions: tuple[Prediction, ...]


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
    one, two = RecordedRun.read(first), RecordedRun.read(second)
    check_same(one, two, verb="blend")
    kappas = [kappa if kappa is not None else _chosen(one, two, number) for number in range(len(one.splits))]
    predictions = tuple(row for number, value in enumerate(kappas) for row in _blended(one, two, number, "test", value))
    chosen = "highest SROCC on each split's validation part" if kappa is None else "given"
    read_after = mapping or one.config.mapping
    return Ensemble(tuple(kappas), chosen, summarise(predictions, len(kappas), read_after, []), read_after, predictions)


def _chosen(one: RecordedRun, two: RecordedRun, number: int) -> float:
    if len(one.splits[number]["validation"]) < _FEWEST_TO_CHOOSE:
        raise ArgumentError(
            f"split {number} has {len(one.splits[number]['validation'])} validation video(s), too few to choose kappa on; "
            "fit with a larger one (--ratio 60/20/20 or 40/30/30), or give --kappa."
        )
    sroccs = []
    for kappa in KAPPAS:
        rows = _blended(one, two, number, "validation", kappa)
        sroccs.append(evaluate_predictions([row.prediction for row in rows], [row.mos for row in rows], mapping="none").srocc)
    if np.isnan(sroccs).all():
        raise ArgumentError(f"the validation scores of split {number} are constant in both runs, so no kappa is best; give --kappa.")
    best = np.nanmax(sroccs) - _ROUNDING
    return min((kappa for kappa, srocc in zip(KAPPAS, sroccs, strict=True) if srocc >= best), key=lambda kappa: abs(kappa - 0.5))


def _blended(one: RecordedRun, two: RecordedRun, number: int, part: str, kappa: float) -> list[Prediction]:
    blended = []
    for video in one.splits[number][part]:
        own, other = one.rows[number, part, video], two.rows[number, part, video]
        score = kappa * own.prediction + (1 - kappa) * other.prediction
        blended.append(Prediction(number, part, video, own.content, own.mos, score))
    return blended
