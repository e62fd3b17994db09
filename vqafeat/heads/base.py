"""Base classes of heads: frame features in, a score for each frame and each video out."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from vqafeat.errors import ArgumentError
from vqafeat.heads import HEADS
from vqafeat.heads.pooling import SubjectivePooling, masked_mean


@dataclass(frozen=True, eq=False)
class Scores:
    """The (batch,) scores of a batch of videos; most heads have one score, which stands for all three.

    Attributes:
        relative: in (0, 1) where the head bounds it; for SROCC and KROCC.
        mapped: a learnt logistic of the relative score; for PLCC.
        aligned: the mapped score on the label scale of a data set: the video's score; for RMSE.
    """

    relative: Tensor
    mapped: Tensor
    aligned: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(values.shape) for values in vars(self).values()}
        if len(shapes) != 1 or self.relative.ndim != 1:
            raise ArgumentError(f"scores have to be (batch,) and of one size, got {sorted(shapes)}.")

    def parts(self, count: int) -> list["Scores"]:
        """Return the scores of `count` equally large groups of videos, one after another in the batch."""
        if count == 1:
            return [self]
        columns = (values.view(count, -1).unbind() for values in vars(self).values())
        return [Scores(*values) for values in zip(*columns, strict=True)]


class _WideProduct(torch.autograd.Function):
    """`F.linear` without bias, a fifth faster forward: MKL is slow to multiply by (reduced, channel)."""

    @staticmethod
    def forward(ctx: FunctionCtx, frames: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(frames, weight)
        return frames @ weight.T.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        frames, weight = ctx.saved_tensors
        # in this order, since that of the copy, frames.T @ gradient, takes a tenth longer
        return gradients[0] @ weight if ctx.needs_input_grad[0] else None, gradients[0].T @ frames


# types that JSON gives back
_STORED = (bool, int, float, str, list, dict, type(None))


def check_widths(**widths: int) -> None:
    """Refuse layers without units."""
    if empty := [f"{name} is {width}" for name, width in widths.items() if width < 1]:
        raise ArgumentError(f"{', '.join(empty)}; it has to be at least 1.")


class FrameReduction(nn.Module):
    """Standardisation and FC of each frame's features: (total frames, channel) → (total frames, reduced).

    With mean 0 and deviation 1, as at its start, it is class `ANN` of the released VSFA.py with one layer.
    Other values are folded into the matrix, so that a frame costs the same.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, reduced)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        # a look at the statistics at each step would cost a fiftieth of it
        self._is_identity = True
        self.register_load_state_dict_post_hook(FrameReduction._check)  # type: ignore[no-untyped-call]

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take (channel,) mean and deviation."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self._check()

    def _check(self, *_: object) -> None:
        self._is_identity = not self.mean.any() and bool((self.deviation == 1).all())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return (reduced, channel) weights and (reduced,) bias that include the standardisation."""
        weight: Tensor = self.linear.weight
        bias: Tensor = self.linear.bias
        if not self._is_identity:
            weight = weight / self.deviation
            bias = bias - weight @ self.mean
        return weight, bias

    def forward(self, frames: Tensor) -> Tensor:
        """Return (total frames, reduced)."""
        weight, bias = self.folded()
        return cast(Tensor, _WideProduct.apply(frames, weight)) + bias


class Head(nn.Module, ABC):
    """Frame features in, a score for each frame and each video out, on the label scale of the training.

    The frames of a batch of videos are one (total frames, channel) tensor without padding.
    """

    trainer: ClassVar[str] = "epochs"  # by gradients; or "svr"
    settling: ClassVar[int] = 0  # frames after which a recurrence has forgotten its zero state
    pool: SubjectivePooling | None = None  # temporal pooling of the frame scores; a mean without one

    @classmethod
    def option_defaults(cls) -> dict[str, Any]:
        """Return the head's options, the constructor's arguments besides `channels`, with their defaults."""
        parameters = inspect.signature(cls).parameters
        return {key: parameter.default for key, parameter in parameters.items() if key != "channels"}

    @property
    def core(self) -> "Head":
        """The head that computes the scores which `outputs` takes; for most heads the head itself."""
        return self

    @property
    def warmup(self) -> int:
        """Number of first frames whose pooled scores depend on the state in which a recurrence starts."""
        core = self.core
        return core.settling and core.settling + (core.pool.window if core.pool else 0)

    def outputs(self, scores: Tensor, dataset: Tensor | None = None) -> Scores:
        """Return all scores, given the (batch,) scores of the core and numbers of the videos' data sets."""
        return Scores(scores, scores, scores)

    @abstractmethod
    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): each frame's score before temporal pooling; undefined in padding."""

    def pooled(self, raw: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the raw frame scores after temporal pooling."""
        return raw if self.pool is None else self.pool(raw, lengths)

    def frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): pooled scores; their mean is the video's in most heads."""
        raw = self.raw_frame_scores(frames, lengths)
        if raw.ndim != 2 or len(raw) != len(lengths):
            needs = f"(video, time), padded after each video's frames, here ({len(lengths)}, time)"
            name = type(self).__name__
            raise ArgumentError(
                f"raw_frame_scores of '{name}' returned {tuple(raw.shape)}; it has to return {needs}."
            )
        return self.pooled(raw, lengths)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,): each video's score."""
        return masked_mean(self.frame_scores(frames, lengths), lengths)

    def resize_buffers(self, weights: Mapping[str, Tensor]) -> None:
        """Resize the buffers that grow with the training data to those of a state dict."""
        return

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take (channel,) mean and deviation of the training frames, if the head has a `FrameReduction`."""
        start = 0
        for layer in self.modules():
            if isinstance(layer, FrameReduction):
                own = slice(start, start + layer.linear.in_features)
                layer.standardise_by(mean[own], deviation[own])
                start = own.stop

    @torch.no_grad()
    def init_output_bias(self, label: float) -> None:
        """Centre the untrained head's scores on `label`, if its last layer is a `score` with a bias."""
        if isinstance(score := getattr(self, "score", None), nn.Linear) and score.bias is not None:
            score.bias.fill_(label)

    def init_from_labels(self, labels: Tensor, dataset: Tensor) -> None:
        """Set parameters by the training part's (video,) scaled labels and the numbers of their data sets."""
        return


