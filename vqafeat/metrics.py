"""How well predictions agree with labels: SROCC, KROCC, PLCC and RMSE, the last two after a four-parameter logistic.

f(o) = (τ1 − τ2) / (1 + exp(−(o − τ3) / τ4)) + τ2, least squares on the part being reported, start τ1 = max s, τ2 = min s, τ3 = mean o, and
- `logistic`: τ4 = std(o) / 4, free to change its sign (Fang et al.);
- `logistic-li`: τ4 = 0.5 in the predictions' own unit, read as |τ4| (`logistic_func` in the released code of Li et al. and BVQA_Benchmark);
- `none`: PLCC and RMSE of the predictions as they are (the released code of VSFA).

The fit runs on standardised values, so predictions and labels may have any scale. Predictions that run against the labels get a falling
curve, as in the released codes: PLCC is then positive though SROCC is negative, and `Metrics.note` says so.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit
from scipy.stats import kendalltau, rankdata

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry

Values = NDArray[np.float64]

# The curve is flat to rounding left and right of τ3 long before |τ4| is this small (unit: standard deviations of the predictions).
SMALLEST_SLOPE_SCALE = 1e-12
MOST_EVALUATIONS = 20_000
NOT_CONVERGED = "the logistic fit did not converge"


@dataclass(frozen=True)
class LogisticStart:
    """Where the fit of a logistic starts: `slope_scale` gives τ4 from the predictions; `absolute` reads τ4 as |τ4|."""

    slope_scale: Callable[[Values], float]
    absolute: bool


MAPPINGS: Registry[LogisticStart | None] = Registry("mapping")
MAPPINGS.add("logistic", LogisticStart(lambda predictions: _deviation(predictions) / 4, absolute=False))
MAPPINGS.add("logistic-li", LogisticStart(lambda _: 0.5, absolute=True))
MAPPINGS.add("none", None)


@dataclass(frozen=True)
class LogisticFit:
    """The four parameters τ1 … τ4 of a fitted logistic, all NaN where the fit did not converge; `note` says what a reader should know.

    Raises:
        ArgumentError: a fit that converged holds a parameter that is not finite, or one that did not says nothing in `note`.
    """

    tau: tuple[float, float, float, float]
    converged: bool
    note: str = ""

    def __post_init__(self) -> None:
        if self.converged and not all(math.isfinite(value) for value in self.tau):
            raise ArgumentError(f"tau of a converged LogisticFit is {self.tau}: all four must be finite; set converged=False instead")
        if not self.converged and not self.note:
            raise ArgumentError("note of a LogisticFit that did not converge is empty: say why the fit failed")

    def mapped(self, scores: ArrayLike) -> Values:
        """Return f(scores), of the shape of `scores`, in the labels' unit; NaN everywhere where the fit did not converge."""
        values = np.asarray(scores, dtype=np.float64)
        if not self.converged:
            return np.full(values.shape, np.nan)
        return _logistic(values, *self.tau)


@dataclass(frozen=True)
class Metrics:
    """Agreement of `n` predictions with their labels; a number that does not exist is NaN and `note` says why.

    Raises:
        ArgumentError: `n` is below 2, or a number is NaN and `note` is empty.
    """

    srocc: float
    krocc: float
    plcc: float
    rmse: float
    n: int
    note: str = ""

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ArgumentError(f"n of Metrics is {self.n}: at least 2 values are needed to correlate")
        for name in ("srocc", "krocc", "plcc", "rmse"):
            if math.isnan(getattr(self, name)) and not self.note:
                raise ArgumentError(f"{name} of Metrics is NaN and note is empty: say why there is no number")


def evaluate_predictions(predictions: ArrayLike, mos: ArrayLike, mapping: str = "logistic") -> Metrics:
    """Compare predictions (video,) with labels (video,); RMSE is in the labels' unit.

    SROCC and KROCC (τ-b) are read on the predictions, PLCC and RMSE on what `mapping` makes of them.

    Raises:
        ArgumentError: the two differ in length, hold fewer than 2 values, or hold NaN or infinity.
        UnknownNameError: `mapping` is not one of `logistic`, `logistic-li`, `none`.
    """
    scores, labels = _checked_pair(predictions, mos)
    start = MAPPINGS.get(mapping)
    if constant := _constant_side(scores, labels):
        rmse = _rmse(scores, labels) if start is None else math.nan
        return Metrics(math.nan, math.nan, math.nan, rmse, scores.size, note=constant)
    srocc, krocc = _pearson(rankdata(scores), rankdata(labels)), float(kendalltau(scores, labels).statistic)
    if start is None:
        return Metrics(srocc, krocc, _pearson(scores, labels), _rmse(scores, labels), scores.size)
    fit = fit_logistic(scores, labels, mapping)
    if not fit.converged:
        return Metrics(srocc, krocc, math.nan, math.nan, scores.size, fit.note)
    mapped = fit.mapped(scores)
    return Metrics(srocc, krocc, _pearson(mapped, labels), _rmse(mapped, labels), scores.size, fit.note)


