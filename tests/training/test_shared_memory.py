"""Features in memory against features read at each access: the same training, also in another process."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.fits import files_of, small_fit
from tests.helpers.stores import tiny_sequences
from vqafeat.store import FeatureStore
from vqafeat.training.batching import Batcher, bucketed, chunks
from vqafeat.training.data import SharedFeatures, load_sequences, to_shared_memory

MakeStore = Callable[..., FeatureStore]


@pytest.mark.parametrize("feature_sets", ["tiny", "tiny+sparse"])
def test_held_features_are_the_stored_ones(make_store: MakeStore, feature_sets: str) -> None:
    stored = load_sequences(make_store(), feature_sets)
    inside = to_shared_memory(stored)
    assert isinstance(inside.features, SharedFeatures)
    assert inside.dtype == (np.float16 if feature_sets == "tiny" else np.float32)
    for own, values in zip(inside.features, stored.features, strict=True):
        np.testing.assert_array_equal(own, values)
    assert [len(values) for values in inside.features[3:5]] == list(stored.lengths[3:5])


def test_what_does_not_fit_is_read_from_the_store(make_store: MakeStore) -> None:
    stored = load_sequences(make_store(), "tiny")
    size = sum(stored.lengths) * 6 * 2
    assert to_shared_memory(stored, size - 1) is stored
    assert to_shared_memory(stored, size) is not stored


def total(features: SharedFeatures, answer: "multiprocessing.SimpleQueue[float]") -> None:
    answer.put(float(sum(values.astype(np.float64).sum() for values in features)))


def test_another_process_maps_the_same_memory() -> None:
    sequences = to_shared_memory(tiny_sequences(5))
    features = sequences.features
    assert isinstance(features, SharedFeatures)
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    expected = sum(values.astype(np.float64).sum() for values in features)
    process = context.Process(target=total, args=(features, answer))
    process.start()
    process.join(60)
    assert answer.get() == pytest.approx(expected)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fit_does_not_depend_on_where_the_features_are(
    make_store: MakeStore, tmp_path: Path, jobs: int
) -> None:
    inside = small_fit(make_store(), tmp_path / "inside", jobs=jobs, head="sub-lstm")
    outside = small_fit(make_store(), tmp_path / "outside", jobs=jobs, head="sub-lstm", memory_bytes=1)
    assert files_of(inside.folder) == files_of(outside.folder)


def test_batches_that_are_prepared_ahead_keep_their_frames(make_store: MakeStore) -> None:
    stored = load_sequences(make_store(), "tiny")
    ahead, plain = Batcher(stored), Batcher(to_shared_memory(stored))
    groups = chunks(range(20), 3)
    for one, two in zip(ahead.batches(groups), plain.batches(groups), strict=True):
        assert one.rows == two.rows
        assert torch.equal(one.frames, two.frames)


def test_an_error_of_the_reader_is_the_loops_own(make_store: MakeStore) -> None:
    batcher = Batcher(load_sequences(make_store(), "tiny"))
    with pytest.raises(IndexError):
        list(batcher.batches([[0], [99], [1]]))


def test_buckets_hold_similar_lengths_and_all_videos() -> None:
    lengths = np.random.default_rng(0).integers(10, 1000, 96).tolist()
    places = np.random.default_rng(1).permutation(96).tolist()
    generator = torch.Generator().manual_seed(0)
    plain = bucketed(places, lengths, 8, 1, generator)
    assert [place for group in plain for place in group] == places
    sorted_ones = bucketed(places, lengths, 8, 4, generator)
    assert sorted(place for group in sorted_ones for place in group) == list(range(96))

    def padded(groups: list) -> int:
        return sum(len(group) * max(lengths[place] for place in group) for group in groups)

    assert padded(sorted_ones) < 0.75 * padded(plain)
    # windows of 32 videos are sorted by themselves, so that which videos meet still depends on the draw
    first = set(places[:32])
    assert sum(set(group) <= first for group in sorted_ones) == 4
