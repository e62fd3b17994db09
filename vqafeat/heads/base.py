"""What every head is: frame features in, a score for each frame and each video out."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from vqafeat.errors import ArgumentError
from vqafeat.heads.pooling import masked_mean
from vqafeat.registry import Registry


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a batch of videos; most heads have one score, which then stands for all three.

    Attributes:
        relative: (batch,) in (0, 1) where the head bounds it; SROCC and KROCC are read on it.
        mapped: (batch,) a learnt logistic of the relative score; PLCC is read on it.
        aligned: (batch,) the mapped score on the label scale of a data set; RMSE is read on it, and it is the
            video's score.
    """

    relative: Tensor
    mapped: Tensor
    aligned: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(self.relative.shape), tuple(self.mapped.shape), tuple(self.aligned.shape)}
        if len(shapes) != 1 or self.relative.ndim != 1:
            raise ArgumentError(
                f"relative, mapped and aligned scores have to be (batch,) and of one size, got "
                f"{sorted(shapes)}."
            )

    @classmethod
    def same(cls, scores: Tensor) -> "Scores":
        """Return (batch,) scores as all three."""
        return cls(scores, scores, scores)

    def parts(self, count: int) -> list["Scores"]:
        """Return the outputs of equally large groups of videos that follow one another in the batch."""
        columns = (values.view(count, -1).unbind() for values in (self.relative, self.mapped, self.aligned))
        return [Scores(*values) for values in zip(*columns, strict=True)]


class WideProduct(torch.autograd.Function):
    """`F.linear` without bias, forward a fifth faster for wide weights: MKL is slow to multiply by them as
    they lie, (reduced, channel).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, frames: Tensor, weight: Tensor) -> Tensor:
        """Return (total frames, reduced) of (total frames, channel) and (reduced, channel)."""
        ctx.save_for_backward(frames, weight)
        return frames @ weight.T.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the gradients of both arguments of `forward`."""
        frames, weight = ctx.saved_tensors
        # in this order, since that of the copy, frames.T @ gradient, takes a tenth longer
        return gradients[0] @ weight if ctx.needs_input_grad[0] else None, gradients[0].T @ frames


class FrameReduction(nn.Module):
    """FC over each frame's features, after their standardisation: (total frames, channel) → (total frames,
    reduced).

    The class `ANN` of the released VSFA.py with one layer, so without activation and dropout. Mean 0 and
    deviation 1, the start, make it exactly that; other values, from the training part, are part of the saved
    model. They are folded into the matrix, so that a frame costs the same with them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, reduced)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        # known once, since looking at a matrix at each step costs a fiftieth of it
        self._as_it_is = True
        self.register_load_state_dict_post_hook(FrameReduction._look)  # type: ignore[no-untyped-call]

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take (channel,) mean and deviation."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self._look()

    def _look(self, *_: object) -> None:
        self._as_it_is = not self.mean.any() and bool((self.deviation == 1).all())

    def forward(self, frames: Tensor) -> Tensor:
        """Return (total frames, reduced)."""
        weight: Tensor = self.linear.weight
        bias: Tensor = self.linear.bias
        if not self._as_it_is:
            weight = weight / self.deviation
            bias = bias - weight @ self.mean
        return cast(Tensor, WideProduct.apply(frames, weight)) + bias


class Head(nn.Module, ABC):
    """Frame features in, a score for each frame and each video out; scores are on the label scale that the
    head was trained on.

    Frames of several videos come one after another, (total frames, channel), with their (batch,) lengths;
    nothing is computed for padding but what runs along time over the reduced features.
    """

    supports_batched_training: ClassVar[bool] = False
    """Whether several of them are trained in less time together than one after another (`vqafeat.training.stacked_gru`)."""

    trainer: ClassVar[str] = "epochs"
    """How it is trained: a name in the registry `vqafeat.training.loop.TRAINERS`."""

    @property
    def core(self) -> "Head":
        """The head whose video scores `outputs` starts from; most heads are their own."""
        return self

    def outputs(self, scores: Tensor, dataset: Tensor | None = None) -> Scores:
        """Return what the (batch,) video scores of the core say.

        Args:
            scores: (batch,).
            dataset: (batch,) number of each video's data set, for the heads that know several label scales.
        """
        return Scores.same(scores)

    @abstractmethod
    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): each frame's score before temporal pooling; undefined behind a video's
        end.
        """

    def pooled(self, raw: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): what the temporal pooling makes of the frames' own scores."""
        return raw

    def frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): each frame's score after temporal pooling.

        Their mean over a video's own frames is the video's score, unless the head says otherwise.
        """
        return self.pooled(self.raw_frame_scores(frames, lengths), lengths)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,): each video's score."""
        return masked_mean(self.frame_scores(frames, lengths), lengths)

    def resize_buffers(self, weights: Mapping[str, Tensor]) -> None:
        """Give what grows with the training data the sizes that it has in a state dict; most heads have
        nothing of the kind.
        """
        return


