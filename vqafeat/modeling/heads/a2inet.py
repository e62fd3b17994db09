"""a2inet: two branches that guide each other, attention over frames, temporal gates, GRU, subjective pooling; the head of A2INet."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vqafeat.errors import ArgumentError
from vqafeat.modeling.heads.base import HEADS, FrameReduction, NeuralHead
from vqafeat.modeling.heads.interaction import FUSIONS, Attention, TemporalGates
from vqafeat.modeling.pooling import SubjectivePooling


@HEADS.register("a2inet")
class A2INet(NeuralHead):
    """Cross-aware guided interaction and temporal modelling of two feature sets (A2INet, ACM MM 2024, section 3; no code was released).

    The first feature set is the quality-aware one (F^q), the second the semantic-aware one (F^s, spatial or motion). What works along
    time works on one video at a time, so that neither padding nor a batch's other videos come near it. Options switch the parts off for
    the paper's ablations: `fusion="concat"`, `attention=False`, `catm=False` is its "Concat".

    Where the paper is silent: the gates' reduction is 16, the temporal convolution's kernel 3; each block of the CATM has its own gate and
    convolution (figure 3 draws two blocks); W_Q, W_K, W_V have no bias (the paper has matrices); a one-way fusion is joined with the branch
    that guided it, so that what follows keeps its width.

    Args:
        channels: width of both feature sets together.
        first_channels: width of the first one; `fit` fills it in.
        fusion: concat, concat-mlp, adain, adain-reverse, fgin, fgin-reverse or cgin.
        attention: whether there is global self-attention over the frames.
        catm: whether there are the quality saliency and content variation blocks.
        width: D.
        gate_reduction: how much narrower the gates' middle layer is than D.
        kernel: of the temporal convolution, odd.

    Raises:
        ArgumentError: a size is not allowed.
    """

    def __init__(
        self,
        channels: int,
        first_channels: int = 0,
        fusion: str = "cgin",
        attention: bool = True,
        catm: bool = True,
        width: int = 1024,
        gate_reduction: int = 16,
        kernel: int = 3,
        reduced: int = 128,
        hidden: int = 32,
        pooling: str = "released",
        window: int = 12,
        beta: float = 0.5,
    ) -> None:
        super().__init__()
        _check_sizes(channels, first_channels, width, gate_reduction, kernel)
        self.pool = SubjectivePooling(pooling, window, beta)
        self.first_channels = first_channels
        self.first = FrameReduction(first_channels, width)
        self.second = FrameReduction(channels - first_channels, width)
        self.fusion = FUSIONS.get(fusion)(width)
        self.attention = Attention(2 * width) if attention else nn.Identity()
        self.gates = TemporalGates(width, gate_reduction, kernel) if catm else nn.Identity()
        self.reduce = nn.Linear(2 * width, reduced)
        self.recurrence = nn.GRU(reduced, hidden)
        self.score = nn.Linear(hidden, 1)

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): interaction → temporal gates → FC → GRU → FC."""
        counts = lengths.tolist()
        first = self.first(frames[:, : self.first_channels]).split(counts)
        second = self.second(frames[:, self.first_channels :]).split(counts)
        videos = [self.gates(self.attention(self.fusion(one, other))) for one, other in zip(first, second, strict=True)]
        reduced = pad_sequence(list(self.reduce(torch.cat(videos)).split(counts)))
        states, _ = self.recurrence(reduced)
        quality: Tensor = self.score(states)
        return quality[:, :, 0].T

    def frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the pooled quality q′."""
        return self.pool(self.raw_frame_scores(frames, lengths), lengths)


def _check_sizes(channels: int, first_channels: int, width: int, gate_reduction: int, kernel: int) -> None:
    if not 0 < first_channels < channels:
        raise ArgumentError(
            f"first_channels is {first_channels} of {channels} channels; it has to be the width of the first of two fused feature sets, "
            "which `vqafeat fit --features FIRST+SECOND` fills in."
        )
    if kernel < 1 or kernel % 2 == 0:
        raise ArgumentError(f"kernel is {kernel}; it has to be odd, as 3, so that as many frames come out as go in.")
    if not 1 <= gate_reduction <= width:
        raise ArgumentError(f"gate_reduction is {gate_reduction}; it has to be between 1 and the width, {width}.")