def fit_logistic(predictions: ArrayLike, mos: ArrayLike, start: str = "logistic") -> LogisticFit:
    """Fit the four-parameter logistic from predictions (video,) to labels (video,), starting as `start` says.

    Raises:
        ArgumentError: as in `evaluate_predictions`, or `start` is `none`.
        UnknownNameError: `start` is not one of `logistic`, `logistic-li`.
    """
    scores, labels = _checked_pair(predictions, mos)
    rule = MAPPINGS.get(start)
    if rule is None:
        raise ArgumentError(f"start '{start}' fits nothing: choose logistic or logistic-li, or use the predictions as they are")
    if constant := _constant_side(scores, labels):
        return _failed(constant)
    if scores.size < 4:
        return _failed(f"{scores.size} values are too few for a logistic of four parameters")
    o_mean, o_deviation = float(np.mean(scores)), _deviation(scores)
    s_mean, s_deviation = float(np.mean(labels)), _deviation(labels)
    x, y = (scores - o_mean) / o_deviation, (labels - s_mean) / s_deviation
    t = _least_squares(x, y, (y.max(), y.min(), 0.0, rule.slope_scale(scores) / o_deviation), absolute=rule.absolute)
    if t is None:
        return _failed(f"{NOT_CONVERGED} within {MOST_EVALUATIONS} evaluations")
    tau = (t[0] * s_deviation + s_mean, t[1] * s_deviation + s_mean, t[2] * o_deviation + o_mean, t[3] * o_deviation)
    mapped = _logistic(x, *t)
    # Every constant and, in the limit, every straight line is a logistic: a fit worse than these has not reached the least squares.
    residual, line = float(np.mean((mapped - y) ** 2)), 1 - _pearson(x, y) ** 2
    if not all(math.isfinite(value) for value in tau) or residual > 1 + 1e-9 or _is_constant(mapped):
        return _failed(f"{NOT_CONVERGED}: it ended in a curve no better than a constant")
    notes = []
    if _pearson(mapped, x) < 0:
        notes.append("the fitted logistic falls: the predictions run against the labels")
    if residual > line * (1 + 1e-3) + 1e-4:
        notes.append("the fitted logistic is a local minimum: a straight line is closer to the labels")
    return LogisticFit(tau, converged=True, note="; ".join(notes))


def _failed(note: str) -> LogisticFit:
    return LogisticFit((math.nan, math.nan, math.nan, math.nan), converged=False, note=note)


def _checked_pair(predictions: ArrayLike, mos: ArrayLike) -> tuple[Values, Values]:
    scores, labels = _checked("predictions", predictions), _checked("mos", mos)
    if scores.size != labels.size:
        raise ArgumentError(f"predictions has {scores.size} values and mos {labels.size}: give one prediction for each label, in one order")
    return scores, labels


def _checked(name: str, given: ArrayLike) -> Values:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} holds something that is not a number ({error}): give one number a video") from error
    if values.ndim != 1 or values.size < 2:
        raise ArgumentError(f"{name} has shape {values.shape}: give a one-dimensional list of at least 2 numbers, one a video")
    if bad := np.flatnonzero(~np.isfinite(values)).tolist():
        raise ArgumentError(
            f"{name} holds {len(bad)} values that are NaN or infinite, first at positions {bad[:3]}: leave these out or mend them"
        )
    return values


def _constant_side(scores: Values, labels: Values) -> str:
    if _is_constant(scores):
        return "constant predictions: there is nothing to correlate"
    return "constant labels: there is nothing to correlate" if _is_constant(labels) else ""


def _is_constant(values: Values) -> bool:
    # Equal up to the rounding of float64, so that one number computed in two ways does not count as two ranks.
    return bool(np.ptp(values) <= 8 * np.finfo(np.float64).eps * np.abs(values).max())


def _deviation(values: Values) -> float:
    return float(np.std(values))


def _pearson(first: Values, second: Values) -> float:
    if _is_constant(first) or _is_constant(second):
        return math.nan
    a, b = (centred / np.linalg.norm(centred) for centred in (first - first.mean(), second - second.mean()))
    return float(np.clip(a @ b, -1.0, 1.0))


def _rmse(first: Values, second: Values) -> float:
    return float(np.sqrt(np.mean((first - second) ** 2)))


def _logistic(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
    with np.errstate(over="ignore"):
        return np.asarray((t1 - t2) * expit((x - t3) / t4) + t2, dtype=np.float64)


def _least_squares(
    x: Values, y: Values, start: tuple[float, float, float, float], *, absolute: bool
) -> tuple[float, float, float, float] | None:
    def guarded(t4: float) -> float:
        size = max(abs(t4), SMALLEST_SLOPE_SCALE)
        return size if absolute else math.copysign(size, t4)

    def curve(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
        return _logistic(x, t1, t2, t3, guarded(t4))

    def slopes(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
        scale = guarded(t4)
        sign = math.copysign(1.0, t4) if absolute else 1.0
        z = (x - t3) / scale
        rise = expit(z)
        steepness = (t1 - t2) * rise * expit(-z) / scale
        return np.stack([rise, 1 - rise, -steepness, -steepness * z * sign], axis=1)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # What overflows on the way is caught at the end: the parameters must be finite and the curve close to the labels.
        # Two distinct predictions leave τ3 and τ4 open, yet the mapped values, all that is reported, are determined.
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, _ = curve_fit(curve, x, y, p0=start, jac=slopes, method="lm", maxfev=MOST_EVALUATIONS)
        except RuntimeError:
            return None
    t1, t2, t3, t4 = (float(value) for value in found)
    return t1, t2, t3, guarded(t4)
