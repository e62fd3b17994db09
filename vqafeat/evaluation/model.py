"""A trained model: the heads of a run folder, one per split, which score features or videos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from vqafeat.errors import ArgumentError, IdentityError, WeightsError
from vqafeat.evaluation.models import MODELS, read_published
from vqafeat.heads import HEADS
from vqafeat.heads.base import Head, build_head
from vqafeat.losses.base import on_label_scale
from vqafeat.store.features import Index, as_tensor, checked_shape, take
from vqafeat.store.types import FeatureSetIdentity
from vqafeat.system import full_float32
from vqafeat.training import results
from vqafeat.training.frame_sampling import VideoRows, indices_in_testing
from vqafeat.training.joint_store import scale_name
from vqafeat.training.predictions import Calibrations, calibration_words
from vqafeat.training.run import Run
from vqafeat.training.run_config import RunConfig, dataset_with_scale

if TYPE_CHECKING:
    from vqafeat.datasets import RawGeometry
    from vqafeat.evaluation.predict import ScoredVideo

Values = npt.NDArray[np.float64]
Splits = Sequence[int] | int | None  # the splits whose heads to use; None for all
# the rows of a video in each draw, in the order in which a head sees them; None for all in order
Draws = Sequence[Index | None]
_WHOLE: Draws = (None,)


class Model:
    """The heads of a run, or its final head, which score on the label scale of a data set of their training.

    Args:
        scale_of: that data set, for which heads with several scales are built; by default the run's first.
        calibrations: without them, scores are the output of the heads.
        folder: of the run; without it, the training videos are not known.
    """

    def __init__(
        self,
        config: RunConfig,
        heads: Sequence[Head],
        scale_of: str | None = None,
        calibrations: Calibrations | None = None,
        folder: Path | None = None,
    ) -> None:
        if len(heads) != config.splits:
            raise ArgumentError(f"a run with {config.splits} splits needs as many heads, got {len(heads)}.")
        self.config, self.folder = config, folder
        self.heads = tuple(head.eval() for head in heads)
        self.trained_on = dataset_with_scale(config, scale_of)
        number = config.datasets.index(self.trained_on)
        self.calibrations = None if calibrations is None else calibrations[number]

    @classmethod
    def load(
        cls, run: Run | str | Path, scale_of: str | None = None, calibrated: bool = True, final: bool = True
    ) -> "Model":
        """Load a finished run, or a published model by name or file; see `load_model`."""
        path = Path(run)
        if path.is_file() or (str(path) in MODELS and not (path / results.METRICS).is_file()):
            config, head = read_published(path, scale_of)
            return cls(config, [head], scale_of)
        if not path.exists():
            models = f"a published model ({', '.join(MODELS)}) or its file"
            raise WeightsError(f"'{path}' does not exist; give a run folder, {models}.")
        if final and (path / results.FINAL / results.CONFIG).is_file():
            path = path / results.FINAL
        results.read_json(path / results.METRICS)  # refuses a run that is not finished
        finished = Run(path)
        config, options = finished.config, dict(finished.config.options)
        if config.head not in HEADS:
            unknown = f"run '{finished.path}' has the head '{config.head}', which this vqafeat does not have"
            raise WeightsError(f"{unknown}; load its plug-in (--plugin FILE); known are {', '.join(HEADS)}.")
        # an imported head keeps its scale
        if len(config.datasets) > 1 and options.get("datasets"):
            options["scale_of"] = scale_name(dataset_with_scale(config, scale_of).name)
        heads = []
        for split in range(config.splits):
            path = results.weights_path(finished.path, split)
            head = build_head(config.head, config.channels, options)
            weights = results.read_weights(path)
            head.resize_buffers(weights)
            results.load_checked(head, weights, f"weights in '{path}'")
            heads.append(head)
        calibrations = finished.calibrations if calibrated else None
        return cls(config, heads, scale_of, calibrations, finished.path)

    def __repr__(self) -> str:
        heads = f"{len(self.heads)} head{'s' * (len(self.heads) != 1)}"
        return f"{self.config.head} on {self.config.feature_sets} of {self.config.dataset}, {heads}"

    @property
    def scale(self) -> str:
        """The meaning of a score: "MOS of konvid, 1.22 to 4.64, calibrated on validation videos"."""
        low, high = self.trained_on.mos_range
        labels = f"{self.trained_on.score_name} of {self.trained_on.name}, {low:g} to {high:g}"
        loss = self.config.recipe.get("loss", "l1")
        if self.calibrations is not None:
            return f"{labels}, {calibration_words(self.calibrations)}"
        if on_label_scale(loss):
            return f"{labels}, not calibrated"
        return f"not calibrated: an arbitrary scale (loss '{loss}') that rises with {labels}"

    def predict(
        self,
        video: str | Path,
        weights: Mapping[str, str | Path] | None = None,
        *,
        split: int | None = None,
        held_out: bool = False,
        any_features: bool = False,
        raw: "RawGeometry | None" = None,
    ) -> "ScoredVideo":
        """Decode a video and score it, with the options of `Scorer`; `raw` describes a .yuv file.

        `Scorer` scores several videos without loading the networks again.
        """
        # imported here, because scoring features needs no decoders and networks
        from vqafeat.evaluation.predict import Scorer

        return Scorer(self, weights or {}, split, any_features, held_out).score(Path(video), raw)

    def predict_features(
        self,
        frames: torch.Tensor | npt.NDArray[Any],
        seconds: Values | None = None,
        *,
        name: str = "features",
        splits: Splits = None,
    ) -> float:
        """Return the score of a video from (time, channel) features of all its frames: the mean over heads.

        Sampling by rate needs the (time,) presentation times; the name of the file seeds random sampling.
        """
        features = frames.numpy(force=True) if isinstance(frames, torch.Tensor) else np.asarray(frames)
        if not np.isfinite(features).all():  # stored ones are
            raise ArgumentError("features of the video have values that are not finite; extract it again.")
        return self.score(features, splits, self.draws(name, len(features), seconds))

    def draws(self, name: str, count: int, seconds: Values | None) -> Draws:
        """Return the rows of a video with `count` rows that the heads are given, as in testing."""
        video = VideoRows(name, count, lambda: seconds)
        return indices_in_testing(self.config.frame_input, video, self.config.seed)

    def outputs(self, features: npt.NDArray[Any], splits: Splits = None, draws: Draws = _WHOLE) -> Values:
        """Return uncalibrated (head,) outputs for (frame, channel) features, the means over the draws."""
        numbers = self.splits_of(splits)
        lines, outputs = self.trained_on.lines, np.empty((len(draws), len(numbers)))
        for draw, rows in enumerate(draws):
            frames, lengths = self._checked(take(features, rows))
            with torch.inference_mode(), full_float32():
                outputs[draw] = [float(self.heads[number](frames, lengths)[0]) for number in numbers]
        for column, number in enumerate(numbers):
            outputs[:, column] = lines[number].inverse_transform(outputs[:, column])
        return np.asarray(outputs.mean(axis=0))

    def calibrated(self, outputs: Values, splits: Splits = None) -> Values:
        """Return the calibrated scores of (head,) outputs; without calibrations, the outputs."""
        pairs = zip(self.splits_of(splits), outputs, strict=True)
        return np.array([float(self._calibrated(number, output)) for number, output in pairs])

    def score(self, features: npt.NDArray[Any], splits: Splits = None, draws: Draws = _WHOLE) -> float:
        """Return the score of a video, the mean over heads; see `outputs`."""
        return float(np.mean(self.calibrated(self.outputs(features, splits, draws), splits)))

    def frame_scores(self, features: npt.NDArray[Any], splits: Splits = None, pooled: bool = True) -> Values:
        """Return (frame,) scores on the scale of the video's score, with the temporal pooling if `pooled`.

        The mean of the pooled ones is the video's score, unless the head limits the pooled score or a
        calibrated score reaches an end of the label scale.
        """
        frames, lengths = self._checked(features)
        total, numbers = np.zeros(len(features)), self.splits_of(splits)
        with torch.inference_mode(), full_float32():
            for number in numbers:
                head, line = self.heads[number], self.trained_on.lines[number]
                scores = head.frame_scores if pooled else head.raw_frame_scores
                outputs = scores(frames, lengths)[0].double().numpy()
                total += self._calibrated(number, line.inverse_transform(outputs))
        return total / len(numbers)

    def frame_curve(
        self, features: npt.NDArray[Any], splits: Splits, draws: Draws
    ) -> tuple[npt.NDArray[np.intp], Values, npt.NDArray[np.bool_]]:
        """Return the rows of all draws in rising order, with repeats, their scores and warm-up.

        Warm-up is true where a score depends on the zero state in which a recurrent head starts a draw.
        """
        rows = np.concatenate([np.arange(len(features)) if draw is None else draw for draw in draws])
        scores = [self.frame_scores(take(features, draw), splits) for draw in draws]
        warmup = np.concatenate([np.arange(len(own)) < self.heads[0].warmup for own in scores])
        order = np.argsort(rows, kind="stable")
        return rows[order], np.concatenate(scores)[order], warmup[order]

    def _calibrated(self, split: int, outputs: Any) -> Values:
        if self.calibrations is None:
            return np.asarray(outputs, dtype=np.float64)
        return self.calibrations[split].scores(outputs)

    def _checked(self, features: npt.NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames in float32 and their number, as heads expect them."""
        _, channels = checked_shape(features, "the video")
        if channels != self.config.channels:
            needs = f"the model needs {self.config.channels} ('{self.config.feature_sets}')"
            next_step = "extract the feature sets on which it was trained"
            raise ArgumentError(f"the features have {channels} channels, {needs}; {next_step}.")
        return as_tensor(features).float(), torch.tensor([len(features)])

    def check_identity(self, feature_set: str, identity: FeatureSetIdentity) -> None:
        """Refuse features that were computed differently than in training, or by an untrained network.

        How those of the training were computed is unknown for published and imported heads.
        """
        if feature_set not in self.config.identities:
            if identity.weights.startswith("random"):
                raise IdentityError(
                    f"features '{feature_set}' have weights '{identity.weights}', on which this head was not "
                    "trained. Name a file with --weights, or pass --any-features."
                )
            return
        trained = FeatureSetIdentity(**self.config.identities[feature_set])
        if trained != identity:
            raise IdentityError(
                f"features '{feature_set}' were computed differently from those of the training (training "
                f"against these): {trained.differences(identity)}. Extract them as in the training, or pass "
                "--any-features if the difference does not matter."
            )

    def splits_of(self, splits: Splits) -> tuple[int, ...]:
        """Return the numbers of `splits` as a tuple."""
        count = len(self.heads)
        if splits is None:
            return tuple(range(count))
        numbers = (splits,) if isinstance(splits, int) else tuple(splits)
        if wrong := [split for split in numbers if not 0 <= split < count]:
            raise ArgumentError(f"split is {wrong[0]}; the run has {count} (0 to {count - 1}).")
        return numbers


def load_model(
    run: Run | str | Path, scale_of: str | None = None, calibrated: bool = True, final: bool = True
) -> Model:
    """Load the heads of a finished run, or a published model (`vqafeat list models`) by name or file.

    Args:
        scale_of: the data set of the training on whose label scale scores are; by default the first.
        calibrated: if not, scores are the output of the heads.
        final: load the final head alone, if the run has one; if not, the heads of its splits.

    Raises:
        WeightsError: the run is missing, damaged or not finished.
    """
    return Model.load(run, scale_of, calibrated, final)
