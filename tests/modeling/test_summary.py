from math import isnan, nan

import numpy as np
import pytest

from vqafeat.metrics import Metrics
from vqafeat.modeling.summary import MetricsSummary, Spread


def test_mean_sample_deviation_and_median() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    spread = Spread.of(values)
    assert (spread.mean, spread.std, spread.median) == pytest.approx((np.mean(values), np.std(values, ddof=1), np.median(values)))
    assert spread.values == tuple(values)


def test_undefined_values_are_left_out_and_noted() -> None:
    metrics = [Metrics(0.5, 0.4, nan, nan, 11, "the logistic fit did not converge"), Metrics(0.7, 0.6, 0.8, 0.3, 12, "")]
    summary = MetricsSummary.of(metrics, ["2 videos left out"])
    assert summary.srocc.mean == pytest.approx(0.6)
    assert (summary.plcc.mean, summary.n) == (0.8, (11, 12))
    assert isnan(summary.plcc.std)
    assert summary.notes == ("2 videos left out", "split 0: the logistic fit did not converge")
    assert set(summary.as_dict()) == {"srocc", "krocc", "plcc", "rmse", "n", "notes"}
    assert set(summary.as_dict()["srocc"]) == {"mean", "std", "median", "values"}


def test_nothing_measured_has_no_mean() -> None:
    assert isnan(MetricsSummary.of([]).srocc.mean)
