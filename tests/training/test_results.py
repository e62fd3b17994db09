"""Files of a run folder, and summaries over splits."""

import csv
import json
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
import torch

from vqafeat.errors import WeightsError
from vqafeat.io import summarize, write_bytes, write_csv, write_json
from vqafeat.metrics import Metrics
from vqafeat.training.results import (
    MetricsSummary,
    Summary,
    load_checked,
    read_json,
    read_weights,
    weights_path,
    write_weights,
)


def test_write_csv__survives_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    rows = [["a,b", 0.1], ['quote "x"', 1 / 3], ["line\nbreak\r\nand more", 1e-17], ["plain", nan]]
    write_csv(tmp_path / "t.csv", ("name", "value"), rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        back = list(csv.reader(file))
    assert [row[0] for row in back[1:]] == [row[0] for row in rows]
    assert [float(row[1]) for row in back[1:4]] == [0.1, 1 / 3, 1e-17]
    assert back[4][1] == ""


def test_write_json__has_null_for_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "t.json", {"a": [1.5, nan], "b": {"c": (nan,)}})
    assert json.loads((tmp_path / "deep" / "t.json").read_text()) == {"a": [1.5, None], "b": {"c": [None]}}
    assert read_json(tmp_path / "deep" / "t.json") == {"a": [1.5, None], "b": {"c": [None]}}


def test_write_bytes__that_fails_keeps_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(tmp_path / "f", b"old")

    def full(path: Path, content: bytes) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"no space"):
        write_bytes(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_read_json__reports_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError,
        match=r"metrics.json' is missing: .* is no run folder, or its fit did not finish; run `vqafeat fit` "
        r"again",
    ):
        read_json(tmp_path / "metrics.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(WeightsError, match=r"/x.json' is no run folder; give the folder that `vqafeat fit`"):
        read_json(tmp_path / "x.json" / "metrics.json")
    with pytest.raises(WeightsError, match=r"x.json' is damaged \(JSONDecodeError: "):
        read_json(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"y.json' is damaged \(TypeError: a list in place of an object"):
        read_json(tmp_path / "y.json")
    with pytest.raises(WeightsError, match=r"w.safetensors' is missing"):
        read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"w.safetensors' is damaged"):
        read_weights(tmp_path / "w.safetensors")


def test_read_weights__returns_what_was_written(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(1.0)}
    write_weights(weights_path(tmp_path, 7), weights)
    back = read_weights(tmp_path / "weights" / "split-07.safetensors")
    assert all(torch.equal(back[name], value) for name, value in weights.items())


def test_load_checked__names_weights_that_do_not_fit() -> None:
    network = torch.nn.Linear(3, 2)
    with pytest.raises(
        WeightsError,
        match=r"'f' do not fit the head: weight is \(2, 4\) in place of \(2, 3\); bias is missing in place "
        r"of \(2,\); extra is \(1,\) in place of nothing\.",
    ):
        load_checked(network, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, "weights in 'f'")


def test_summarize__cuts_long_lists() -> None:
    assert summarize(["a", "b", "c", "d", "e"], 3, "; ") == "a; b; c and 2 more"
    assert summarize(["a"]) == "a"


def test_summary__has_mean_sample_deviation_and_median() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    spread = Summary.of(values)
    assert (spread.mean, spread.std, spread.median) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1), np.median(values))
    )
    assert spread.values == tuple(values)


def test_metrics_summary__leaves_out_and_notes_undefined_values() -> None:
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


def test_metrics_summary__of_nothing_has_no_mean() -> None:
    assert isnan(MetricsSummary.of([]).srocc.mean)


def test_metrics_summary__says_equal_notes_once_with_their_count() -> None:
    few = "too few"
    metrics = [Metrics(0.5, 0.4, 0.3, 0.2, 0.3, 0.2, 11, note) for note in (few, "", few, few, "odd")]
    assert MetricsSummary.of(metrics).notes == ("3 of 5 splits: too few", "split 4: odd")
    assert MetricsSummary.of(metrics[:1]).notes == ("too few",)


def test_metrics_summary__marks_measuring_on_few_videos() -> None:
    def summary(*counts: int) -> MetricsSummary:
        return MetricsSummary.of([Metrics(0.5, 0.4, 0.3, 0.2, 0.3, 0.2, count) for count in counts])

    assert summary(20, 240).few_videos == ""
    assert summary(19, 20, 11).few_videos == (
        "measured on only 11 to 19 test videos per split: with fewer than 20, one video moves a figure "
        "visibly"
    )
    both = MetricsSummary.weighted({"one": summary(40), "two": summary(5)})
    assert "only 5 test videos" in both.few_videos
    assert (summary(5).as_dict()["few_videos"], summary(50).as_dict()["few_videos"]) == (True, False)
