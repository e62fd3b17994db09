from math import isnan, nan

import numpy as np
import pytest

from vqafeat.metrics import Metrics
from vqafeat.training.results import MetricsSummary, Summary


def test_mean_sample_deviation_and_median() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    spread = Summary.of(values)
    assert (spread.mean, spread.std, spread.median) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1), np.median(values))
    )
    assert spread.values == tuple(values)


def test_undefined_values_are_left_out_and_noted() -> None:
    failed = "the logistic fit did not converge"
    metrics = [
        Metrics(0.5, 0.4, nan, nan, 0.6, 0.5, 11, failed),
        Metrics(0.7, 0.6, 0.8, 0.3, 0.7, 0.4, 12, ""),
    ]
    summary = MetricsSummary.of(metrics, ["2 videos left out"])
    assert summary.srocc.mean == pytest.approx(0.6)
    assert (summary.plcc.mean, summary.n) == (0.8, (11, 12))
    assert isnan(summary.plcc.std)
    assert summary.notes == ("2 videos left out", "split 0: the logistic fit did not converge")
    assert summary.plcc_plain.values == (0.6, 0.7)
    measures = {"srocc", "krocc", "plcc", "rmse", "plcc_plain", "rmse_plain", "rmse_calibrated"}
    assert set(summary.as_dict()) == {*measures, "n", "few_videos", "notes"}
    assert set(summary.as_dict()["srocc"]) == {"mean", "std", "median", "values"}


def test_nothing_measured_has_no_mean() -> None:
    assert isnan(MetricsSummary.of([]).srocc.mean)


def test_equal_notes_are_said_once_with_their_count() -> None:
    few = "too few"
    metrics = [Metrics(0.5, 0.4, 0.3, 0.2, 0.3, 0.2, 11, note) for note in (few, "", few, few, "odd")]
    assert MetricsSummary.of(metrics).notes == ("3 of 5 splits: too few", "split 4: odd")
    assert MetricsSummary.of(metrics[:1]).notes == ("too few",)


def test_measuring_on_few_videos_is_marked() -> None:
    def summary(*counts: int) -> MetricsSummary:
        return MetricsSummary.of([Metrics(0.5, 0.4, 0.3, 0.2, 0.3, 0.2, count) for count in counts])

    assert summary(20, 240).few_videos == ""
    assert summary(19, 20, 11).few_videos == (
        "measured on only 11 to 19 test videos a split: with fewer than 20, one video moves a figure visibly"
    )
    both = MetricsSummary.weighted({"one": summary(40), "two": summary(5)})
    assert "only 5 test videos" in both.few_videos
    assert (summary(5).as_dict()["few_videos"], summary(50).as_dict()["few_videos"]) == (True, False)
