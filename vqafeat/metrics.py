"""Agreement of predictions with labels: SROCC, KROCC, PLCC and RMSE, the last two with and without a mapping.

The mappings are logistics, f(o) = (τ1 − τ2) / (1 + exp(−(o − τ3) / τ4)) + τ2, fitted by least squares to the
part being reported, on standardised values:

- `logistic-increasing`, the default: f only rises, as VQEG's test plans require. It is fitted to at least 20
  videos; τ4 is at least half the standard deviation of the predictions; the best of several starts is kept.
  Where it cannot be fitted, PLCC and RMSE are those of the predictions, and `Metrics.note` says why.
- `logistic` (Fang et al.): one start, τ1 = max s, τ2 = min s, τ3 = mean o, τ4 = std(o) / 4. Predictions that
  run against the labels get a falling curve: PLCC is positive though SROCC is negative, as `note` says.
- `logistic-li`: the same with τ4 = 0.5 in the predictions' unit, taken as |τ4| (`logistic_func` in the
  released code of Li et al. and BVQA_Benchmark).
- `none`: PLCC and RMSE of the predictions as they are (the released code of VSFA).
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeWarning, curve_fit, least_squares
from scipy.special import expit
from scipy.stats import kendalltau, rankdata

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry

Values = NDArray[np.float64]

Tau = tuple[float, float, float, float]

MOST_EVALUATIONS = 20_000
NOT_CONVERGED = "the logistic fit did not converge"
_NO_BETTER = f"{NOT_CONVERGED}: it ended in a curve no better than a constant"
DEFAULT_MAPPING = "logistic-increasing"
# Five for each parameter of a logistic. With fewer, one video visibly changes the metrics, mapped or not.
FEW_VIDEOS = 20
# Lower bound of |τ4| in standard deviations of the predictions: two of these are a rise from 12 % to 88 %.
_STEEPEST = 0.5
_STARTS_REFINED = 3


@dataclass(frozen=True)
class LogisticFit:
    """The parameters τ1 … τ4 of a fitted logistic; without convergence all are NaN, and `note` says why."""

    tau: Tau
    note: str = ""

    def __post_init__(self) -> None:
        if not self.converged and not self.note:
            raise ArgumentError(f"tau of a LogisticFit is {self.tau} and note is empty: say why it failed")

    @property
    def converged(self) -> bool:
        """Whether all parameters are finite."""
        return bool(np.isfinite(self.tau).all())

    def mapped(self, scores: ArrayLike) -> Values:
        """Return f(scores), in the labels' unit; all NaN without convergence."""
        return _logistic(np.asarray(scores, dtype=np.float64), *self.tau)


@dataclass(frozen=True)
class MappingRule:
    """How a logistic is fitted.

    Attributes:
        fit: (standardised predictions, standardised labels, standard deviation of the predictions) → fit.
        fewest_videos: with fewer videos no logistic is fitted.
        or_plain: where the fit fails, PLCC and RMSE are those of the predictions, not NaN.
    """

    fit: Callable[[Values, Values, float], LogisticFit]
    fewest_videos: int = 4
    or_plain: bool = False


@dataclass(frozen=True)
class Metrics:
    """Agreement of `n` predictions with their labels; where a number is NaN, `note` says why.

    PLCC and RMSE are computed after the mapping, `plcc_plain` and `rmse_plain` without it.
    """

    srocc: float
    krocc: float
    plcc: float
    rmse: float
    plcc_plain: float
    rmse_plain: float
    n: int
    note: str = ""

    def __post_init__(self) -> None:
        undefined = [name for name, value in vars(self).items() if name != "note" and math.isnan(value)]
        if (undefined or self.n < 2) and not self.note:
            what = f"{undefined[0]} of Metrics is NaN" if undefined else f"n of Metrics is {self.n}"
            raise ArgumentError(f"{what} and note is empty: say why it cannot be computed")


def evaluate_predictions(predictions: ArrayLike, mos: ArrayLike, mapping: str = DEFAULT_MAPPING) -> Metrics:
    """Compare predictions (video,) with labels (video,); KROCC is τ-b, RMSE is in the labels' unit."""
    scores, labels = _checked_pair(predictions, mos)
    mapped, note = map_predictions(scores, labels, mapping)
    srocc = krocc = math.nan
    if constant := _constant_side(scores, labels):
        note = constant
    else:
        srocc, krocc = _pearson(rankdata(scores), rankdata(labels)), kendalltau(scores, labels).statistic
    after, plain = ((_pearson(values, labels), _rmse(values, labels)) for values in (mapped, scores))
    return Metrics(srocc, float(krocc), *after, *plain, scores.size, note)


