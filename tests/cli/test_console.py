"""The progress of a fit on a terminal, and its curve in one line."""

import re
from collections.abc import Callable
from io import StringIO
from math import nan

import pytest
from rich.console import Console
from vqafeat_cli import console as module
from vqafeat_cli.console import TimeLeft, fit_progress, metrics_lines, shown_progress, sparkline

from vqafeat.extraction.results import ExtractionSummary
from vqafeat.metrics import Metrics
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.results import MetricsSummary


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the time."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.append(now.pop() + seconds)


def shown(
    splits: int,
    epochs: int | None,
    records: list[tuple[int, float]],
    width: int = 200,
    clock: Callable[[float], None] = lambda seconds: None,
) -> str:
    """Return the last state of the line for (split, validation SROCC) records, one a second."""
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=width, color_system=None)
    with fit_progress(splits, epochs, console) as progress:
        for number, (split, srocc) in enumerate(records):
            epoch = sum(earlier == split for earlier, _ in records[: number + 1])
            clock(1.0)
            progress(split, EpochRecord(epoch, 0.5, srocc))
    return text.getvalue().split("\r")[-1]


def test_fit_progress__shows_epochs_time_left_and_the_latest_curve(clock: Callable[[float], None]) -> None:
    line = shown(3, 4, [(0, 0.1), (1, -0.2), (1, 0.8), (1, 0.3)], clock=clock)
    assert "4/12 in 2 of 3 splits, " in line
    assert "ETA 0:00:08" in line
    # -0.2 to 0.8: the least, the most, and half way
    assert "split 1: validation SROCC ▁█▅ 0.300, best 0.800" in line


def test_fit_progress__of_a_split_that_begins_again_counts_it_once() -> None:
    text = StringIO()
    with fit_progress(
        2, 4, Console(file=text, force_terminal=True, width=130, color_system=None)
    ) as progress:
        for epoch in (1, 2, 3, 1, 2):
            progress(0, EpochRecord(epoch, 0.5, 0.1 * epoch))
    assert "2/8 in 1 of 2 splits, split 0: validation SROCC ▁█ 0.200, best 0.200" in text.getvalue()


def test_fit_progress__says_unknown_totals_and_curves_without_a_number() -> None:
    assert "epochs ━" in shown(2, None, [(0, 0.5), (0, 0.5)])
    assert " 2 in 1 of 2 splits" in shown(2, None, [(0, 0.5), (0, 0.5)])
    assert "split 0: no validation SROCC" in shown(2, 5, [(0, nan)])
    assert "split 0: validation SROCC ▁ █  –, best 0.700" in shown(
        2, 5, [(0, 0.2), (0, nan), (0, 0.7), (0, nan)]
    )


def test_fit_progress__fits_into_80_columns(clock: Callable[[float], None]) -> None:
    records = [(number % 10, 0.8123) for number in range(1000)]
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(10, 1000, records, 80, clock)).rstrip()
    assert re.fullmatch(r"epochs ━ +1000/10000 split 9: SROCC 0.812, best 0.812 ETA 2:30:00", line)
    assert len(line) < 80


def test_fit_progress__writes_a_line_every_half_minute_without_a_terminal(
    clock: Callable[[float], None],
) -> None:
    text = StringIO()
    with fit_progress(2, 50, Console(file=text, force_terminal=False)) as progress:
        for epoch in range(1, 8):
            clock(10.0)
            progress(0, EpochRecord(epoch, 0.5, epoch / 10))
    assert text.getvalue().splitlines() == [
        "epochs: 3/100, in 1 of 2 splits, split 0: validation SROCC ▁▅█ 0.300, best 0.300, ETA 0:16:10",
        "epochs: 6/100, in 1 of 2 splits, split 0: validation SROCC ▁▂▄▅▇█ 0.600, best 0.600, ETA 0:15:40",
    ]


def test_fit_progress__names_the_final_head(clock: Callable[[float], None]) -> None:
    text = StringIO()
    with fit_progress(2, 5, Console(file=text, force_terminal=False), final=True) as progress:
        for number in range(3):
            clock(30.0)
            progress(number, EpochRecord(1, 0.5, nan))
    assert (
        text.getvalue()
        .splitlines()[-1]
        .startswith("epochs: 3/15, in 2 of 2 splits, final head: no validation SROCC")
    )


def test_time_left__follows_the_speed_of_the_last_minute(clock: Callable[[float], None]) -> None:
    time_left = TimeLeft()
    assert time_left.text(0, 1000) == ""
    texts = []
    for done in (100, 110, 120, 130):
        clock(30.0)
        texts.append(time_left.text(done, 1000))
    assert texts == ["ETA 0:04:30", "ETA 0:08:05", "ETA 0:44:00", "ETA 0:43:30"]
    assert time_left.text(500, None) == ""
    assert time_left.text(0, 1000) == ""  # other work has begun
    assert time_left.text(400, 1000) == ""  # resumed: an earlier run has done these
    clock(10.0)
    assert time_left.text(500, 1000) == "ETA 0:00:50"


def test_shown_progress__moves_with_frames_and_knows_the_time_left(
    clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = StringIO()
    terminal = Console(file=text, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("vqafeat_cli.console.Console", lambda **options: terminal)
    with shown_progress(4, frames_each=100.0) as progress:
        for report in (
            lambda: progress.video("a-long-name-of-a-video.mp4"),
            lambda: progress.frames(50),  # of 400
            lambda: progress.frames(150),
            lambda: progress.done(ExtractionSummary(extracted=1, frames=200)),  # 200 more than expected
            lambda: progress.done(ExtractionSummary(extracted=1, skipped=1, frames=200)),  # 100 fewer
        ):
            clock(5.0)
            report()
    assert "2/4 videos 8.0 frames/s, 0 failed ETA 0:00:20" in text.getvalue()


def test_shown_progress__learns_the_frames_of_videos_that_cannot_be_probed(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress(3) as progress:
        progress.video("a.mp4")
        clock(31.0)
        progress.frames(60)
        clock(31.0)
        progress.done(ExtractionSummary(extracted=1, frames=60))
    assert capsys.readouterr().err.splitlines() == [
        "a.mp4: 0/3 videos, 1.9 frames/s, 0 failed",
        "a.mp4: 1/3 videos, 1.0 frames/s, 0 failed, ETA 0:02:04",
    ]


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


def test_metrics_lines__have_a_line_for_each_of_several_data_sets() -> None:
    many, few = (
        MetricsSummary.of([Metrics(srocc, 0.25, 0.5, 1.5, 0.75, 2.5, videos)] * 2, (), [2.0, 3.0])
        for srocc, videos in ((0.5, 40), (0.75, 10))
    )
    lines = metrics_lines(MetricsSummary.weighted({"konvid": many, "cvd2014": few}), "logistic")
    plain = "PLCC, plain 0.750, RMSE, plain 2.500, RMSE, calibrated 2.500"
    assert [line for line in lines if "cvd2014:" in line or "konvid:" in line] == [
        f"  konvid: SROCC 0.500, KROCC 0.250, PLCC 0.500, RMSE 1.500, {plain}",
        f"  cvd2014: SROCC 0.750, KROCC 0.250, PLCC 0.500, RMSE 1.500, {plain} *",
    ]
    assert not any("konvid:" in line for line in metrics_lines(many, "logistic"))
