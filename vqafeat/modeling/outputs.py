"""What a head says of a batch of videos: one score, or three that are read for different measures."""

from dataclasses import dataclass

from torch import Tensor

from vqafeat.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Outputs:
    """The scores of a batch of videos; most heads have one score, which then stands for all three.

    Attributes:
        relative: (batch,) in (0, 1) where the head bounds it; SROCC and KROCC are read on it.
        mapped: (batch,) a learnt logistic of the relative score; PLCC is read on it.
        aligned: (batch,) the mapped score on the label scale of a data set; RMSE is read on it, and it is the video's score.
    """

    relative: Tensor
    mapped: Tensor
    aligned: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(self.relative.shape), tuple(self.mapped.shape), tuple(self.aligned.shape)}
        if len(shapes) != 1 or self.relative.ndim != 1:
            raise ArgumentError(f"relative, mapped and aligned scores have to be (batch,) and of one size, got {sorted(shapes)}.")

    @classmethod
    def same(cls, scores: Tensor) -> "Outputs":
        """Return (batch,) scores as all three."""
        return cls(scores, scores, scores)

    def parts(self, count: int) -> list["Outputs"]:
        """Return the outputs of equally large groups of videos that follow one another in the batch."""
        columns = (values.view(count, -1).unbind() for values in (self.relative, self.mapped, self.aligned))
        return [Outputs(*values) for values in zip(*columns, strict=True)]