def map_predictions(predictions: ArrayLike, mos: ArrayLike, mapping: str) -> tuple[Values, str]:
    """Return predictions (video,) after a mapping, and its note; if the fit fails, unchanged or all NaN."""
    scores, labels = _checked_pair(predictions, mos)
    rule = MAPPINGS.get(mapping)
    if rule is None:
        return scores, ""
    fit = fit_logistic(scores, labels, mapping)
    if rule.or_plain and not fit.converged:
        return scores, f"{fit.note}: PLCC and RMSE are those without a mapping"
    return fit.mapped(scores), fit.note


def fit_logistic(predictions: ArrayLike, mos: ArrayLike, mapping: str = DEFAULT_MAPPING) -> LogisticFit:
    """Fit a mapping other than `none` from predictions (video,) to labels (video,)."""
    scores, labels = _checked_pair(predictions, mos)
    rule = MAPPINGS.get(mapping)
    if rule is None:
        fitted = ", ".join(name for name in MAPPINGS if MAPPINGS.get(name) is not None)
        raise ArgumentError(f"mapping '{mapping}' has no logistic to fit: choose one of {fitted}.")
    if constant := _constant_side(scores, labels):
        return _failed(constant)
    if scores.size < rule.fewest_videos:
        few = f"{scores.size} videos are too few for the mapping '{mapping}'"
        return _failed(f"{few}, which needs {rule.fewest_videos}")
    o_mean, o_std = float(np.mean(scores)), float(np.std(scores))
    s_mean, s_std = float(np.mean(labels)), float(np.std(labels))
    fit = rule.fit((scores - o_mean) / o_std, (labels - s_mean) / s_std, o_std)
    if not fit.converged:
        return fit
    t1, t2, t3, t4 = fit.tau
    tau = t1 * s_std + s_mean, t2 * s_std + s_mean, t3 * o_std + o_mean, t4 * o_std
    in_units = LogisticFit(tau, fit.note)
    return in_units if in_units.converged else _failed(_NO_BETTER)


def _released_fit(x: Values, y: Values, std: float, *, li: bool) -> LogisticFit:
    """Return the fit of Fang et al., or that of Li et al., which takes |τ4|."""
    t = _least_squares(x, y, (y.max(), y.min(), 0.0, 0.5 / std if li else 0.25), absolute=li)
    if t is None:
        return _failed(f"{NOT_CONVERGED} within {MOST_EVALUATIONS} evaluations")
    mapped = _logistic(x, *t)
    # constants and straight lines are limits of the logistic, so a good fit is not worse than these
    residual, line = float(np.mean((mapped - y) ** 2)), 1 - _pearson(x, y) ** 2
    if not np.isfinite(t).all() or residual > 1 + 1e-9 or _is_constant(mapped):
        return _failed(_NO_BETTER)
    notes = []
    if _pearson(mapped, x) < 0:
        notes.append("the fitted logistic falls: the predictions run against the labels")
    if residual > line * (1 + 1e-3) + 1e-4:
        notes.append("the fitted logistic is a local minimum: a straight line is closer to the labels")
    return LogisticFit(t, "; ".join(notes))


def _increasing_fit(x: Values, y: Values, std: float) -> LogisticFit:
    """Return the best rising logistic from a grid of starts: τ3, τ4, and the least squares in τ1 and τ2."""
    if _pearson(rankdata(x), rankdata(y)) <= 0:
        return _failed("the predictions run against the labels, which no increasing curve fits")
    starts = []
    for middle, scale in product(np.linspace(x.min(), x.max(), 7), (_STEEPEST, 1.0, 3.0)):
        shape = expit((x - middle) / scale)
        rise = max(float(np.cov(shape, y, ddof=0)[0, 1] / np.var(shape)), 0.0)
        start = (rise, float(y.mean() - rise * shape.mean()), float(middle), scale)
        starts.append((float(np.sum((start[1] + rise * shape - y) ** 2)), start))
    bounds = [(0.0, 200.0), (-200.0, 200.0), (x.min() - 3, x.max() + 3), (_STEEPEST, 10.0)]

    def residuals(t: Values) -> Values:
        return np.asarray(t[0] * expit((x - t[2]) / t[3]) + t[1] - y)

    def slopes(t: Values) -> Values:
        z = (x - t[2]) / t[3]
        steepness = t[0] * expit(z) * expit(-z) / t[3]
        return np.stack([expit(z), np.ones_like(z), -steepness, -steepness * z], axis=1)

    low, high = np.array(bounds).T
    within = [np.clip(start, low, high) for _, start in sorted(starts)[:_STARTS_REFINED]]
    fits = [least_squares(residuals, start, slopes, (low, high), max_nfev=500) for start in within]
    best = min(fits, key=lambda fit: fit.cost)
    rise, bottom, middle, scale = best.x.tolist()
    if 2 * best.cost / x.size > 1 - 1e-6 or _is_constant(_logistic(x, bottom + rise, bottom, middle, scale)):
        return _failed("no increasing curve is closer to the labels than their mean")
    return LogisticFit((bottom + rise, bottom, middle, scale))


