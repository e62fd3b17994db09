"""The demo data sets, made from two photographs of scikit-learn, so that nothing is downloaded."""

from vqafeat.demo.video_set import DEMO_NAME, SCORE_RANGE, make_demo

__all__ = ["DEMO_NAME", "SCORE_RANGE", "make_demo"]
