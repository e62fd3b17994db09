"""Where training videos are in the space of features: against leave-one-out computed video by video."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.stores import tiny_sequences
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.training.training_features import (
    TrainingFeatures,
    read_training_features,
    write_training_features,
)


def expected_farthest(means: np.ndarray) -> float:
    def distance(video: int) -> float:
        others = np.delete(means, video, axis=0)
        deviation = others.std(axis=0, ddof=1)
        deviation = np.maximum(deviation, 0.1 * np.median(deviation))
        return float(np.sqrt(np.mean(((means[video] - others.mean(axis=0)) / deviation) ** 2)))

    return max(map(distance, range(len(means))))


def test_training_features__find_the_farthest_video_with_each_left_out() -> None:
    sequences, rows = tiny_sequences(20), tuple(range(0, 20, 2))
    features = TrainingFeatures.of(sequences, rows)
    assert features is not None
    means = np.stack([np.asarray(sequences.features[row], dtype=np.float64).mean(axis=0) for row in rows])
    assert features.farthest == pytest.approx(expected_farthest(means), rel=1e-4)
    np.testing.assert_allclose(features.mean, means.mean(axis=0), atol=1e-4)
    # seen from the mean of all, itself included, no training video is farther than with itself left out
    assert max(features.relative_distance(sequences.features[row]) for row in rows) < 1


def test_relative_distance__of_a_video_unlike_all_others_is_large() -> None:
    sequences = tiny_sequences(20)
    features = TrainingFeatures.of(sequences, range(20))
    assert features is not None
    assert features.relative_distance(sequences.features[3] + np.float16(9)) > 3


def test_training_features__survive_their_file(tmp_path: Path) -> None:
    features = TrainingFeatures.of(tiny_sequences(20), range(20))
    assert features is not None
    write_training_features(tmp_path, features)
    again = read_training_features(tmp_path)
    assert again is not None
    assert again.farthest == pytest.approx(features.farthest)
    np.testing.assert_allclose(again.deviation, features.deviation, rtol=1e-6)
    assert read_training_features(tmp_path / "other") is None
    (tmp_path / "training-features.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"training-features\.safetensors' is damaged"):
        read_training_features(tmp_path)


def test_training_features__of_few_or_equal_videos_are_none() -> None:
    sequences = tiny_sequences(20)
    assert TrainingFeatures.of(sequences, range(3)) is None
    alike = replace(sequences, features=(sequences.features[0],) * 20)
    assert TrainingFeatures.of(alike, range(20)) is None


def test_training_features__refuse_wrong_values() -> None:
    with pytest.raises(ArgumentError, match="farthest distance of training features must be above 0"):
        TrainingFeatures(np.zeros(2), np.zeros(2), 1.0)
