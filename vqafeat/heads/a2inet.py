"""Head a2inet, whose parts work on the frames of one video, (time, channel)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import FrameReduction, Head, check_widths
from vqafeat.heads.pooling import SubjectivePooling
from vqafeat.registry import named

# as in the released code of AdaIN: a channel that does not vary over time must not be divided by 0
_EPSILON = 1e-5


def moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over time, √(population variance + ε), ε = 1e-5."""
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
    """Guided normalisation, (γ_s(Y) + γ₁)·n(X) + θ_s(Y), γ₁ = `kept` (A2INet, equations 2 and 3)."""

    def __init__(self, width: int, kept: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width)
        self.kept = kept

    def forward(self, content: Tensor, guide: Tensor) -> Tensor:
        """Return (time, width)."""
        guided: Tensor = (self.scale(guide) + self.kept) * normalised(content) + self.shift(guide)
        return guided


# fusion → whether the first and the second branch are deformed to the other one, and γ₁ of the learnt layers
# that do it; with None, AdaIN does it
FUSIONS: dict[str, tuple[bool, bool, float | None]] = {
    "concat": (False, False, None),  # both branches side by side (A2INet, table 5)
    "concat-mlp": (False, False, None),  # then FC, ReLU and dropout (table 5)
    "adain": (False, True, None),  # S→Q (table 6)
    "adain-reverse": (True, False, None),  # Q→S (table 6)
    "fgin": (False, True, 0.0),  # S→Q (equation 2 and table 6)
    "fgin-reverse": (True, False, 0.0),  # Q→S (equation 2 and table 6)
    "cgin": (True, True, 1.0),  # by the same γ_s and θ_s, f(F^q, F^s) ⊕ f(F^s, F^q) (equation 4)
    "cgin-separate": (True, True, 1.0),  # each direction has separate γ_s and θ_s
}


class Fusion(nn.Module):
    """Both branches side by side, each as it is or deformed to the other one: (time, 2·width)."""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.first_deformed, self.second_deformed, kept = named("fusion", name, FUSIONS)
        self.guided = None if kept is None else Guided(width, kept)
        self.second_guided = Guided(width, 1.0) if name == "cgin-separate" else None
        self.mix: nn.Module = nn.Identity()
        if name == "concat-mlp":  # the paper leaves its width and dropout open
            self.mix = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (time, 2·width)."""
        deform = self.guided or adain
        one = deform(first, second) if self.first_deformed else first
        deform = self.second_guided or deform
        other = deform(second, first) if self.second_deformed else second
        mixed: Tensor = self.mix(torch.cat([one, other], dim=1))
        return mixed


class Attention(nn.Module):
    """Self-attention over the frames, X + softmax(QKᵀ / √width) V, with one head (A2INet, equation 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, frames: Tensor) -> Tensor:
        """Return (time, width)."""
        query, key, value = (layer(frames)[None] for layer in (self.query, self.key, self.value))
        return frames + F.scaled_dot_product_attention(query, key, value)[0]


class TemporalGates(nn.Module):
    """Quality saliency (maximum over time) and content variation (deviation over time; figure 3).

    The deviation is that of `moments`: of the population, as in instance normalisation, and with ε, so that
    still frames have a finite gradient.
    """

    def __init__(self, width: int, reduction: int, kernel: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(2 * width, width)
        middle = width // reduction
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, width), nn.Sigmoid())
            for _ in range(2)
        )
        convolutions = (nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(2))
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (time, 2·width) of (time, 2·width)."""
        narrow = self.narrow(frames)
        pooled = (narrow.amax(dim=0), moments(narrow)[1])
        blocks = zip(self.convolutions, self.gates, pooled, strict=True)
        parts = [conv(narrow.T[None])[0].T * gate(summary) for conv, gate, summary in blocks]
        return torch.cat(parts, dim=1)


class A2INet(Head):
    """Cross-aware guided interaction and temporal modelling (A2INet, ACM MM 2024, section 3; no code).

    The first feature set is the quality-aware one (F^q), the second the semantic-aware one (F^s). Features
    that the paper joins without these modules (tables 4, 5 and 7) go into the head `sub-gru`.

    Choices where the paper is silent, besides those in docs/papers/a2inet.md: each of the two blocks in
    figure 3 has its own gate and convolution; W_Q, W_K, W_V are matrices without bias; a one-way fusion is
    joined with the branch that guided it, so the width stays.

    Args:
        first_channels: width of the first feature set, filled in by `fit`.
        catm: use the quality saliency and content variation blocks.
        width: D; the gates' middle layer is narrower by `gate_reduction`.
    """

    settling = 8

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
        check_widths(reduced=reduced, hidden=hidden)
        if not 0 < first_channels < channels:
            raise ArgumentError(
                f"first_channels is {first_channels} of {channels} channels; it has to be the width of the "
                "first of two fused feature sets, which `vqafeat fit --features FIRST+SECOND` fills in."
            )
        if kernel < 1 or kernel % 2 == 0:
            allowed = "it has to be odd, such as 3, to keep the number of frames"
            raise ArgumentError(f"kernel is {kernel}; {allowed}.")
        if not 1 <= gate_reduction <= width:
            allowed = f"it has to be between 1 and the width, {width}"
            raise ArgumentError(f"gate_reduction is {gate_reduction}; {allowed}.")
        self.pool = SubjectivePooling(pooling, window, beta)
        self.first_channels = first_channels
        self.first = FrameReduction(first_channels, width)
        self.second = FrameReduction(channels - first_channels, width)
        self.fusion = Fusion(fusion, width)
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
        pairs = zip(first, second, strict=True)
        videos = [self.gates(self.attention(self.fusion(one, other))) for one, other in pairs]
        reduced = pad_sequence(list(self.reduce(torch.cat(videos)).split(counts)))
        states, _ = self.recurrence(reduced)
        quality: Tensor = self.score(states)
        return quality[:, :, 0].T
