"""Linear scaling of the labels that a loss sees."""

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
    """A linear scale: the loss sees (label − shift) / scale, and scores are output · scale + shift."""

    scale: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and isfinite(self.scale) and isfinite(self.shift)):
            problem = f"label scaling with scale {self.scale} and shift {self.shift}"
            raise ArgumentError(f"{problem}: both have to be finite, and the scale above 0.")

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
    of_training: bool = False  # use the labels of the training part, not those of all parts
    from_smallest: bool = False  # the smallest label becomes 0

    def __call__(self, name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
        """Return the scaling of a data set by its (video,) labels and the indices of the training part."""
        labels = mos[list(train)] if self.of_training else mos
        part = f"training part of '{name}'" if self.of_training else f"data set '{name}'"
        largest, width = float(labels.max()), float(np.ptp(labels))
        # some labels may be negative, as in the released code
        if self.divisor == "largest" and largest <= 0:
            problem = f"labels are divided by the largest one, which is {largest:g} in the {part}"
            raise TrainingError(f"{problem}; add an offset to them, so that it is above 0.")
        if self.divisor == "range" and width == 0:
            problem = f"labels are divided by their range, but all of the {part} are {labels[0]:g}"
            raise TrainingError(f"{problem}; look at the label list, or use another label scale.")
        scale = {"largest": largest, "range": width, "one": 1.0}[self.divisor]
        return LabelScaling(scale, float(labels.min()) if self.from_smallest else 0.0)


LABEL_SCALES = {
    # the test labels' maximum enters the training, as in the released VSFA.py
    "largest-of-dataset": LabelScale("Divide by the largest label of all parts (released VSFA).", "largest"),
    "largest-of-training": LabelScale("Divide by the largest label of the training part.", "largest", True),
    # `scale` in the released VQAdataset.py of MDTVSFA and of Li et al.
    "range-of-dataset": LabelScale("Divide by the range of all labels (MDTVSFA, Li et al.).", "range"),
    "range-of-training": LabelScale("Divide by the range of the training part's labels.", "range", True),
    # MDTVSFA and Li et al. compare with this one for several data sets
    "unit-of-dataset": LabelScale("Bring the labels of all parts to [0, 1].", "range", False, True),
    "unit-of-training": LabelScale("Bring the labels of the training part to [0, 1].", "range", True, True),
    # as `spearmanr` in the released VQAloss.py of Li et al. does
    "none": LabelScale("Leave labels on the data set's own scale.", "one"),
}


def fit_label_scaling(
    scale: str, datasets: Sequence[str], dataset_of: npt.NDArray[np.intp], mos: Labels, train: Sequence[int]
) -> list[LabelScaling]:
    """Return the scaling of each data set by the rule `scale`, (video,) labels and indices for training."""
    scalings = []
    for number, name in enumerate(datasets):
        rows = np.flatnonzero(dataset_of == number)
        trained = np.flatnonzero(np.isin(rows, np.asarray(train)))
        if not len(trained):
            problem = f"no video of the data set '{name}' is in the training part"
            raise TrainingError(f"{problem}; leave the data set out, or use other splits.")
        scalings.append(LABEL_SCALES[scale](name, mos[rows], trained.tolist()))
    return scalings
