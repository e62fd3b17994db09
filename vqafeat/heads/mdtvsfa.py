"""Heads mdtvsfa and mdtvsfa-transformer: relative, mapped and aligned scores of MDTVSFA and Li et al."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Head, Scores
from vqafeat.heads.recurrent import SubGRU
from vqafeat.heads.transformer import TransformerHead

_ROOT = math.sqrt(3)
_OPEN = 1e-3  # keeps what goes into a logit off 0 and 1


class AlignedHead(Head):
    """A head with mean pooling, followed by sigmoid → logistic → one linear mapping a data set.

    Class `VQAModel` of MDTVSFA (Li, Jiang, Jiang, IJCV 2021) and of TCSVT-2022-BVQA (Li et al. 2022):
    relative = sigmoid(pooled), mapped = Linear–Sigmoid–Linear(relative), the first Linear starting at weight
    2√3, bias −√3, the last one frozen at weight 1, bias 0, aligned = a·mapped + b with a and b of each data
    set, starting at the range and the minimum of its labels: of all labels in the released code, here of
    those of the training part. The mean of the frame scores is close to the video's score, not equal to it.

    Args:
        inner_options: those of the class `inner_head`.
        datasets: names joined by `+`, each with its own linear mapping; empty for one that is not named.
        scale_of: which of them the score is for; empty for the first.
        four_parameters: learn the last Linear too, as in equation 13 of Li et al.
        learn_lines: learn a and b; without it they stay 1 and 0, and the label scaling alone decides the
            scale of each data set (`simple_linear_scale` in the released code).
    """

    inner_head: ClassVar[type[Head]]

    def __init__(
        self,
        channels: int,
        datasets: str = "",
        scale_of: str = "",
        four_parameters: bool = False,
        learn_lines: bool = True,
        **inner_options: Any,
    ) -> None:
        super().__init__()
        self.inner = self.inner_head(channels, **inner_options)
        names = [name.strip() for name in datasets.split("+")]
        if len(set(names)) != len(names) or (len(names) > 1 and not all(names)):
            allowed = "names joined by '+' have to be different and not empty, as in 'a+b'"
            raise ArgumentError(f"datasets is '{datasets}'; {allowed}.")
        if scale_of and scale_of not in names:
            known = ", ".join(names) if datasets else "no named data set"
            raise ArgumentError(f"scale_of is '{scale_of}'; the head has scales of {known}.")
        self.scale_number = names.index(scale_of) if scale_of else 0
        self.steepen, self.stretch = nn.Linear(1, 1), nn.Linear(1, 1)
        self.slopes = nn.Parameter(torch.ones(len(names)))
        self.offsets = nn.Parameter(torch.zeros(len(names)))
        for linear, weight, bias in ((self.steepen, 2 * _ROOT, -_ROOT), (self.stretch, 1.0, 0.0)):
            nn.init.constant_(linear.weight, weight)
            nn.init.constant_(linear.bias, bias)
        self.stretch.requires_grad_(four_parameters)
        self.learn_lines = learn_lines
        self.slopes.requires_grad_(learn_lines)
        self.offsets.requires_grad_(learn_lines)

    @classmethod
    def option_defaults(cls) -> dict[str, Any]:
        """Return the options of the inner head, and those of this class, with their defaults."""
        own = super().option_defaults()
        del own["inner_options"]
        return {**cls.inner_head.option_defaults(), **own}

    @property
    def core(self) -> Head:
        """The head whose pooled quality is bounded."""
        return self.inner

    def outputs(self, scores: Tensor, dataset: Tensor | None = None) -> Scores:
        """Return the scores of (batch,) pooled quality on the scales of (batch,) data sets, or `scale_of`."""
        relative = torch.sigmoid(scores)
        mapped = self._mapped(relative)
        number = self.scale_number if dataset is None else dataset
        return Scores(relative, mapped, self.slopes[number] * mapped + self.offsets[number])

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,): the aligned scores."""
        return self._on_scale(self.inner(frames, lengths))

    def frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the pooled quality q′ of each frame, on the video score's scale."""
        return self._on_scale(self.inner.frame_scores(frames, lengths))

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): each frame's quality before pooling, on the same scale."""
        return self._on_scale(self.inner.raw_frame_scores(frames, lengths))

    @torch.no_grad()
    def init_from_labels(self, labels: Tensor, dataset: Tensor) -> None:
        """Start each learnt mapping at the range and the minimum of its data set's (video,) scaled labels."""
        for number in range(len(self.slopes) if self.learn_lines else 0):
            # a head with several mappings that sees one data set alone starts them all there
            own = labels[dataset == number] if bool(dataset.any()) else labels
            self.slopes[number] = own.max() - own.min()
            self.offsets[number] = own.min()

    @torch.no_grad()
    def init_output_bias(self, label: float) -> None:
        """Centre the untrained head's scores on `label`, or as near to it as the logistic reaches."""
        mapped = (label - self.offsets[self.scale_number]) / self.slopes[self.scale_number]
        steep = torch.logit(mapped.nan_to_num().clamp(_OPEN, 1 - _OPEN))
        relative = (steep - self.steepen.bias) / self.steepen.weight[0]
        self.inner.init_output_bias(float(torch.logit(relative.clamp(_OPEN, 1 - _OPEN))))

    def _mapped(self, relative: Tensor) -> Tensor:
        mapped: Tensor = self.stretch(torch.sigmoid(self.steepen(relative[..., None])))
        return mapped[..., 0]

    def _on_scale(self, quality: Tensor) -> Tensor:
        mapped = self._mapped(torch.sigmoid(quality))
        return self.slopes[self.scale_number] * mapped + self.offsets[self.scale_number]


class MDTVSFA(AlignedHead):
    """VSFA's head with the three scores of MDTVSFA (IJCV 2021) and of Li et al. (TCSVT 2022).

    Its options are those of `SubGRU` and of `AlignedHead`.
    """

    inner_head = SubGRU


class MDTVSFATransformer(AlignedHead):
    """The head `mdtvsfa` with a Transformer encoder in place of the GRU (Li et al., TCSVT 2022, table XV).

    Its options are those of `TransformerHead` and of `AlignedHead`.
    """

    inner_head = TransformerHead
