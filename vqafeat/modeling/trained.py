"""A saved model: a run folder with one head a split; save, load, and score frames.

config.json      everything that decides the run, resolved      splits.json    the videos of each part, by name
predictions.csv  split, part, video, content, MOS, prediction   curve.csv      split, epoch, loss, validation SROCC
metrics.json     of the test parts; written last                weights/split-00.safetensors …
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import vqafeat
from vqafeat.errors import ArgumentError, IdentityError, WeightsError
from vqafeat.features import FeatureSetIdentity
from vqafeat.modeling.heads import HEADS, Head, build_head, head_options
from vqafeat.modeling.losses import on_label_scale
from vqafeat.modeling.run_files import CONFIG, METRICS, list_first, load_checked, read_json, read_weights, weights_path
from vqafeat.modeling.sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.modeling.sequences import as_tensor, checked_shape

FORMAT_VERSION = 1


def software_versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on."""
    return {"vqafeat": vqafeat.__version__, "python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, resolved.

    Attributes:
        head: name in the registry of heads.
        options: all of the head's options.
        recipe: all values of the recipe; empty for an imported head and for one that follows none.
        seed: of the whole run; each split draws its own from it.
        feature_sets: as given, for example `resnet50+slowfast-fast`.
        identities: feature set → what its numbers depend on; empty where it is not known (imported heads).
        channels: width of a frame's features.
        label_factors: one a split: head's output × factor = score.
        dataset: name of the data set that the heads were trained on.
        dataset_digest: digest of that data set; empty where it is not known.
        score_name: what the labels are, for example "MOS".
        mos_range: smallest and largest label of the data set's scale.
        split_kind: how the splits were drawn, in words.
        mapping: what PLCC and RMSE are read after.
        origin: the command or file that the run comes from.
        versions: of the software.
        frame_input: the frames that the heads were trained on and are tested on.
        format_version: of the run folder.
    """

    head: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    feature_sets: str
    identities: dict[str, dict[str, Any]]
    channels: int
    label_factors: tuple[float, ...]
    dataset: str
    dataset_digest: str
    score_name: str
    mos_range: tuple[float, float]
    split_kind: str
    mapping: str
    origin: str
    versions: dict[str, str]
    frame_input: FrameInput = WHOLE_VIDEOS
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise WeightsError(f"the run has format version {self.format_version}, this vqafeat reads {FORMAT_VERSION}; fit again.")
        if not self.label_factors or not all(isfinite(factor) and factor > 0 for factor in self.label_factors):
            raise WeightsError(f"label_factors of the run are {list(self.label_factors)}; there has to be one above 0 for each split.")
        if self.channels < 1:
            raise WeightsError(f"channels of the run is {self.channels}; it has to be at least 1.")

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        given = {"label_factors": list(self.label_factors), "mos_range": list(self.mos_range), "frame_input": self.frame_input.as_dict()}
        return {**asdict(self), **given}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "RunConfig":
        """Return the configuration that `as_dict` described.

        Raises:
            WeightsError: a key is missing or unknown.
        """
        # runs from before there was a choice took whole videos
        values = {"frame_input": WHOLE_VIDEOS.as_dict(), **values}
        known = [item.name for item in fields(cls)]
        problems = [f"'{key}' is missing" for key in known if key not in values] + [
            f"'{key}' is not known" for key in values if key not in known
        ]
        if problems:
            raise WeightsError(f"{where} is not a configuration that this vqafeat reads: {list_first(problems)}. Fit again.")
        frame_input = FrameInput.from_dict(values["frame_input"])
        tuples = {key: tuple(values[key]) for key in ("label_factors", "mos_range")}
        return cls(**{**values, **tuples, "frame_input": frame_input})


class TrainedModel:
    """The heads of a run, ready to score; scores are on the label scale of the data set that they were trained on.

    Attributes:
        config: the run's configuration.
        heads: one a split.
    """

    def __init__(self, config: RunConfig, heads: Sequence[Head]) -> None:
        if len(heads) != len(config.label_factors):
            raise ArgumentError(f"a run with {len(config.label_factors)} label factors needs as many heads, got {len(heads)}.")
        self.config = config
        self.heads = tuple(head.eval() for head in heads)

    @classmethod
    def load(cls, folder: Path) -> "TrainedModel":
        """Load a finished run.

        Raises:
            WeightsError: the folder is no finished run, or its weights are missing, damaged or do not fit the head.
        """
        read_json(folder / METRICS)
        config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
        if config.head not in HEADS:
            raise WeightsError(
                f"run '{folder}' has the head '{config.head}', which this vqafeat does not know; known are: {', '.join(HEADS)}."
            )
        heads = []
        for split in range(len(config.label_factors)):
            path = weights_path(folder, split)
            head = build_head(config.head, config.channels, config.options)
            weights = read_weights(path)
            head.make_room(weights)
            load_checked(head, weights, f"weights in '{path}'")
            heads.append(head)
        return cls(config, heads)

    @property
    def scale(self) -> str:
        """What a score means, in words, for example "MOS of konvid, 1.22 to 4.64"."""
        low, high = self.config.mos_range
        labels = f"{self.config.score_name} of {self.config.dataset}, {low:g} to {high:g}"
        loss = self.config.recipe.get("loss", "l1")
        return labels if on_label_scale(loss) else f"a scale of its own, left open by the loss '{loss}'; rises with {labels}"

    def score(self, features: npt.NDArray[Any], split: int | None = None) -> float:
        """Return the score of one video.

        Args:
            features: (frame, channel), float16 or float32.
            split: which head to ask; without it, the mean over all heads of the run.
        """
        frames, lengths = self._checked(features)
        with torch.inference_mode():
            scores = [float(self.heads[number](frames, lengths)[0]) * self.config.label_factors[number] for number in self._asked(split)]
        return float(np.mean(scores))

    def frame_scores(self, features: npt.NDArray[Any], split: int | None = None, pooled: bool = True) -> npt.NDArray[np.float64]:
        """Return (frame,) scores on the score's scale; where they are not `pooled` they are what goes into the pooling.

        The mean of the pooled ones is the video's score, unless the head bounds the pooled score or scores a video as a whole.

        Raises:
            ArgumentError: the features have another width than the heads, or there is no such split.
        """
        frames, lengths = self._checked(features)
        total = np.zeros(len(features))
        asked = self._asked(split)
        with torch.inference_mode():
            for number in asked:
                head = self.heads[number]
                scores = head.frame_scores(frames, lengths) if pooled else head.raw_frame_scores(frames, lengths)
                total += scores[0].double().numpy() * self.config.label_factors[number]
        return total / len(asked)

    def _checked(self, features: npt.NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames in float32 and their number, as heads take them."""
        _, channels = checked_shape(features, "the video")
        if channels != self.config.channels:
            raise ArgumentError(
                f"the features have {channels} channels, the model takes {self.config.channels} ('{self.config.feature_sets}'); "
                "extract the feature sets that it was trained on."
            )
        return as_tensor(features).float(), torch.tensor([len(features)])

    def check_identity(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Refuse features that were made otherwise than those that the heads were trained on; nothing is known about imported heads.

        Raises:
            IdentityError: they differ; each difference is named.
        """
        if feature_set not in self.config.identities:
            return
        own = FeatureSetIdentity.from_dict(self.config.identities[feature_set])
        if own != identity:
            raise IdentityError(
                f"features '{feature_set}' were made otherwise than in training; model against these: {own.differences(identity)}. "
                "Extract them the model's way, or pass --any-features if the difference does not matter."
            )

    def _asked(self, split: int | None) -> range:
        if split is None:
            return range(len(self.heads))
        if not 0 <= split < len(self.heads):
            raise ArgumentError(f"split is {split}; the run has {len(self.heads)} (0 to {len(self.heads) - 1}).")
        return range(split, split + 1)


def resolved_options(head: str, options: Mapping[str, Any] | None, pooling: str, asked_for: bool = False) -> dict[str, Any]:
    """Return all options of a head; the recipe's pooling variant goes to the heads that have one, unless it is given.

    Args:
        head: name of the head.
        options: the given ones.
        pooling: the recipe's variant.
        asked_for: the variant was named for this fit, and is not just the recipe's own.

    Raises:
        ArgumentError: a variant was asked for and the head has no temporal pooling, or an option is not allowed.
    """
    defaults = head_options(head)
    if asked_for and "pooling" not in defaults:
        able = ", ".join(name for name in HEADS if "pooling" in head_options(name))
        raise ArgumentError(
            f"pooling is '{pooling}', but head '{head}' has no temporal pooling; leave it out, or use a head with one: {able}."
        )
    return head_options(head, {**({"pooling": pooling} if "pooling" in defaults else {}), **(options or {})})
