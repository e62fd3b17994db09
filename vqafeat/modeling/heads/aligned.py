"""Relative, mapped and aligned scores: what MDTVSFA and Li et al. put behind the temporal pooling."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqafeat.errors import ArgumentError
from vqafeat.modeling.heads.base import NeuralHead

_SIGN = "+"
_OPEN = 1e-3


@dataclass(frozen=True, eq=False)
class ThreeScores:
    """What a batch of videos scores.

    Attributes:
        relative: (batch,) in (0, 1): sigmoid of the pooled quality; SROCC and KROCC are read on it.
        mapped: (batch,) in (0, 1): a learnt logistic of the relative score; PLCC is read on it.
        aligned: (batch,) the mapped score on the label scale of a data set; RMSE is read on it.
    """

    relative: Tensor
    mapped: Tensor
    aligned: Tensor


class AlignedHead(NeuralHead):
    """A head with mean pooling at its end, and behind it sigmoid → logistic → one line a data set.

    Class `VQAModel` of MDTVSFA (Li, Jiang, Jiang, IJCV 2021) and of TCSVT-2022-BVQA (Li et al. 2022): relative = sigmoid(pooled), mapped =
    Linear–Sigmoid–Linear(relative), the first Linear starting at weight 2√3, bias −√3, the last one frozen at weight 1, bias 0, aligned =
    a·mapped + b with a and b of each data set, starting at the range and the minimum of its labels. The released code takes range and
    minimum of all labels; `see_labels` takes those of the training part.

    The video's score is the aligned one of the data set `scale_of`. Frame scores are on the same scale, each taken through the same
    functions by itself, so that their mean is close to the video's score, not equal to it.

    Args:
        inner: the head whose pooled quality is bounded.
        datasets: names joined by `+`, each with a line of its own; empty for one that is not named.
        scale_of: which of them the score is for; empty for the first.
    """

    def __init__(self, inner: NeuralHead, datasets: str, scale_of: str) -> None:
        super().__init__()
        names = [name.strip() for name in datasets.split(_SIGN)]
        if len(set(names)) != len(names) or (len(names) > 1 and not all(names)):
            raise ArgumentError(f"datasets is '{datasets}'; names joined by '{_SIGN}' have to be different and not empty, as in 'a+b'.")
        if scale_of and scale_of not in names:
            known = ", ".join(names) if datasets else "no named data set"
            raise ArgumentError(f"scale_of is '{scale_of}'; the head has scales of {known}.")
        self.inner = inner
        self.scale_number = names.index(scale_of) if scale_of else 0
        self.steepen, self.stretch = nn.Linear(1, 1), nn.Linear(1, 1)
        self.slopes = nn.Parameter(torch.ones(len(names)))
        self.offsets = nn.Parameter(torch.zeros(len(names)))
        self._start_logistic()

    @torch.no_grad()
    def _start_logistic(self) -> None:
        for layer, weight, bias in ((self.steepen, 2 * math.sqrt(3), -math.sqrt(3)), (self.stretch, 1.0, 0.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
        self.stretch.requires_grad_(False)

    def three_scores(self, frames: Tensor, lengths: Tensor, dataset: Tensor | None = None) -> ThreeScores:
        """Return relative, mapped and aligned scores.

        Args:
            frames: (total frames, channel).
            lengths: (batch,).
            dataset: (batch,) int, which data set's line each video takes; without it, that of `scale_of`.
        """
        relative = torch.sigmoid(self.inner(frames, lengths))
        mapped = self._mapped(relative)
        number = self.scale_number if dataset is None else dataset
        return ThreeScores(relative, mapped, self.slopes[number] * mapped + self.offsets[number])

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,): the aligned scores."""
        return self.three_scores(frames, lengths).aligned

    def frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the pooled quality q′ of each frame, on the video score's scale."""
        return self._on_scale(self.inner.frame_scores(frames, lengths))

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): each frame's quality before pooling, on the video score's scale."""
        return self._on_scale(self.inner.raw_frame_scores(frames, lengths))

    @torch.no_grad()
    def see_labels(self, labels: Tensor) -> None:
        """Start every line at the range and the minimum of (video,) scaled labels."""
        self.slopes.fill_(float(labels.max() - labels.min()))
        self.offsets.fill_(float(labels.min()))

    @torch.no_grad()
    def start_at(self, label: float) -> None:
        """Let the untrained head's scores lie about `label`, or as near to it as the logistic reaches."""
        wanted = (label - self.offsets[self.scale_number]) / self.slopes[self.scale_number]
        relative = (torch.logit(wanted.nan_to_num().clamp(_OPEN, 1 - _OPEN)) - self.steepen.bias) / self.steepen.weight[0]
        self.inner.start_at(float(torch.logit(relative.clamp(_OPEN, 1 - _OPEN))))

    def _mapped(self, relative: Tensor) -> Tensor:
        mapped: Tensor = self.stretch(torch.sigmoid(self.steepen(relative[..., None])))
        return mapped[..., 0]

    def _on_scale(self, quality: Tensor) -> Tensor:
        return self.slopes[self.scale_number] * self._mapped(torch.sigmoid(quality)) + self.offsets[self.scale_number]