MAPPINGS: Registry[MappingRule | None] = Registry("mapping")
MAPPINGS.add(DEFAULT_MAPPING, MappingRule(_increasing_fit, fewest_videos=FEW_VIDEOS, or_plain=True))
MAPPINGS.add("logistic", MappingRule(partial(_released_fit, li=False)))
MAPPINGS.add("logistic-li", MappingRule(partial(_released_fit, li=True)))
MAPPINGS.add("none", None)


def _failed(note: str) -> LogisticFit:
    return LogisticFit((math.nan, math.nan, math.nan, math.nan), note)


def _checked_pair(predictions: ArrayLike, mos: ArrayLike) -> tuple[Values, Values]:
    scores, labels = _checked("predictions", predictions), _checked("mos", mos)
    if scores.size != labels.size:
        sizes = f"predictions has {scores.size} values and mos {labels.size}"
        raise ArgumentError(f"{sizes}: give one prediction for each label, in the same order")
    return scores, labels


def _checked(name: str, given: ArrayLike) -> Values:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} holds something that is not a number ({error}).") from error
    if values.ndim != 1 or values.size < 2:
        raise ArgumentError(f"{name} has shape {values.shape}: give at least 2 numbers, one per video.")
    if bad := np.flatnonzero(~np.isfinite(values)).tolist():
        message = f"{name} holds {len(bad)} values that are NaN or infinite, first at positions {bad[:3]}"
        raise ArgumentError(f"{message}: leave these out or correct them")
    return values


def _constant_side(scores: Values, labels: Values) -> str:
    if _is_constant(scores):
        return "constant predictions: there is nothing to correlate"
    return "constant labels: there is nothing to correlate" if _is_constant(labels) else ""


def _is_constant(values: Values) -> bool:
    # up to rounding in float64, so that a number that was computed in two ways has one rank
    return bool(np.ptp(values) <= 8 * np.finfo(np.float64).eps * np.abs(values).max())


def _pearson(first: Values, second: Values) -> float:
    if _is_constant(first) or _is_constant(second):
        return math.nan
    a, b = first - first.mean(), second - second.mean()  # exact of ranks, so that equal SROCC are one number
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _rmse(first: Values, second: Values) -> float:
    return float(np.sqrt(np.mean((first - second) ** 2)))


def _logistic(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
    with np.errstate(over="ignore"):
        return np.asarray((t1 - t2) * expit((x - t3) / t4) + t2, dtype=np.float64)


def _least_squares(x: Values, y: Values, start: Tau, *, absolute: bool) -> Tau | None:
    def evaluated(t4: float) -> float:
        size = max(abs(t4), 1e-12)  # as steep as a step, up to rounding
        return size if absolute else math.copysign(size, t4)

    def curve(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
        return _logistic(x, t1, t2, t3, evaluated(t4))

    def slopes(x: Values, t1: float, t2: float, t3: float, t4: float) -> Values:
        scale = evaluated(t4)
        sign = math.copysign(1.0, t4) if absolute else 1.0
        z = (x - t3) / scale
        rise = expit(z)
        steepness = (t1 - t2) * rise * expit(-z) / scale
        return np.stack([rise, 1 - rise, -steepness, -steepness * z * sign], axis=1)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The caller refuses parameters that are not finite and curves that are far from the labels, so an
        # overflow needs no warning. If the predictions have only two values, f is determined at both, but τ3
        # and τ4 are not.
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            tau, _ = curve_fit(curve, x, y, p0=start, jac=slopes, method="lm", maxfev=MOST_EVALUATIONS)
        except RuntimeError:
            return None
    t1, t2, t3, t4 = tau.tolist()
    return t1, t2, t3, evaluated(t4)
