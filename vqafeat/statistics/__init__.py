"""Whether one head is better than another, or the difference is chance: paired tests over splits, an interval over videos.

Both are of one estimate, the mean over the splits of the difference in a measure.
"""

from vqafeat.statistics.paired import PAIRED_TESTS, Comparison, PairedTest, compare, holm, paired_test
from vqafeat.statistics.resampling import MEASURES, Interval, PairedSplit, bootstrap_paired_difference

__all__ = [
    "MEASURES",
    "PAIRED_TESTS",
    "Comparison",
    "Interval",
    "PairedSplit",
    "PairedTest",
    "bootstrap_paired_difference",
    "compare",
    "holm",
    "paired_test",
]
