"""The progress of a fit on a terminal, and its curve in one line."""

from io import StringIO
from math import nan

import pytest
from rich.console import Console
from vqafeat_cli.console import fit_progress, shown_progress, sparkline

from vqafeat.training.checkpoint import EpochRecord


def shown(splits: int, epochs: int | None, records: list[tuple[int, float]]) -> str:
    """Return the last state of the line for (split, validation SROCC) records, epochs counted."""
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=200, color_system=None)
    with fit_progress(splits, epochs, console) as progress:
        assert progress is not None
        for number, (split, srocc) in enumerate(records):
            epoch = sum(earlier == split for earlier, _ in records[: number + 1])
            progress(split, EpochRecord(epoch, 0.5, srocc))
    return text.getvalue().split("\r")[-1]


def test_fit_progress__shows_epochs_speed_and_the_latest_curve() -> None:
    line = shown(3, 4, [(0, 0.1), (1, -0.2), (1, 0.8), (1, 0.3)])
    assert "4 of 12 epochs in 2 of 3 splits, " in line
    assert float(line.split(" splits, ")[1].split(" epochs/s")[0]) > 0
    # -0.2 to 0.8: the least, the most, and half way
    assert "split 1: validation SROCC ▁█▅ 0.300, best 0.800" in line


def test_fit_progress__says_unknown_totals_and_curves_without_a_number() -> None:
    assert "2 epochs in 1 of 2 splits" in shown(2, None, [(0, 0.5), (0, 0.5)])
    assert "split 0: no validation SROCC" in shown(2, 5, [(0, nan)])
    assert "split 0: validation SROCC ▁ █  –, best 0.700" in shown(
        2, 5, [(0, 0.2), (0, nan), (0, 0.7), (0, nan)]
    )


def test_fit_progress__shows_nothing_without_a_terminal() -> None:
    text = StringIO()
    with fit_progress(2, 5, Console(file=text, force_terminal=False)) as progress:
        assert progress is None
    assert text.getvalue() == ""


def test_shown_progress__takes_names_that_look_like_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    text = StringIO()
    terminal = Console(file=text, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr("vqafeat_cli.console.Console", lambda **options: terminal)
    with shown_progress(1) as progress:
        progress.video("[/clip].mp4")
    assert "[/clip].mp4" in text.getvalue()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 0], "█▁"),
        ([0.5, 0.5], "▁▁"),
        ([nan, 1, nan, 2], " ▁ █"),
        ([nan], " "),
        ([], ""),
    ],
)
def test_sparkline__draws_a_curve_in_one_line(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_sparkline__averages_long_curves() -> None:
    # 0 … 99 in four stretches: their means 12, 37, 62, 87 lie at 0, 1/3, 2/3 and 1
    assert sparkline(range(100), width=4) == "▁▃▆█"
