"""sub-lstm: sub-gru with an LSTM in place of the GRU."""

from torch import nn

from vqafeat.modeling.heads.base import HEADS
from vqafeat.modeling.heads.temporal import SubjectiveHead


@HEADS.register("sub-lstm")
class SubLSTM(SubjectiveHead):
    """VSFA with the cell swapped (Fontanel et al., table 1)."""

    def __init__(
        self, channels: int, reduced: int = 128, hidden: int = 32, pooling: str = "released", window: int = 12, beta: float = 0.5
    ) -> None:
        super().__init__(channels, reduced, hidden, pooling, window, beta)
        self.recurrence = nn.LSTM(reduced, hidden)
