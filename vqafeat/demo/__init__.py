"""The embedded data set `demo`, which is made from two photographs, so that nothing is downloaded."""

from vqafeat.demo.video_set import DEMO_NAME, SCORE_NAME, SCORE_RANGE, make_demo

__all__ = ["DEMO_NAME", "SCORE_NAME", "SCORE_RANGE", "make_demo"]
