"""sub-gru: FC → GRU → FC to one quality a frame → subjective pooling; the head of VSFA."""

from torch import nn

from vqafeat.modeling.heads.base import HEADS
from vqafeat.modeling.heads.temporal import SubjectiveHead


@HEADS.register("sub-gru")
class SubGRU(SubjectiveHead):
    """VSFA as released; `pooling="paper"` follows the paper's equations instead of the released code."""

    shares_time = True

    def __init__(
        self, channels: int, reduced: int = 128, hidden: int = 32, pooling: str = "released", window: int = 12, beta: float = 0.5
    ) -> None:
        super().__init__(channels, reduced, hidden, pooling, window, beta)
        self.recurrence = nn.GRU(reduced, hidden)