class NeuralHead(Head):
    """A head whose parameters are learnt by gradients, epoch by epoch."""

    score: nn.Linear

    def reductions(self) -> list[FrameReduction]:
        """Return the layers that see the frames' channels, in the order of these channels."""
        return [module for module in self.modules() if isinstance(module, FrameReduction)]

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take (channel,) mean and deviation of the frames that the head will be trained on."""
        layers = self.reductions()
        widths = [layer.linear.in_features for layer in layers]
        for layer, own_mean, own_deviation in zip(
            layers, torch.split(mean, widths), torch.split(deviation, widths), strict=True
        ):
            layer.standardise_by(own_mean, own_deviation)

    @torch.no_grad()
    def init_output_bias(self, label: float) -> None:
        """Let the untrained head's scores lie about `label`."""
        self.score.bias.fill_(label)

    def init_from_labels(self, labels: Tensor, dataset: Tensor) -> None:
        """Take the (video,) scaled labels of the training part and their data sets' numbers; most heads do
        not start from them.
        """
        return


HEADS: Registry[type[Head]] = Registry("head")
_BOOLEANS = {"yes": True, "no": False}


def head_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options of a head: the given ones, and its own values for the rest.

    Raises:
        UnknownNameError: there is no such head.
        ArgumentError: the head has no such option, or the value is of another kind.
    """
    parameters = dict(inspect.signature(HEADS.get(name)).parameters)
    parameters.pop("channels")
    resolved = {key: parameter.default for key, parameter in parameters.items()}
    for key, value in (options or {}).items():
        if key not in resolved:
            raise ArgumentError(f"head '{name}' has no option '{key}'; it has {', '.join(resolved)}.")
        if type(value) is not type(resolved[key]):
            raise ArgumentError(
                f"option '{key}' of head '{name}' is {value!r}; it has to be a "
                f"{type(resolved[key]).__name__}, as {resolved[key]!r}."
            )
        resolved[key] = value
    return resolved


def options_from_text(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return the options of a head that are written as NAME=VALUE, each of the kind that its own value has;
    yes and no are booleans.

    Raises:
        UnknownNameError: there is no such head.
        ArgumentError: the head has no such option, or the text is of another kind.
    """
    defaults, found = head_options(name), dict[str, Any]()
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or key not in defaults:
            raise ArgumentError(
                f"option '{pair}': head '{name}' takes NAME=VALUE with one of {', '.join(defaults)}."
            )
        try:
            found[key] = _BOOLEANS[text] if isinstance(defaults[key], bool) else type(defaults[key])(text)
        except (ValueError, KeyError):
            allowed = (
                "yes or no"
                if isinstance(defaults[key], bool)
                else f"a {type(defaults[key]).__name__}, as {defaults[key]!r}"
            )
            raise ArgumentError(
                f"option '{key}' of head '{name}' is '{text}'; it has to be {allowed}."
            ) from None
    return found


def build_head(name: str, channels: int, options: Mapping[str, Any] | None = None) -> Head:
    """Return an untrained head for features of `channels` channels, initialised as PyTorch does by default
    (so does the released code).
    """
    return HEADS.get(name)(channels, **head_options(name, options))


def resolved_options(
    head: str, options: Mapping[str, Any] | None, pooling: str, asked_for: bool = False
) -> dict[str, Any]:
    """Return all options of a head; the recipe's pooling variant goes to the heads that have one, unless it
    is given.

    Args:
        head: name of the head.
        options: the given ones.
        pooling: the recipe's variant.
        asked_for: the variant was named for this fit, and is not just the recipe's own.

    Raises:
        ArgumentError: a variant was asked for and the head has no temporal pooling, or an option is not
            allowed.
    """
    defaults = head_options(head)
    if asked_for and "pooling" not in defaults:
        able = ", ".join(name for name in HEADS if "pooling" in head_options(name))
        raise ArgumentError(
            f"pooling is '{pooling}', but head '{head}' has no temporal pooling; leave it out, or use a "
            f"head with one: {able}."
        )
    return head_options(head, {**({"pooling": pooling} if "pooling" in defaults else {}), **(options or {})})
