"""The embedded data set `demo`: made on the spot from two photographs, so that everything runs without a
download.
"""

from vqafeat.demo.video_set import DEMO_NAME, SCORE_NAME, SCORE_RANGE, make_demo

__all__ = ["DEMO_NAME", "SCORE_NAME", "SCORE_RANGE", "make_demo"]
