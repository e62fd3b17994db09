"""A saved model: a run folder with one head a split; save, load, and score frames.

config.json       everything that decides the run, resolved      splits.json    the videos of each part, by
name and SHA-256 predictions.csv   output and calibrated score of every video      curve.csv      split,
epoch, loss, validation SROCC calibration.json  from each head's output to its score
training-features.safetensors  where the training videos are metrics.json      of the test parts; written last
weights/split-00.safetensors …
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqafeat.errors import ArgumentError, IdentityError, WeightsError
from vqafeat.heads import HEADS, Head, build_head
from vqafeat.losses import on_label_scale
from vqafeat.store.types import FeatureSetIdentity
from vqafeat.training.calibration import Calibrations, calibration_words
from vqafeat.training.data import as_tensor, checked_shape
from vqafeat.training.predictions import load_calibrations
from vqafeat.training.results import CONFIG, METRICS, load_checked, read_json, read_weights, weights_path
from vqafeat.training.run_config import RunConfig, chosen_scale


class Model:
    """The heads of a run, ready to score; scores are on the label scale of a data set that they were trained
    on.

    Args:
        config: the run's configuration.
        heads: one a split; of the heads that know several label scales, for that of `scale_of`.
        scale_of: the data set whose label scale scores are on; without it, the run's first.
        calibrations: of the run; without them, scores are the heads' own output.

    Raises:
        ArgumentError: there is another number of heads, or no such data set in the run.
    """

    def __init__(
        self,
        config: RunConfig,
        heads: Sequence[Head],
        scale_of: str | None = None,
        calibrations: Calibrations | None = None,
    ) -> None:
        if len(heads) != config.splits:
            raise ArgumentError(f"a run with {config.splits} splits needs as many heads, got {len(heads)}.")
        self.config = config
        self.heads = tuple(head.eval() for head in heads)
        self.trained_on = chosen_scale(config, scale_of)
        self.calibrations = (
            None if calibrations is None else calibrations[config.datasets.index(self.trained_on)]
        )

    @classmethod
    def load(cls, folder: Path, scale_of: str | None = None, calibrated: bool = True) -> "Model":
        """Load a finished run.

        Args:
            folder: of the run.
            scale_of: the data set whose label scale scores are on; without it, the run's first.
            calibrated: score on the label scale; otherwise scores are the heads' own output.

        Raises:
            WeightsError: the folder is no finished run, or its weights are missing, damaged or do not fit the
                head.
            ArgumentError: the run was not trained on the data set `scale_of`.
        """
        read_json(folder / METRICS)
        config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
        if config.head not in HEADS:
            raise WeightsError(
                f"run '{folder}' has the head '{config.head}', which this vqafeat does not know; known are: "
                f"{', '.join(HEADS)}."
            )
        # an imported head keeps the scale that it was made for
        several = len(config.datasets) > 1 and config.options.get("datasets")
        scaled = {"scale_of": chosen_scale(config, scale_of).name} if several else {}
        heads = []
        for split in range(config.splits):
            path = weights_path(folder, split)
            head = build_head(config.head, config.channels, {**config.options, **scaled})
            weights = read_weights(path)
            head.resize_buffers(weights)
            load_checked(head, weights, f"weights in '{path}'")
            heads.append(head)
        return cls(config, heads, scale_of, load_calibrations(folder, config) if calibrated else None)

    @property
    def scale(self) -> str:
        """What a score means, in words, for example "MOS of konvid, 1.22 to 4.64, calibrated on validation
        videos".
        """
        low, high = self.trained_on.mos_range
        labels = f"{self.trained_on.score_name} of {self.trained_on.name}, {low:g} to {high:g}"
        loss = self.config.recipe.get("loss", "l1")
        if self.calibrations is not None:
            return f"{labels}, {calibration_words(self.calibrations)}"
        if on_label_scale(loss):
            return f"{labels}, not calibrated"
        return f"not calibrated: a scale that the loss '{loss}' leaves open, rising with {labels}"

    def outputs(
        self, features: npt.NDArray[Any], splits: Sequence[int] | int | None = None
    ) -> npt.NDArray[np.float64]:
        """Return (head,) the heads' own outputs for one video, on the scale that their loss leaves.

        Args:
            features: (frame, channel), float16 or float32.
            splits: whose heads to use; without any, all heads of the run.

        Raises:
            ArgumentError: the features have another width than the heads, or there is no such split.
        """
        frames, lengths = self._checked(features)
        asked = self.splits_of(splits)
        with torch.inference_mode():
            outputs = [float(self.heads[number](frames, lengths)[0]) for number in asked]
        return np.array(
            [
                self.trained_on.lines[number].inverse_transform(output)
                for number, output in zip(asked, np.array(outputs), strict=True)
            ]
        )

    def calibrated(
        self, outputs: npt.NDArray[np.float64], splits: Sequence[int] | int | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the scores that (head,) outputs stand for; without calibrations, the outputs."""
        pairs = zip(self.splits_of(splits), outputs, strict=True)
        return np.array([float(self._calibrated(number, output)) for number, output in pairs])

    def score(self, features: npt.NDArray[Any], splits: Sequence[int] | int | None = None) -> float:
        """Return the score of one video, the mean over heads; see `outputs`."""
        return float(np.mean(self.calibrated(self.outputs(features, splits), splits)))

    def frame_scores(
        self, features: npt.NDArray[Any], splits: Sequence[int] | int | None = None, pooled: bool = True
    ) -> npt.NDArray[np.float64]:
        """Return (frame,) scores on the score's scale; where they are not `pooled` they are what goes into
        the pooling.

        The mean of the pooled ones is the video's score, unless the head bounds the pooled score or scores a
        video as a whole, or a calibrated score reaches an end of the label scale.

        Raises:
            ArgumentError: the features have another width than the heads, or there is no such split.
        """
        frames, lengths = self._checked(features)
        total = np.zeros(len(features))
        asked = self.splits_of(splits)
        with torch.inference_mode():
            for number in asked:
                head = self.heads[number]
                scores = (
                    head.frame_scores(frames, lengths) if pooled else head.raw_frame_scores(frames, lengths)
                )
                total += self._calibrated(
                    number, self.trained_on.lines[number].inverse_transform(scores[0].double().numpy())
                )
        return total / len(asked)

    def _calibrated(self, split: int, outputs: Any) -> npt.NDArray[np.float64]:
        return (
            np.asarray(outputs, dtype=np.float64)
            if self.calibrations is None
            else self.calibrations[split].scores(outputs)
        )

    def _checked(self, features: npt.NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames in float32 and their number, as heads take them."""
        _, channels = checked_shape(features, "the video")
        if channels != self.config.channels:
            raise ArgumentError(
                f"the features have {channels} channels, the model takes {self.config.channels} "
                f"('{self.config.feature_sets}'); "
                "extract the feature sets that it was trained on."
            )
        return as_tensor(features).float(), torch.tensor([len(features)])

    def check_identity(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Refuse features that were computed differently than those that the heads were trained on; nothing
        is known about imported heads.

        Raises:
            IdentityError: they differ; each difference is named.
        """
        if feature_set not in self.config.identities:
            return
        own = FeatureSetIdentity.from_dict(self.config.identities[feature_set])
        if own != identity:
            raise IdentityError(
                f"features '{feature_set}' were computed differently than in training; model against these: "
                f"{own.differences(identity)}. "
                "Extract them the model's way, or pass --any-features if the difference does not matter."
            )

    def splits_of(self, splits: Sequence[int] | int | None) -> tuple[int, ...]:
        """Return the numbers of the named splits, or of all without any.

        Raises:
            ArgumentError: there is no such split.
        """
        asked = tuple(
            range(len(self.heads)) if splits is None else [splits] if isinstance(splits, int) else splits
        )
        for split in asked:
            if not 0 <= split < len(self.heads):
                raise ArgumentError(
                    f"split is {split}; the run has {len(self.heads)} (0 to {len(self.heads) - 1})."
                )
        return asked
