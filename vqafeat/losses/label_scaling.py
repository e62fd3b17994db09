"""Linear scaling of labels for the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, TrainingError

Labels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScaling:
    """score on the labels' scale = head's output · scale + shift; the loss sees (label − shift) / scale."""

    scale: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and isfinite(self.scale) and isfinite(self.shift)):
            raise ArgumentError(
                f"label scaling with scale {self.scale} and shift {self.shift}: the scale has to be above 0, "
                "both have to be finite."
            )

    def transform(self, mos: Labels) -> Labels:
        """Return labels as the loss sees them."""
        return (mos - self.shift) / self.scale

    def inverse_transform(self, outputs: Labels) -> Labels:
        """Return a head's outputs on the data set's scale."""
        return outputs * self.scale + self.shift


@dataclass(frozen=True)
class LabelScale:
    """A rule that gives a data set its `LabelScaling`; `described` is for `vqafeat list`."""

    described: str
    divisor: Literal["largest", "range", "one"]
    of_training: bool = False  # the labels of the training part decide, otherwise those of all parts
    from_smallest: bool = False  # the smallest label becomes 0

    def __call__(self, name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
        """Return the scaling of a data set by its (video,) labels and the rows of the training part."""
        labels = mos[list(train)] if self.of_training else mos
        part = f"training part of '{name}'" if self.of_training else f"data set '{name}'"
        largest, width = float(labels.max()), float(np.ptp(labels))
        # negative labels next to a positive largest one stay negative, as in the released code
        if self.divisor == "largest" and largest <= 0:
            raise TrainingError(
                f"the largest label of the {part} is {largest:g}; labels are divided by it and it has to be "
                "above 0; add an offset to them."
            )
        if self.divisor == "range" and width == 0:
            raise TrainingError(
                f"all labels of the {part} are {labels[0]:g}; they are divided by largest − smallest. Look "
                "at the label list, or use another label scale."
            )
        scale = {"largest": largest, "range": width, "one": 1.0}[self.divisor]
        return LabelScaling(scale, float(labels.min()) if self.from_smallest else 0.0)


LABEL_SCALES = {
    # the test labels' maximum enters the training, as in the released VSFA.py
    "largest-of-dataset": LabelScale("Divide by the largest label of all parts (released VSFA).", "largest"),
    "largest-of-training": LabelScale("Divide by the largest label of the training part.", "largest", True),
    # `scale` in the released VQAdataset.py of MDTVSFA and of Li et al.
    "range-of-dataset": LabelScale(
        "Divide by the range of all labels (released MDTVSFA, Li et al.).", "range"
    ),
    "range-of-training": LabelScale("Divide by the range of the training part's labels.", "range", True),
    # the linear re-scaling that MDTVSFA and Li et al. compare with for several data sets
    "unit-of-dataset": LabelScale("Bring the labels of all parts to [0, 1].", "range", False, True),
    "unit-of-training": LabelScale("Bring the labels of the training part to [0, 1].", "range", True, True),
    # as `spearmanr` in the released VQAloss.py of Li et al. does
    "none": LabelScale("Leave labels on the data set's own scale.", "one"),
}


def fit_label_scaling(
    scale: str, datasets: Sequence[str], dataset_of: npt.NDArray[np.intp], mos: Labels, train: Sequence[int]
) -> list[LabelScaling]:
    """Return the scaling of each data set by the (video,) labels and the rows of the training part.

    `scale` is a key of `LABEL_SCALES`; `dataset_of` is (video,) the number in `datasets`.
    """
    scalings = []
    for number, name in enumerate(datasets):
        rows = np.flatnonzero(dataset_of == number)
        trained = np.flatnonzero(np.isin(rows, np.asarray(train)))
        if not len(trained):
            raise TrainingError(
                f"no video of the data set '{name}' is in the training part; leave the data set out, or use "
                "other splits."
            )
        scalings.append(LABEL_SCALES[scale](name, mos[rows], trained.tolist()))
    return scalings
