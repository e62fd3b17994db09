"""Scores of new videos: the one place where stage 2 calls stage 1."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.backbones import BACKBONES
from vqafeat.backbones import feature_set as feature_sets
from vqafeat.backbones.weights import remembered_weights
from vqafeat.datasets import RawGeometry
from vqafeat.datasets.dataset import BAD_TIMES, times_problem
from vqafeat.errors import ArgumentError, StoreError, VideoError
from vqafeat.evaluation.model import Model, Values
from vqafeat.extraction.pipeline import ExtractedVideo, Pipeline, Resources, VideoTask
from vqafeat.store.features import fuse, split_feature_sets
from vqafeat.training.results import SPLITS, read_json
from vqafeat.training.run import Run
from vqafeat.training.training_features import TrainingFeatures, read_training_features


@dataclass(frozen=True, eq=False)
class ScoreChecks:
    """What is known of the training of a model, to warn of scores that cannot be trusted.

    Attributes:
        fitted_on: SHA-256 of a video's file → its name, and the splits whose heads it trained or selected.
            It is empty if the run does not know the files (earlier version, imported head or features).
        features: statistics of the training videos' features; None if unknown.
        rmse: of the calibrated scores of test videos; NaN if unknown.
    """

    fitted_on: Mapping[str, tuple[str, frozenset[int]]]
    features: TrainingFeatures | None = None
    rmse: float = nan

    @classmethod
    def of(cls, model: Model) -> "ScoreChecks":
        """Return what the run folder of a model has; runs of earlier versions have less."""
        if model.folder is None:
            return cls({})
        recorded = read_json(model.folder / SPLITS)
        # a test part that selected the epoch is not held out
        parts = ("train", "validation", *(["test"] if model.config.recipe.get("select") == "test" else []))
        fitted = [{name for part in parts for name in split[part]} for split in recorded["splits"]]
        fitted_on: dict[str, tuple[str, frozenset[int]]] = {}
        for name, digest in recorded.get("sha256", {}).items():
            # two videos of a data set can be one file: a head that was fitted on either has seen it
            first, known = fitted_on.get(digest, (name, frozenset[int]()))
            numbers = {number for number, names in enumerate(fitted) if name in names}
            fitted_on[digest] = (first, known | numbers)
        metrics = Run(model.folder, model.config).metrics
        own = metrics.datasets.get(model.trained_on.name, metrics)
        return cls(fitted_on, read_training_features(model.folder), own.rmse_calibrated.mean)

    def held_out(self, sha256: str, splits: Sequence[int]) -> tuple[int, ...]:
        """Return the splits, of those given, whose heads were not fitted on the file with this digest."""
        _, seen = self.fitted_on.get(sha256, ("", frozenset()))
        return tuple(number for number in splits if number not in seen)

    def warnings(
        self, sha256: str, splits: Sequence[int], scores: Values, features: npt.NDArray[Any], model: Model
    ) -> tuple[str, ...]:
        """Return warnings about the (head,) scores of a video by the heads of `splits`.

        `sha256` is that of the video's file; `features` are (frame, channel).
        """
        messages, unseen = list[str](), self.held_out(sha256, splits)
        low, high = model.trained_on.mos_range
        labels = f"the labels' range, {low:g} to {high:g}"
        if seen := len(splits) - len(unseen):
            heads = "the head was" if len(splits) == 1 else f"{seen} of {len(splits)} heads were"
            video = f"it is the training or validation video '{self.fitted_on[sha256][0]}'"
            others = f"; --held-out takes the other {len(unseen)}" if unseen else ""
            messages.append(f"{video}: {heads} fitted on it{others}")
        if model.calibrations is None:
            if outside := int(np.sum((scores < low) | (scores > high))):
                messages.append(f"{outside} of {len(scores)} scores are outside of {labels}")
        else:
            if (std := _std(scores)) > self.rmse:
                more = f"more than their RMSE on held-out videos, {self.rmse:.3g}"
                messages.append(f"the heads disagree: ± {std:.3g}, {more}")
            if at_end := int(np.isin(scores, (low, high)).sum()):
                messages.append(f"{at_end} of {len(scores)} scores are limited to an end of {labels}")
            notes = Counter(model.calibrations[split].note for split in splits)
            messages += [f"{count} of {len(splits)} heads: {note}" for note, count in notes.items() if note]
        if self.features is not None and (distance := self.features.relative_distance(features)) > 1:
            far = f"{distance:.2g} times as far from the training videos as the farthest of them"
            messages.append(f"its features are unlike those of the training: {far}")
        return tuple(messages)


@dataclass(frozen=True)
class ScoredVideo:
    """The score of one video.

    Attributes:
        score: mean over the heads, on the label scale of a data set of the training.
        head_scores, splits: (head,) each.
        scale: the meaning of a score, in words.
        calibrated: whether the scores are on the labels' scale, or outputs of the heads.
        frames, seconds: (frame,) rising indices and times of the decoded frames that the heads were given.
        frame_scores, warmup: (frame,) see `Model.frame_scores` and `Model.frame_curve`.
        warnings: why the score may not be trusted.
        times_problem: why `seconds` cannot be used, or empty.
    """

    path: Path
    score: float
    head_scores: Values
    splits: tuple[int, ...]
    scale: str
    calibrated: bool
    frames: npt.NDArray[np.int32]
    seconds: Values
    frame_scores: Values
    warmup: npt.NDArray[np.bool_]
    warnings: tuple[str, ...] = ()
    times_problem: str = ""

    @property
    def std(self) -> float:
        """The sample standard deviation (n − 1) over the heads; NaN for one head."""
        return _std(self.head_scores)

    def __repr__(self) -> str:
        return f"{self.path}: {self.score:.4g} ({self.scale}), {len(self.frames)} frames"


def _std(scores: Values) -> float:
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else nan


class Scorer:
    """A trained model with the networks that it needs.

    Args:
        weights: backbone → weights, where the run does not name them or their file was moved.
        split: the split whose head to use; by default, the score is the mean over all heads.
        any_features: allow networks or decoders other than those of the training.
        held_out: score a training video only with the heads that were not fitted on it.
    """

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, str | Path],
        split: int | None = None,
        any_features: bool = False,
        held_out: bool = False,
    ) -> None:
        self.model, self._splits = model, model.splits_of(split)
        self.checks, self._held_out = ScoreChecks.of(model), held_out
        if held_out and not self.checks.fitted_on:
            raise ArgumentError(
                "held_out needs a run that knows the files of its videos; this one is of an earlier version, "
                "imported, or on imported features. Leave out --held-out, or fit again."
            )
        self._extractors = _build_extractors(model, weights)
        if not any_features:
            for extractor in self._extractors:
                model.check_identity(extractor.feature_set, extractor.identity)

    def score(self, path: Path, raw: RawGeometry | None = None) -> ScoredVideo:
        """Decode a video once and score it; VideoError says why it cannot be scored."""
        scored = next(self.score_all([path], raw))[1]
        if isinstance(scored, VideoError):
            raise scored
        return scored

    def score_all(
        self, paths: Sequence[Path], raw: RawGeometry | None = None, resources: Resources | None = None
    ) -> Iterator[tuple[Path, ScoredVideo | VideoError]]:
        """Decode each video once and yield its score, or the error of one that fails, in order."""
        names = tuple(extractor.feature_set for extractor in self._extractors)
        tasks = [VideoTask(str(number), path, raw, names) for number, path in enumerate(paths)]
        scored: dict[int, ScoredVideo | VideoError] = {}
        position = 0
        with Pipeline(self._extractors, resources) as pipeline:
            for result in pipeline.results(tasks):
                try:
                    video = result.extracted()
                    if result.refusal is not None:
                        raise result.refusal
                    scored[int(result.task.name)] = self._scored(result.task.file, video)
                except VideoError as error:
                    scored[int(result.task.name)] = error
                while position in scored:
                    yield paths[position], scored.pop(position)
                    position += 1

    def _scored(self, path: Path, video: ExtractedVideo) -> ScoredVideo:
        features = fuse([video.features[extractor.feature_set] for extractor in self._extractors], str(path))
        seconds, model, source = video.table.seconds[features.frame], self.model, video.table.source
        try:
            draws = model.draws(path.name, len(features.frame), None if BAD_TIMES in source else seconds)
        except StoreError as error:
            # an error of one video does not stop the others
            raise VideoError("cannot-sample", str(error)) from error
        digest = str(source["sha256"])
        splits = self.checks.held_out(digest, self._splits) if self._held_out else self._splits
        if not splits:
            heads = "the requested head" if len(self._splits) < len(model.heads) else "every head"
            message = f"'{path}': {heads} was fitted on this video; leave out --held-out to score it."
            raise VideoError("seen-in-training", message)
        scores = model.calibrated(model.outputs(features.values, splits, draws), splits)
        rows, frame_scores, warmup = model.frame_curve(features.values, splits, draws)
        return ScoredVideo(
            path=path,
            score=float(np.mean(scores)),
            head_scores=scores,
            splits=splits,
            scale=model.scale,
            calibrated=model.calibrations is not None,
            frames=features.frame[rows],
            seconds=seconds[rows],
            frame_scores=frame_scores,
            warmup=warmup,
            warnings=self.checks.warnings(digest, splits, scores, features.values, model),
            times_problem=times_problem(video.table.seconds, source),
        )


def _build_extractors(model: Model, weights: Mapping[str, str | Path]) -> list[feature_sets.FeatureExtractor]:
    """Return the extractors of the feature sets of the training, in their order."""
    names = split_feature_sets(model.config.feature_sets)
    backbones = feature_sets.backbone_names(names)
    if foreign := [name for name in backbones if name not in BACKBONES]:
        raise ArgumentError(
            f"the model was trained on features '{foreign[0]}', which are of no known backbone, so it cannot "
            "score new videos; measure it on stored features with `vqafeat evaluate`."
        )
    files = {name: str(weights.get(name) or _recorded_weights(model, name)) for name in backbones}
    extractors: list[feature_sets.FeatureExtractor] = []
    for name in names:
        precision = str(model.config.identities.get(name, {}).get("precision", ""))
        extractors += feature_sets.build_extractors(
            [name], files, *feature_sets.recorded_precision(precision)
        )
    return extractors


def _recorded_weights(model: Model, backbone: str) -> str:
    """Return the weights that reproduce the features of the training, in the form for `load_network`."""
    identities = model.config.identities.values()
    recorded = next((identity for identity in identities if identity["network"] == backbone), {})
    described = str(recorded.get("weights", "imagenet"))
    if (weights := feature_sets.recorded_weights(described)) is None:
        if file := remembered_weights(str(recorded.get("weights_sha256", ""))):
            return str(file)
        trained = f"the model was trained on features of '{backbone}' with weights from the {described}"
        raise ArgumentError(f"{trained}; name it with --weights {backbone}=FILE.")
    return weights
