"""Hysteresis temporal pooling of (batch, time) quality; padding is never read and is 0 in results."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.registry import Registry

Pooling = Callable[[Tensor, Tensor, int, float], Tensor]

POOLINGS: Registry[Pooling] = Registry("pooling")


@dataclass(frozen=True)
class SubjectivePooling:
    """A variant of hysteresis pooling, with its window τ in frames and β in [0, 1]."""

    variant: str
    window: int
    beta: float

    def __post_init__(self) -> None:
        POOLINGS.get(self.variant)
        if self.window < 1 or not 0 <= self.beta <= 1:
            allowed = "the pooling window has to be at least 1 frame and beta between 0 and 1"
            raise ArgumentError(f"window = {self.window}, beta = {self.beta}: {allowed}.")

    def __call__(self, quality: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the pooled (batch, time) quality of videos with these (batch,) lengths."""
        return POOLINGS.get(self.variant)(quality, lengths, self.window, self.beta)


def frame_mask(lengths: Tensor, time: int) -> Tensor:
    """Return (batch, time) bool: True at a video's own frames."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def padded_index(lengths: Tensor, time: int, frames: int) -> Tensor:
    """Return (frames,) positions in (batch · time) of the frames of videos, one video after another."""
    numbers = torch.arange(len(lengths), device=lengths.device)
    video = torch.repeat_interleave(numbers, lengths, output_size=frames)
    gaps = numbers * time - (lengths.cumsum(0) - lengths)
    return torch.arange(frames, device=lengths.device) + gaps[video]


def padded(flat: Tensor, lengths: Tensor, time_first: bool = False) -> Tensor:
    """Return (batch, time, …) or (time, batch, …) of (total frames, …): `pad_sequence`, but in one step."""
    batch, time = len(lengths), int(lengths.max())  # the only look at a GPU's memory
    index = padded_index(lengths, time, len(flat))
    if time_first:
        index = index % time * batch + index // time
    shape = (time, batch) if time_first else (batch, time)
    empty = flat.new_zeros(batch * time, *flat.shape[1:])
    return empty.index_copy(0, index, flat).view(*shape, *flat.shape[1:])


def masked_mean(values: Tensor, lengths: Tensor) -> Tensor:
    """Return (batch,): the mean of (batch, time) over each video's own frames."""
    mask = frame_mask(lengths, values.shape[1])
    return values.where(mask, values.new_zeros(())).sum(dim=1) / lengths


@POOLINGS.register("released")
def released_hysteresis(quality: Tensor, lengths: Tensor, window: int = 12, beta: float = 0.5) -> Tensor:
    """Pool as the released code of VSFA and its descendants does: function `TP` of VSFA.py.

    Memory is the smallest quality of the last `window` frames, current the mean of the next `window` frames,
    weighted by e^−q and cut at the video's end; both include the frame. `beta` is the weight of current.
    """
    memory = _smallest_of_last(quality, window)
    return _masked(beta * _current(quality, lengths, window) + (1 - beta) * memory, lengths)


@POOLINGS.register("paper")
def paper_hysteresis(quality: Tensor, lengths: Tensor, window: int = 12, beta: float = 0.5) -> Tensor:
    """Pool as in VSFA (ACM MM 2019), equations 5 to 8, and Li et al. (TCSVT 2022), equations 9 to 11.

    Memory is the smallest quality of the `window` frames before the frame, or the first frame's own; current
    is the mean of the frame and the next `window` ones, weighted and cut as in `released_hysteresis`. `beta`
    is the weight of memory.
    """
    # the first frame, put before itself, is its own memory and adds nothing to the windows after it
    before = torch.cat([quality[:, :1], quality[:, :-1]], dim=1)
    memory = _smallest_of_last(before, window)
    return _masked(beta * memory + (1 - beta) * _current(quality, lengths, window + 1), lengths)


def _smallest_of_last(quality: Tensor, window: int) -> Tensor:
    return -F.max_pool1d(F.pad(-quality[:, None], (window - 1, 0), value=-torch.inf), window, stride=1)[:, 0]


def _current(quality: Tensor, lengths: Tensor, span: int) -> Tensor:
    """Return (batch, time): Σ q·e^−q / Σ e^−q over each frame and the `span` − 1 next ones."""
    mask = F.pad(frame_mask(lengths, quality.shape[1]), (0, span - 1))
    padded = F.pad(quality, (0, span - 1))
    # finite, for windows wholly behind the end, where a softmax over −∞ would be NaN and reach the gradients
    never = torch.finfo(quality.dtype).min / 4
    weights = torch.softmax((-padded).masked_fill(~mask, never).unfold(1, span, 1), dim=-1)
    return (weights * padded.masked_fill(~mask, 0).unfold(1, span, 1)).sum(dim=-1)


def _masked(pooled: Tensor, lengths: Tensor) -> Tensor:
    return pooled.masked_fill(~frame_mask(lengths, pooled.shape[1]), 0)
