"""The parts of A2INet, each on the frames of one video, (time, channel)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import HEADS, FrameReduction, NeuralHead
from vqafeat.heads.pooling import SubjectivePooling
from vqafeat.registry import Registry

# as in the released code of AdaIN: a channel that does not vary over time must not be divided by 0
_EPSILON = 1e-5

FUSIONS: Registry[Callable[[int], nn.Module]] = Registry("fusion")


def moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over time; the variance is the population's, so that one frame has
    0, plus 1e-5.
    """
    variance, mean = torch.var_mean(frames, dim=0, correction=0)
    return mean, torch.sqrt(variance + _EPSILON)


def normalised(frames: Tensor) -> Tensor:
    """Return (time, channel): (X − μ(X)) / σ(X), over time for each channel."""
    mean, deviation = moments(frames)
    return (frames - mean) / deviation


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Return (time, channel): content with the style's mean and deviation (A2INet, equation 1)."""
    mean, deviation = moments(style)
    return deviation * normalised(content) + mean


class Guided(nn.Module):
    """Feature guided instance normalisation, γ_s(Y)·n(X) + θ_s(Y) with FC layers γ_s and θ_s (A2INet,
    equation 2).

    With `kept` it is equation 3, which adds γ₁·n(X), γ₁ = `kept`.
    """

    def __init__(self, width: int, kept: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width)
        self.kept = kept

    def forward(self, content: Tensor, guide: Tensor) -> Tensor:
        """Return (time, width)."""
        guided: Tensor = (self.scale(guide) + self.kept) * normalised(content) + self.shift(guide)
        return guided


@FUSIONS.register("concat")
class Concat(nn.Module):
    """Both branches side by side (A2INet, table 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([first, second], dim=1)


@FUSIONS.register("concat-mlp")
class ConcatMLP(Concat):
    """Both branches side by side, then FC, ReLU and dropout (A2INet, table 5); width 2D and dropout 0.5,
    which the paper leaves open.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.mix = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        mixed: Tensor = self.mix(super().forward(first, second))
        return mixed


@FUSIONS.register("adain")
class AdaIN(nn.Module):
    """The second branch deformed to the first (S→Q), beside the first (A2INet, table 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([first, adain(second, first)], dim=1)


@FUSIONS.register("adain-reverse")
class AdaINReverse(AdaIN):
    """The first branch deformed to the second (Q→S), beside the second (A2INet, table 6)."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([adain(first, second), second], dim=1)


@FUSIONS.register("fgin")
class FGIN(nn.Module):
    """The second branch guided by the first (S→Q), beside the first (A2INet, equation 2 and table 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.guided = Guided(width)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([first, self.guided(second, first)], dim=1)


@FUSIONS.register("fgin-reverse")
class FGINReverse(FGIN):
    """The first branch guided by the second (Q→S), beside the second (A2INet, equation 2 and table 6)."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([self.guided(first, second), second], dim=1)


@FUSIONS.register("cgin")
class CGIN(nn.Module):
    """Each branch guided by the other with γ₁ = 1, by the same γ_s and θ_s, as equation 4 writes it: f(F^q,
    F^s) ⊕ f(F^s, F^q).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.guided = Guided(width, kept=1.0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        return torch.cat([self.guided(first, second), self.guided(second, first)], dim=1)


class Attention(nn.Module):
    """Global self-attention over the frames, one head, with a residual (A2INet, equation 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, frames: Tensor) -> Tensor:
        """Return (time, width): X + softmax(QKᵀ / √width) V."""
        query, key, value = (layer(frames)[None] for layer in (self.query, self.key, self.value))
        return frames + F.scaled_dot_product_attention(query, key, value)[0]


class TemporalGates(nn.Module):
    """FC to `width`, then quality saliency (maximum over time) and content variation (deviation over time)
    beside each other (figure 3).

    Each gate is Sigmoid(FC(ReLU(FC(pooled)))) and multiplies a temporal convolution of the frames; beyond a
    video's ends lie zeros.
    """

    def __init__(self, width: int, reduction: int, kernel: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(2 * width, width)
        middle = width // reduction
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, width), nn.Sigmoid())
            for _ in range(2)
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(2)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return (time, 2·width) of (time, 2·width)."""
        narrow = self.narrow(frames)
        pooled = (narrow.amax(dim=0), moments(narrow)[1])
        parts = [
            convolution(narrow.T[None])[0].T * gate(summary)
            for convolution, gate, summary in zip(self.convolutions, self.gates, pooled, strict=True)
        ]
        return torch.cat(parts, dim=1)


@HEADS.register("a2inet")
class A2INet(NeuralHead):
    """Cross-aware guided interaction and temporal modelling of two feature sets (A2INet, ACM MM 2024, section
    3; no code was released).

    The first feature set is the quality-aware one (F^q), the second the semantic-aware one (F^s, spatial or
    motion). What works along time works on one video at a time, so that neither padding nor a batch's other
    videos come near it. Options switch the parts off for the paper's ablations: `fusion="concat"`,
    `attention=False`, `catm=False` is its "Concat".

    Where the paper is silent: the gates' reduction is 16, the temporal convolution's kernel 3; each block of
    the CATM has its own gate and convolution (figure 3 draws two blocks); W_Q, W_K, W_V have no bias (the
    paper has matrices); a one-way fusion is joined with the branch that guided it, so that what follows keeps
    its width.

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
        videos = [
            self.gates(self.attention(self.fusion(one, other)))
            for one, other in zip(first, second, strict=True)
        ]
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
            f"first_channels is {first_channels} of {channels} channels; it has to be the width of the "
            f"first of two fused feature sets, "
            "which `vqafeat fit --features FIRST+SECOND` fills in."
        )
    if kernel < 1 or kernel % 2 == 0:
        raise ArgumentError(
            f"kernel is {kernel}; it has to be odd, as 3, so that as many frames come out as go in."
        )
    if not 1 <= gate_reduction <= width:
        raise ArgumentError(
            f"gate_reduction is {gate_reduction}; it has to be between 1 and the width, {width}."
        )
