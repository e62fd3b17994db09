"""Text that spreadsheets take for formulas, and files that are no regular ones."""

import csv
import os
from pathlib import Path

import pytest

from vqafeat.datasets import load_dataset
from vqafeat.datasets.label_readers import text_of
from vqafeat.errors import DatasetError
from vqafeat.io import escape_formula, unescape_formula, write_bytes
from vqafeat.paper_tables.load import load_table
from vqafeat.training.predictions import Prediction, read_rows, write_predictions

HOSTILE = [
    "=HYPERLINK(1).mp4",
    "+1.mp4",
    "-1.mp4",
    "@SUM(A1).mp4",
    "'quoted.mp4",
    "\tname.mp4",
    "plain.mp4",
    'a,"b".mp4',
    "new\nline.mp4",
]


@pytest.mark.parametrize("text", [*HOSTILE, ""])
def test_escape_formula__is_undone_by_unescape_formula(text: str) -> None:
    assert unescape_formula(escape_formula(text)) == text
    assert not escape_formula(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_write_predictions__holds_no_formula_and_reads_the_same(tmp_path: Path) -> None:
    rows = [Prediction(0, "test", name, name, -1.5, -2.5) for name in HOSTILE]
    write_predictions(tmp_path, rows)
    assert repr(read_rows(tmp_path)) == repr(rows)  # the score that was not written is NaN
    with (tmp_path / "predictions.csv").open(newline="") as file:
        cells = [cell for line in csv.DictReader(file) for cell in (line["video"], line["content"])]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_reading__refuses_files_of_absurd_size(tmp_path: Path) -> None:
    for name, read in (
        ("big.csv", text_of),
        ("big.csv", lambda path: load_dataset(str(path))),
        ("big.toml", lambda path: load_table(str(path))),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(300 * 2**20)
        with pytest.raises(
            DatasetError, match="has 300 MiB; label files, manifests and tables of at most 256 MiB are read"
        ):
            read(tmp_path / name)


def test_write_bytes__does_not_replace_a_pipe_or_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_bytes(tmp_path / "pipe", b"scores")
        assert os.read(reader, 10) == b"scores"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
