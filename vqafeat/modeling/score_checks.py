"""What a run knows of itself that tells whether the score of a video can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.modeling.predictions import read_summary
from vqafeat.modeling.run_config import RunConfig
from vqafeat.modeling.run_files import METRICS, SPLITS, read_json
from vqafeat.modeling.trained import TrainedModel
from vqafeat.modeling.training_features import TrainingFeatures, read_training_features


@dataclass(frozen=True, eq=False)
class ScoreChecks:
    """The training videos of a run, and how wrong its heads were on the others.

    Attributes:
        fitted_on: SHA-256 of a video's file → its name, and the splits whose heads it trained or chose; empty where the run does not know
            the files, as one of an earlier version, an imported head, or one on imported features.
        features: where the training videos are in the space of features; None where it is not known.
        rmse: of the calibrated scores of test videos, the mean over the splits; NaN where it is not known.
    """

    fitted_on: Mapping[str, tuple[str, frozenset[int]]]
    features: TrainingFeatures | None = None
    rmse: float = nan

    @classmethod
    def read(cls, folder: Path, config: RunConfig, dataset: str) -> "ScoreChecks":
        """Read them from a finished run, for scores on the label scale of a data set; runs of an earlier version know less.

        Raises:
            WeightsError: a file of the run is missing or damaged.
        """
        recorded = read_json(folder / SPLITS)
        # a test part that chose the epoch is not held out
        parts = ("train", "validation", *(["test"] if config.recipe.get("select") == "test" else []))
        digests: dict[str, str] = recorded.get("sha256", {})
        splits: dict[str, set[int]] = {name: set() for name in digests}
        for number, split in enumerate(recorded["splits"]):
            for name in (name for part in parts for name in split[part] if name in digests):
                splits[name].add(number)
        # two videos of a data set can be one file: a head that was fitted on either has seen it
        fitted_on: dict[str, tuple[str, frozenset[int]]] = {}
        for name, numbers in splits.items():
            first, known = fitted_on.get(digests[name], (name, frozenset[int]()))
            fitted_on[digests[name]] = (first, known | numbers)
        summary = read_summary(folder, config) if (folder / METRICS).is_file() else None
        own = summary and summary.datasets.get(dataset, summary)
        return cls(fitted_on, read_training_features(folder), own.rmse_calibrated.mean if own else nan)

    def held_out(self, sha256: str, splits: Sequence[int]) -> tuple[int, ...]:
        """Return those of the splits whose heads were not fitted on the file with this digest."""
        _, seen = self.fitted_on.get(sha256, ("", frozenset[int]()))
        return tuple(number for number in splits if number not in seen)

    def warnings(
        self, sha256: str, splits: Sequence[int], scores: npt.NDArray[np.float64], features: npt.NDArray[Any], model: TrainedModel
    ) -> tuple[str, ...]:
        """Return what a reader has to know before trusting a score.

        Args:
            sha256: of the video's file.
            splits: whose heads gave the score.
            scores: (head,) as they are printed.
            features: (frame, channel) of the video.
            model: that gave the scores.
        """
        found = []
        unseen = self.held_out(sha256, splits)
        if len(unseen) < len(splits):
            name, _ = self.fitted_on[sha256]
            heads = "the head was" if len(splits) == 1 else f"{len(splits) - len(unseen)} of {len(splits)} heads were"
            others = f"; --held-out takes the other {len(unseen)}" if unseen else ""
            found.append(f"it is the training or validation video '{name}': {heads} fitted on it{others}")
        found += self._of_scores(splits, scores, model)
        if self.features is not None and (distance := self.features.relative_distance(features)) > 1:
            far = f"{distance:.2g} times as far from the training videos as the farthest of them"
            found.append(f"its features are outside of what training saw: {far}")
        return tuple(found)

    def _of_scores(self, splits: Sequence[int], scores: npt.NDArray[np.float64], model: TrainedModel) -> list[str]:
        low, high = model.trained_on.mos_range
        if model.calibrations is None:
            outside = int(np.sum((scores < low) | (scores > high)))
            return [f"{outside} of {len(scores)} scores are outside of the labels' range, {low:g} to {high:g}"] if outside else []
        found = []
        std = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        if std > self.rmse:
            found.append(f"the heads disagree: ± {std:.3g}, more than their RMSE on held-out videos, {self.rmse:.3g}")
        if at_end := int(np.isin(scores, (low, high)).sum()):
            found.append(f"{at_end} of {len(scores)} scores are limited to an end of the labels' range, {low:g} to {high:g}")
        notes = Counter(model.calibrations[split].note for split in splits)
        return found + [f"{count} of {len(splits)} heads: {note}" for note, count in notes.items() if note]
