"""Plots of scores: which moments of a video a picture shows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vqafeat.evaluation.predict import ScoredVideo
from vqafeat.plots import plot_frame_curve, worst_and_best


@pytest.fixture
def scored() -> ScoredVideo:
    """A video whose head starts low: the scores of its two warm-up frames are below those of all others."""
    scores = np.array([1.0, 2.0, 4.0, 2.5, 3.0])
    return ScoredVideo(
        path=Path("clip.mp4"),
        score=2.5,
        head_scores=np.array([2.5]),
        splits=(0,),
        scale="MOS",
        calibrated=True,
        frames=np.arange(5, dtype=np.int32),
        seconds=np.arange(5) / 10,
        frame_scores=scores,
        warmup=np.arange(5) < 2,
    )


def test_worst_and_best__leave_out_the_warm_up(scored: ScoredVideo) -> None:
    assert worst_and_best(scored) == {"worst": 3, "best": 2}


def test_worst_and_best__of_a_video_shorter_than_the_warm_up(scored: ScoredVideo) -> None:
    assert worst_and_best(replace(scored, warmup=np.ones(5, bool))) == {"worst": 0, "best": 2}


def test_plot_frame_curve__marks_the_warm_up(scored: ScoredVideo, tmp_path: Path) -> None:
    thumbnails = {frame: np.zeros((4, 6, 3), np.uint8) for frame in range(5)}
    with_marks = plot_frame_curve(scored, tmp_path / "a.png", thumbnails).read_bytes()
    settled = replace(scored, warmup=np.zeros(5, bool), frame_scores=scored.frame_scores)
    assert plot_frame_curve(settled, tmp_path / "b.png", thumbnails).read_bytes() != with_marks
