"""The line between the labels of a data set and what a loss sees of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.registry import Registry

Labels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScaling:
    """score on the data set's scale = head's output · scale + shift; the loss sees (label − shift) / scale.

    Raises:
        ArgumentError: the scale is not above 0, or a number is not finite.
    """

    scale: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and isfinite(self.scale) and isfinite(self.shift)):
            raise ArgumentError(
                f"label line with scale {self.scale} and shift {self.shift}: the scale has to be above 0, "
                f"both have to be finite."
            )

    def scaled(self, mos: Labels) -> Labels:
        """Return labels as the loss sees them."""
        return (mos - self.shift) / self.scale

    def scores(self, outputs: Labels) -> Labels:
        """Return a head's outputs on the data set's scale."""
        return outputs * self.scale + self.shift


# (name of the data set, its (video,) labels, rows of the training part) → line
LabelScale = Callable[[str, Labels, Sequence[int]], LabelScaling]

LABEL_SCALES: Registry[LabelScale] = Registry("label scale")


def fit_label_scaling(
    scale: str, datasets: Sequence[str], dataset_of: npt.NDArray[np.intp], mos: Labels, train: Sequence[int]
) -> list[LabelScaling]:
    """Return the line of each data set.

    Args:
        scale: name in `LABEL_SCALES`.
        datasets: names.
        dataset_of: (video,) which of them a video belongs to.
        mos: (video,) labels, each on its own data set's scale.
        train: rows of the training part, of all data sets.

    Raises:
        TrainingError: a data set has no training video, or labels that cannot be scaled so.
    """
    lines = []
    for number, name in enumerate(datasets):
        rows = np.flatnonzero(dataset_of == number)
        own = np.flatnonzero(np.isin(rows, np.asarray(train)))
        if not len(own):
            raise TrainingError(
                f"no video of the data set '{name}' is in the training part; leave the data set out, or use "
                f"other splits."
            )
        lines.append(LABEL_SCALES.get(scale)(name, mos[rows], own.tolist()))
    return lines


@LABEL_SCALES.register("largest-of-dataset")
def largest_of_dataset(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Divide by the largest label of all parts, as the released VSFA.py; the test labels' maximum thus enters
    the training.
    """
    return LabelScaling(_positive(float(mos.max()), f"data set '{name}'"))


@LABEL_SCALES.register("largest-of-training")
def largest_of_training(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Divide by the largest label of the training part."""
    return LabelScaling(_positive(float(mos[list(train)].max()), f"training part of '{name}'"))


@LABEL_SCALES.register("range-of-dataset")
def range_of_dataset(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Divide by largest − smallest label of all parts, `scale` in the released VQAdataset.py of MDTVSFA and
    of Li et al.
    """
    return LabelScaling(_wide(mos, f"data set '{name}'"))


@LABEL_SCALES.register("range-of-training")
def range_of_training(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Divide by largest − smallest label of the training part."""
    return LabelScaling(_wide(mos[list(train)], f"training part of '{name}'"))


@LABEL_SCALES.register("unit-of-dataset")
def unit_of_dataset(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Bring the labels of all parts to [0, 1]: the linear re-scaling that MDTVSFA and Li et al. compare with
    for several data sets.
    """
    return LabelScaling(_wide(mos, f"data set '{name}'"), float(mos.min()))


@LABEL_SCALES.register("unit-of-training")
def unit_of_training(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Bring the labels of the training part to [0, 1]."""
    return LabelScaling(_wide(mos[list(train)], f"training part of '{name}'"), float(mos[list(train)].min()))


@LABEL_SCALES.register("none")
def as_they_are(name: str, mos: Labels, train: Sequence[int]) -> LabelScaling:
    """Leave labels on the data set's own scale, as `spearmanr` in the released VQAloss.py of Li et al.
    does.
    """
    return LabelScaling(1.0)


def _positive(largest: float, part: str) -> float:
    """Refuse what labels cannot be divided by; negative labels beside a positive largest one stay negative,
    as in the released code.
    """
    if largest <= 0:
        raise TrainingError(
            f"the largest label of the {part} is {largest:g}; labels are divided by it and it has to be "
            f"above 0; add an offset to them."
        )
    return largest


def _wide(labels: Labels, part: str) -> float:
    if np.ptp(labels) == 0:
        raise TrainingError(
            f"all labels of the {part} are {labels[0]:g}; they are divided by largest − smallest, which has "
            f"to be above 0; "
            "look at the label list, or use another label scale."
        )
    return float(np.ptp(labels))
