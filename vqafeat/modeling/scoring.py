"""Scores for new videos: the one place where stage 2 calls stage 1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import Extractor, backbone_names, build_extractors, recorded_precision, recorded_weights
from vqafeat.datasets import RawGeometry
from vqafeat.datasets.locate import VIDEO_EXTENSIONS
from vqafeat.errors import ArgumentError, StoreError, VideoError
from vqafeat.extraction.pipeline import ExtractedVideo, Pipeline, Resources, VideoJob
from vqafeat.modeling.rows import selected
from vqafeat.modeling.sampling import VideoRows, rows_in_testing
from vqafeat.modeling.score_checks import ScoreChecks
from vqafeat.modeling.sequences import fuse, split_feature_sets
from vqafeat.modeling.trained import TrainedModel


@dataclass(frozen=True)
class ScoredVideo:
    """The score of one video.

    Attributes:
        score: mean over the heads, on the scale of the data set that the model was trained on.
        head_scores: (head,) that it is the mean of.
        splits: (head,) whose heads these are.
        scale: what a score means, in words.
        calibrated: whether the scores are on the labels' scale, or the heads' own output.
        frames: (frame,) indices of the decoded frames that the model took in, in the order of the video; one that was drawn several times
            stands there as often.
        seconds: (frame,) presentation time of these frames.
        frame_scores: (frame,) whose mean is the score, unless the head or the calibration says otherwise.
        warnings: what a reader has to know before trusting the score.
    """

    path: Path
    score: float
    head_scores: npt.NDArray[np.float64]
    splits: tuple[int, ...]
    scale: str
    calibrated: bool
    frames: npt.NDArray[np.int32]
    seconds: npt.NDArray[np.float64]
    frame_scores: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def std(self) -> float:
        """The sample deviation (n − 1) over the heads; NaN where there is one head."""
        return float(np.std(self.head_scores, ddof=1)) if len(self.head_scores) > 1 else nan


class Scorer:
    """A trained model with the networks that it needs.

    Args:
        model: from `TrainedModel.load`.
        weights: backbone → weights, for those that the model's own record does not name or that lie elsewhere.
        split: whose head to use; without it, the score is the mean over all.
        any_features: allow networks or decoders other than those of the training.
        checks: from `ScoreChecks.read`; without them, nothing is known that could be warned of.
        held_out: score a training video by the heads alone that were not fitted on it.

    Raises:
        IdentityError: features would be computed differently than in training.
        ArgumentError: a network's weights came from a file that is not named, or the run does not know which videos are held out.
    """

    def __init__(
        self,
        model: TrainedModel,
        weights: dict[str, str],
        split: int | None = None,
        any_features: bool = False,
        checks: ScoreChecks | None = None,
        held_out: bool = False,
    ) -> None:
        self.model, self._splits = model, model.splits_of(split)
        self._checks, self._held_out = checks or ScoreChecks({}), held_out
        if held_out and not self._checks.fitted_on:
            raise ArgumentError(
                "held_out needs a run that knows the files of its videos; this one is of an earlier version, imported, or on imported "
                "features. Leave --held-out out, or fit again."
            )
        names = split_feature_sets(model.config.feature_sets)
        foreign = [name for name in backbone_names(names) if name not in BACKBONES]
        if foreign:
            raise ArgumentError(
                f"the model was trained on features '{foreign[0]}', which no network here makes; "
                "it can be measured on stored features with `vqafeat evaluate`, but score no new video."
            )
        chosen = {backbone: weights.get(backbone) or _recorded_weights(model, backbone) for backbone in backbone_names(names)}
        self._extractors: list[Extractor] = [build_extractors([name], chosen, *_recorded_precision(model, name))[0] for name in names]
        if not any_features:
            for extractor in self._extractors:
                model.check_identity(extractor.feature_set, extractor.identity)

    def score(self, path: Path, raw: RawGeometry | None = None) -> ScoredVideo:
        """Decode a video once and score it.

        Raises:
            VideoError: it does not decode as a whole, or its frames cannot be sampled as the model's were.
        """
        scored = next(self.score_all([path], raw))[1]
        if isinstance(scored, VideoError):
            raise scored
        return scored

    def score_all(
        self, paths: Sequence[Path], raw: RawGeometry | None = None, resources: Resources | None = None
    ) -> Iterator[tuple[Path, ScoredVideo | VideoError]]:
        """Decode each video once and score it; those that fail are told of in their place, and the order is that of the paths."""
        wanted = tuple(extractor.feature_set for extractor in self._extractors)
        jobs = [VideoJob(str(number), path, raw, wanted) for number, path in enumerate(paths)]
        scored: dict[int, ScoredVideo | VideoError] = {}
        told = 0
        with Pipeline(self._extractors, resources) as pipeline:
            for outcome in pipeline.outcomes(jobs):
                try:
                    scored[int(outcome.job.name)] = self._scored(outcome.job.file, outcome.extracted())
                except VideoError as error:
                    scored[int(outcome.job.name)] = error
                while told in scored:
                    yield paths[told], scored.pop(told)
                    told += 1

    def _scored(self, path: Path, found: ExtractedVideo) -> ScoredVideo:
        features = fuse([found.features[extractor.feature_set] for extractor in self._extractors], str(path))
        config, seconds = self.model.config, found.table.seconds[features.frame]
        video = VideoRows(path.name, len(features.frame), lambda: seconds)
        try:
            draws = rows_in_testing(config.frame_input, video, config.seed)
        except StoreError as error:
            # one odd video is told of in its place and does not stop the others
            raise VideoError("cannot-sample", str(error)) from error
        digest = str(found.table.source["sha256"])
        splits = self._checks.held_out(digest, self._splits) if self._held_out else self._splits
        if not splits:
            asked = "the requested head" if len(self._splits) < len(self.model.heads) else "every head"
            raise VideoError("seen-in-training", f"'{path}': {asked} was fitted on this video, so none can score it as held out.")
        drawn = [selected(features.values, rows) for rows in draws]
        heads = self.model.calibrated(np.mean([self.model.outputs(values, splits) for values in drawn], axis=0), splits)
        warnings = self._checks.warnings(digest, splits, heads, features.values, self.model)
        scores = np.concatenate([self.model.frame_scores(values, splits) for values in drawn])
        taken = np.concatenate([np.arange(video.count) if rows is None else rows for rows in draws])
        order = np.argsort(taken, kind="stable")
        curve = features.frame[taken[order]], seconds[taken[order]], scores[order]
        scale = self.model.scale, self.model.calibrations is not None
        return ScoredVideo(path, float(np.mean(heads)), heads, splits, *scale, *curve, warnings)


def videos_among(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are named, and those with a video's ending in the folders that are named, sorted.

    Raises:
        VideoError: a path does not exist, or a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(item for item in path.iterdir() if item.suffix.lower() in VIDEO_EXTENSIONS) if path.is_dir() else [path]
        if not inside or not inside[0].exists():
            raise VideoError(
                "cannot-open",
                f"'{path}' is no video and no folder with videos; name files ({', '.join(VIDEO_EXTENSIONS[:4])} …) or folders.",
            )
        found.extend(inside)
    return found


def _recorded_weights(model: TrainedModel, backbone: str) -> str:
    """Return the weights that reproduce the features of the training, as `load_network` takes them."""
    recorded = [str(identity["weights"]) for identity in model.config.identities.values() if identity["network"] == backbone]
    described = recorded[0] if recorded else "imagenet"
    weights = recorded_weights(described)
    if weights is None:
        raise ArgumentError(
            f"the model was trained on features of '{backbone}' with weights from the {described}; name it with --weights {backbone}=FILE."
        )
    return weights


def _recorded_precision(model: TrainedModel, feature_set: str) -> tuple[str, str]:
    """Return how the features of the training were stored and computed, as `build_extractors` takes it."""
    return recorded_precision(str(model.config.identities.get(feature_set, {}).get("precision", "")))
