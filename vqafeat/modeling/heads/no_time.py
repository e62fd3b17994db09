"""no-time: FC → FC to one quality a frame → mean; frames are seen alone, their order does not matter."""

from torch import Tensor, nn

from vqafeat.modeling.heads.base import HEADS, FrameReduction, NeuralHead
from vqafeat.modeling.pooling import padded


@HEADS.register("no-time")
class NoTime(NeuralHead):
    """The head without temporal model that Fontanel et al. compare with (table 1): VSFA's two FC layers and a mean."""

    def __init__(self, channels: int, reduced: int = 128) -> None:
        super().__init__()
        self.reduce = FrameReduction(channels, reduced)
        self.score = nn.Linear(reduced, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time)."""
        quality: Tensor = self.score(self.reduce(frames))
        return padded(quality[:, 0], lengths)