def head_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options of a head: the given ones, and the head's defaults for the rest."""
    resolved = HEADS.get(name).option_defaults()
    for key, default in resolved.items():
        if not isinstance(default, _STORED):
            has = "no default" if default is inspect.Parameter.empty else f"the default {default!r}"
            allowed = "give it one that JSON stores, such as a number or a text"
            raise ArgumentError(f"option '{key}' of head '{name}' has {has}; {allowed}.")
    for key, value in (options or {}).items():
        if key not in resolved:
            raise ArgumentError(f"head '{name}' has no option '{key}'; it has {', '.join(resolved)}.")
        if type(value) is not type(resolved[key]):
            allowed = f"of type {type(resolved[key]).__name__}, such as {resolved[key]!r}"
            raise ArgumentError(f"option '{key}' of head '{name}' is {value!r}; it has to be {allowed}.")
        resolved[key] = value
    return resolved


def options_from_text(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return the options of a head that are written as NAME=VALUE; yes and no are booleans."""
    defaults, options = head_options(name), dict[str, Any]()
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or key not in defaults:
            known = ", ".join(defaults)
            raise ArgumentError(f"option '{pair}': head '{name}' takes NAME=VALUE with one of {known}.")
        kind = type(defaults[key])
        try:
            options[key] = {"yes": True, "no": False}[text] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            allowed = "yes or no" if kind is bool else f"of type {kind.__name__}, such as {defaults[key]!r}"
            wrong = f"option '{key}' of head '{name}' is '{text}'"
            raise ArgumentError(f"{wrong}; it has to be {allowed}.") from error
    return options


def build_head(name: str, channels: int, options: Mapping[str, Any] | None = None) -> Head:
    """Return an untrained head, initialised as PyTorch does by default (so does the released code)."""
    return HEADS.get(name)(channels, **head_options(name, options))
