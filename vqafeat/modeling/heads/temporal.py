"""What the recurrent heads share: FC → recurrence → FC to one quality a frame → temporal pooling."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vqafeat.errors import ArgumentError
from vqafeat.modeling.heads.base import Head
from vqafeat.modeling.pooling import POOLINGS


class RecurrentHead(Head):
    """VSFA (Li, Jiang, Jiang: Quality Assessment of In-the-Wild Videos, ACM MM 2019), class `VSFA` of the released VSFA.py.

    The recurrence runs forward from a zero state, so that padding behind a video's end cannot reach its own frames.
    """

    recurrence: nn.GRU | nn.LSTM

    def __init__(self, channels: int, reduced: int, hidden: int) -> None:
        super().__init__(channels, reduced)
        self.score = nn.Linear(hidden, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): FC → recurrence → FC."""
        return self.quality(self.recurrence(self.reduced(frames, lengths))[0])

    def reduced(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (time, batch, reduced): what the recurrence reads, 0 behind a video's end."""
        return pad_sequence(list(torch.split(self.reduce(frames), lengths.tolist())))

    def quality(self, states: Tensor) -> Tensor:
        """Return (batch, time) of the recurrence's (time, batch, hidden) states."""
        quality: Tensor = self.score(states)
        return quality[:, :, 0].T


class SubjectiveHead(RecurrentHead):
    """A recurrent head with subjectively-inspired (hysteresis) temporal pooling; the frame score is the pooled quality q′."""

    def __init__(self, channels: int, reduced: int, hidden: int, pooling: str, window: int, beta: float) -> None:
        super().__init__(channels, reduced, hidden)
        if window < 1 or not 0 <= beta <= 1:
            raise ArgumentError(
                f"window = {window}, beta = {beta}: the pooling window has to be at least 1 frame and beta between 0 and 1."
            )
        self.pool = POOLINGS.get(pooling)
        self.window, self.beta = window, beta

    def pooled(self, raw: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the pooled quality q′."""
        return self.pool(raw, lengths, self.window, self.beta)
