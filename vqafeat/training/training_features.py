"""Statistics of training features, which standardise them, and detect a clip unlike all training videos."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.store.features import FeatureDataset, as_tensor
from vqafeat.training.batching import Batcher
from vqafeat.training.frame_sampling import FrameInput, FrameSampler
from vqafeat.training.results import TRAINING_FEATURES, read_weights, reading, write_weights

# number of frames, (channel,) mean and (channel,) variance over them
Moments = tuple[int, Tensor, Tensor]

_MOST_VIDEOS = 1000
_FEWEST_VIDEOS = 4
# A smaller share of the median deviation is raised to this one: such a channel is nearly constant, and a
# division by its deviation would let it dominate the distance of a single unusual video.
_SMALLEST_DEVIATION = 0.1


@dataclass(frozen=True, eq=False)
class TrainingFeatures:
    """Mean and deviation of the training videos' mean features.

    The distance of a video is the root mean square over channels of (its mean − mean) / deviation.
    """

    mean: npt.NDArray[np.float64]  # (channel,), and so is the deviation
    deviation: npt.NDArray[np.float64]
    farthest: float  # the largest distance of a training video from the others

    def __post_init__(self) -> None:
        if self.mean.shape != self.deviation.shape or not (self.deviation > 0).all() or not self.farthest > 0:
            raise ArgumentError("deviations and the farthest distance of training features must be above 0.")

    @classmethod
    def of(cls, data: FeatureDataset, rows: Sequence[int]) -> "TrainingFeatures | None":
        """Return the statistics of at most 1000 videos; None if they are too few, or all alike."""
        selected = sorted(rows)[:: -(-len(rows) // _MOST_VIDEOS)]
        if len(selected) < _FEWEST_VIDEOS:
            return None
        means = np.stack([_frame_mean(data.features[row]) for row in selected])
        count, offsets = len(means), means - means.mean(axis=0)
        squares = (offsets**2).sum(axis=0)
        deviation = _floored(np.sqrt(squares / (count - 1)))
        if deviation is None:
            return None
        distances = []
        for offset in offsets:
            left = np.clip(squares - offset**2 * count / (count - 1), 0, None)
            others = _floored(np.sqrt(left / (count - 2)))
            distances.append(np.inf if others is None else _rms(offset * count / (count - 1) / others))
        finite = [distance for distance in distances if np.isfinite(distance)]
        return cls(means.mean(axis=0), deviation, max(finite)) if finite and max(finite) > 0 else None

    def relative_distance(self, features: npt.NDArray[Any]) -> float:
        """Return the distance of (frame, channel) features; above 1 it exceeds that of any training video."""
        return _rms((_frame_mean(features) - self.mean) / self.deviation) / self.farthest


def shared_moments(batcher: Batcher, sampler: FrameSampler) -> Callable[[int], Moments]:
    """Return `frame_moments` of the frames that can be sampled; a process computes those of a video once."""
    return _moments(batcher.data, sampler.frame_input, batcher.device)


@lru_cache(maxsize=1)  # for all splits that this process trains on; the next fit's replace them
def _moments(data: FeatureDataset, frame_input: FrameInput, device: torch.device) -> Callable[[int], Moments]:
    sampler = FrameSampler(frame_input, data)
    return cache(partial(frame_moments, Batcher(data, str(device)).taking(sampler.candidate_indices)))


def frame_moments(batcher: Batcher, row: int) -> Moments:
    """Return number, mean and variance of a video's frames; the last two are (channel,) on the CPU."""
    frames = batcher.batch([row]).frames.contiguous()
    variance, mean = torch.var_mean(frames, dim=0, correction=0)
    return len(frames), mean.cpu(), variance.cpu()


def combined_statistics(moments: Iterable[Moments]) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over the frames of videos; small deviations are raised."""
    counts, means, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for count, mean, variance in moments:
        gap, total = mean.double() - means, counts + count
        squares = squares + variance.double() * count + gap.square() * (counts * count / total)
        means = means + gap * (count / total)
        counts = total
    deviation = (squares / counts).sqrt()
    varying = deviation[deviation > 0]
    if len(varying) == 0:
        return means.float(), torch.ones_like(deviation).float()
    return means.float(), deviation.clamp_min(_SMALLEST_DEVIATION * float(varying.median())).float()


def write_training_features(folder: Path, features: TrainingFeatures) -> None:
    """Write training-features.safetensors of a run folder."""
    values = {"mean": features.mean, "deviation": features.deviation, "farthest": [features.farthest]}
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
    write_weights(folder / TRAINING_FEATURES, tensors)


def read_training_features(folder: Path) -> TrainingFeatures | None:
    """Return what training-features.safetensors of a run folder holds; None without such a file."""
    path = folder / TRAINING_FEATURES
    if not path.is_file():
        return None
    values = read_weights(path)
    with reading(path):
        mean, deviation = (values[name].double().numpy() for name in ("mean", "deviation"))
        return TrainingFeatures(mean, deviation, float(values["farthest"]))


def _frame_mean(features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = as_tensor(features).float().mean(dim=0).double().numpy()
    return mean


def _floored(deviation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    varying = deviation[deviation > 0]
    return np.maximum(deviation, _SMALLEST_DEVIATION * np.median(varying)) if len(varying) else None


def _rms(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
