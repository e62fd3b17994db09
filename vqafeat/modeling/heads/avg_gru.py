"""avg-gru: FC → GRU → FC to one quality a frame → mean."""

from torch import nn

from vqafeat.modeling.heads.base import HEADS
from vqafeat.modeling.heads.temporal import RecurrentHead


@HEADS.register("avg-gru")
class AvgGRU(RecurrentHead):
    """VSFA's GRU with a plain mean in place of the subjective pooling (Fontanel et al., table 1)."""

    shares_time = True

    def __init__(self, channels: int, reduced: int = 128, hidden: int = 32) -> None:
        super().__init__(channels, reduced, hidden)
        self.recurrence = nn.GRU(reduced, hidden)
