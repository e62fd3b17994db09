"""Heads of VSFA and Fontanel et al.: FC → recurrence → FC to one quality a frame → temporal pooling."""

from typing import ClassVar

from torch import Tensor, nn

from vqafeat.heads.base import FrameReduction, Head, check_widths
from vqafeat.heads.pooling import SubjectivePooling, padded


class NoTime(Head):
    """The head without temporal model in Fontanel et al. (table 1): VSFA's two FC layers and a mean."""

    def __init__(self, channels: int, reduced: int = 128) -> None:
        super().__init__()
        check_widths(reduced=reduced)
        self.reduce = FrameReduction(channels, reduced)
        self.score = nn.Linear(reduced, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time)."""
        quality: Tensor = self.score(self.reduce(frames))
        return padded(quality[:, 0], lengths)


class AvgGRU(Head):
    """VSFA's GRU with a plain mean in place of the subjective pooling (Fontanel et al., table 1)."""

    # then VSFA's released head differs by at most 0.02 MOS from one that saw earlier frames (KoNViD-1k)
    settling = 8
    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]] = nn.GRU

    def __init__(self, channels: int, reduced: int = 128, hidden: int = 32) -> None:
        super().__init__()
        check_widths(reduced=reduced, hidden=hidden)
        self.reduce = FrameReduction(channels, reduced)
        self.score = nn.Linear(hidden, 1)
        self.recurrence = self.cell(reduced, hidden)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): FC → recurrence → FC."""
        # the recurrence runs forward from a zero state, so padding cannot reach a video's own frames
        return self.quality(self.recurrence(self.reduced(frames, lengths))[0])

    def reduced(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (time, batch, reduced): the input of the recurrence, padded with 0."""
        return padded(self.reduce(frames), lengths, time_first=True)

    def quality(self, states: Tensor) -> Tensor:
        """Return (batch, time) of the recurrence's (time, batch, hidden) states."""
        quality: Tensor = self.score(states)
        return quality[:, :, 0].T


class SubGRU(AvgGRU):
    """VSFA (Li, Jiang, Jiang, ACM MM 2019), class `VSFA` of the released VSFA.py.

    `pooling="paper"` follows the paper's equations instead of the released code.
    """

    def __init__(
        self,
        channels: int,
        reduced: int = 128,
        hidden: int = 32,
        pooling: str = "released",
        window: int = 12,
        beta: float = 0.5,
    ) -> None:
        super().__init__(channels, reduced, hidden)
        self.pool = SubjectivePooling(pooling, window, beta)


class SubLSTM(SubGRU):
    """VSFA with the cell swapped (Fontanel et al., table 1)."""

    cell = nn.LSTM
