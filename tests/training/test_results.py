import csv
import json
from math import nan
from pathlib import Path

import pytest
import torch

from vqafeat.errors import WeightsError
from vqafeat.io import summarize_problems, write_bytes, write_csv, write_json
from vqafeat.training.results import load_checked, read_json, read_weights, weights_path, write_weights


def test_csv_survives_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    rows = [["a,b", 0.1], ['quote "x"', 1 / 3], ["line\nbreak\r\nand more", 1e-17], ["plain", nan]]
    write_csv(tmp_path / "t.csv", ("name", "value"), rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        back = list(csv.reader(file))
    assert [row[0] for row in back[1:]] == [row[0] for row in rows]
    assert [float(row[1]) for row in back[1:4]] == [0.1, 1 / 3, 1e-17]
    assert back[4][1] == ""


def test_json_has_null_for_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "t.json", {"a": [1.5, nan], "b": {"c": (nan,)}})
    assert json.loads((tmp_path / "deep" / "t.json").read_text()) == {"a": [1.5, None], "b": {"c": [None]}}
    assert read_json(tmp_path / "deep" / "t.json") == {"a": [1.5, None], "b": {"c": [None]}}


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
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


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError,
        match=r"metrics.json' is missing: .* is no run folder, or its fit did not finish; run `vqafeat fit` "
        r"again",
    ):
        read_json(tmp_path / "metrics.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(WeightsError, match=r"x.json' is not JSON"):
        read_json(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"y.json' holds a list in place of an object"):
        read_json(tmp_path / "y.json")
    with pytest.raises(WeightsError, match=r"weights file '.*' is missing"):
        read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"w.safetensors' is damaged"):
        read_weights(tmp_path / "w.safetensors")


def test_weights_come_back(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(1.0)}
    write_weights(weights_path(tmp_path, 7), weights)
    back = read_weights(tmp_path / "weights" / "split-07.safetensors")
    assert all(torch.equal(back[name], value) for name, value in weights.items())


def test_weights_that_do_not_fit_are_named() -> None:
    network = torch.nn.Linear(3, 2)
    with pytest.raises(
        WeightsError,
        match=r"'f' do not fit the head: bias is missing; extra is not of this network; weight is \(2, 4\) "
        r"in place of \(2, 3\)\.",
    ):
        load_checked(network, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, "weights in 'f'")


def test_long_lists_are_cut() -> None:
    assert summarize_problems(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
    assert summarize_problems(["a"]) == "a"
