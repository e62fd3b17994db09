"""Linear scaling between the labels of a data set and what a loss sees of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.registry import Registry

Labels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScaling:
    """score on the labels' scale = head's output · scale + shift; the loss sees (label − shift) / scale."""

    scale: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and isfinite(self.scale) and isfinite(self.shift)):
            allowed = "the scale has to be above 0, both have to be finite"
            raise ArgumentError(f"label scaling with scale {self.scale} and shift {self.shift}: {allowed}.")

    def transform(self, mos: Labels) -> Labels:
        """Return labels as the loss sees them."""
        return (mos - self.shift) / self.scale

    def inverse_transform(self, outputs: Labels) -> Labels:
        """Return a head's outputs on the data set's scale."""
        return outputs * self.scale + self.shift


@dataclass(frozen=True)
class LabelScale:
    """A rule that gives a data set its `LabelScaling`.

    Attributes:
        described: in words, for `vqafeat list`.
        divisor: labels are divided by the largest, by largest − smallest, or by 1.
        of_training: the labels of the training part decide; otherwise those of all parts.
        from_smallest: the smallest label becomes 0.
    """

    described: str
    divisor: Literal["largest", "range", "one"]
    of_training: bool = False
    from_smallest: bool = False

    def __call__(self, name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
        """Return the scaling of a data set, given its (video,) labels and the rows of the training part."""
        labels = mos[list(train)] if self.of_training else mos
        part = f"training part of '{name}'" if self.of_training else f"data set '{name}'"
        largest, width = float(labels.max()), float(np.ptp(labels))
        # negative labels next to a positive largest one stay negative, as in the released code
        if self.divisor == "largest" and largest <= 0:
            required = "labels are divided by it and it has to be above 0; add an offset to them"
            raise TrainingError(f"the largest label of the {part} is {largest:g}; {required}.")
        if self.divisor == "range" and width == 0:
            required = "they are divided by largest − smallest, which has to be above 0"
            next_step = "look at the label list, or use another label scale"
            raise TrainingError(f"all labels of the {part} are {labels[0]:g}; {required}; {next_step}.")
        scale = {"largest": largest, "range": width, "one": 1.0}[self.divisor]
        return LabelScaling(scale, float(labels.min()) if self.from_smallest else 0.0)


LABEL_SCALES: Registry[LabelScale] = Registry("label scale")
for _name, _scale in {
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
}.items():
    LABEL_SCALES.add(_name, _scale)


def fit_label_scaling(
    scale: str, datasets: Sequence[str], dataset_of: npt.NDArray[np.intp], mos: Labels, train: Sequence[int]
) -> list[LabelScaling]:
    """Return the scaling of each data set.

    Args:
        dataset_of: (video,) number in `datasets`.
        mos: (video,) labels, each on its own data set's scale.
        train: rows of the training part, of all data sets.
    """
    scalings = []
    for number, name in enumerate(datasets):
        rows = np.flatnonzero(dataset_of == number)
        trained = np.flatnonzero(np.isin(rows, np.asarray(train)))
        if not len(trained):
            missing = f"no video of the data set '{name}' is in the training part"
            raise TrainingError(f"{missing}; leave the data set out, or use other splits.")
        scalings.append(LABEL_SCALES.get(scale)(name, mos[rows], trained.tolist()))
    return scalings
