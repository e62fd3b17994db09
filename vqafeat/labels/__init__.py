"""Readers of the label files that data sets and released codes ship; a new one is one file and one registration."""

from vqafeat.labels import lines, matlab, own, table
from vqafeat.labels.rows import LABEL_READERS, LabelReader, LabelRow, LabelRows, NoOptions

__all__ = ["LABEL_READERS", "LabelReader", "LabelRow", "LabelRows", "NoOptions", "lines", "matlab", "own", "table"]
