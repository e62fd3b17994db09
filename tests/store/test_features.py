"""Features from store to batch: fusion, shared memory, and batches."""

import multiprocessing
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import DataLoader

from tests.helpers.fits import files_of, small_fit
from tests.helpers.stores import MakeStore, tiny_features, tiny_sequences
from vqafeat.backbones.base import ClipRule
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.store import FeatureStore
from vqafeat.store.features import (
    FeatureDataset,
    SharedFeatures,
    as_tensor,
    collate,
    complete_rows,
    fuse,
    load_features,
    only_feature_sets,
    split_feature_sets,
    to_shared_memory,
)
from vqafeat.store.types import VideoFeatures
from vqafeat.training.batching import Batcher, bucketed, chunks
from vqafeat.training.joint_store import JointStore


def rows(values: list[list[float]], frame: list[int], dtype: type = np.float16) -> VideoFeatures:
    return VideoFeatures(np.array(values, dtype=dtype), np.array(frame, dtype=np.int32))


def test_batch__is_the_frames_one_after_another() -> None:
    sequences = tiny_sequences(5)
    batch = Batcher(sequences).batch([3, 0])
    expected = np.concatenate([tiny_features(3), tiny_features(0)]).astype(np.float32)
    assert torch.equal(batch.frames, torch.from_numpy(expected))
    assert batch.lengths.tolist() == [len(tiny_features(3)), len(tiny_features(0))]
    assert batch.rows == (3, 0)


def test_batches__cover_all_rows_with_a_smaller_last_one() -> None:
    batches = Batcher(tiny_sequences(5)).batches(chunks([4, 2, 0, 1, 3], 2))
    assert [batch.rows for batch in batches] == [(4, 2), (0, 1), (3,)]


def test_as_tensor__reads_read_only_arrays_without_a_warning() -> None:
    values = tiny_features(0)
    values.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(as_tensor(values), torch.tensor(values.tolist(), dtype=torch.float16))


def test_feature_dataset__refuses_wrong_values() -> None:
    good = {
        "names": ("a", "b"),
        "contents": ("x", "y"),
        "mos": np.array([1.0, 2.0]),
        "features": (tiny_features(0), tiny_features(1)),
    }
    assert FeatureDataset(**good).channels == 6
    with pytest.raises(ArgumentError, match=r"each video needs a name, content, MOS and feature array"):
        FeatureDataset(**{**good, "names": ("a",)})
    with pytest.raises(ArgumentError, match=r"names of videos have to be unique; got a more than once"):
        FeatureDataset(**{**good, "names": ("a", "a")})
    with pytest.raises(ArgumentError, match=r"mos has to be .* finite"):
        FeatureDataset(**{**good, "mos": np.array([1.0, np.nan])})
    with pytest.raises(ArgumentError, match=r"features of 'b' are float64"):
        FeatureDataset(**{**good, "features": (tiny_features(0), tiny_features(1).astype(np.float64))})
    with pytest.raises(ArgumentError, match=r"features of 'b' have 7 channels, others 6"):
        FeatureDataset(**{**good, "features": (tiny_features(0), tiny_features(1, channels=7))})
    with pytest.raises(ArgumentError, match=r"dataset_of \(2,\) has to be 2 numbers from 0 to 0"):
        FeatureDataset(**good, dataset_of=np.array([0, 1]))


def test_fuse__joins_at_shared_frames() -> None:
    first = rows([[0], [1], [2], [3]], [0, 1, 2, 3])
    second = rows([[10, 11], [30, 31], [50, 51]], [1, 3, 5])
    assert fuse([first, second], "v").values.tolist() == [[1, 10, 11], [3, 30, 31]]
    assert fuse([second, first], "v").values.tolist() == [[10, 11, 1], [30, 31, 3]]
    assert fuse([first, second], "v").values.dtype == np.float16
    assert fuse([first, rows([[7]], [2], np.float32)], "v").values.dtype == np.float32


def released_fusion(length: int) -> list[tuple[int, int]]:
    """(frame of the spatial row, number of the motion row) of `CNNfeatures_Fusion.py` for a length."""
    block = torch.linspace(0, min(length, 64) - 1, 32).long().tolist()
    starts = range(0, length - 64, 64)
    frames = [start + index for start in starts for index in block]
    last = [length - min(length, 64) + index for index in block]
    frames += [frame for frame in last if frame >= 64 * len(starts)]
    return list(zip(frames, range(len(frames)), strict=True))


@pytest.mark.parametrize("first", ["spatial", "motion"])
def test_fuse__equals_the_released_fusion_for_every_length(first: str) -> None:
    for length in range(1, 331):
        expected = np.array(released_fusion(length))
        spatial = VideoFeatures(
            np.arange(length, dtype=np.float32)[:, None], np.arange(length, dtype=np.int32)
        )
        motion = VideoFeatures(expected[:, 1:].astype(np.float32), motion_frames(length))
        fused = fuse([spatial, motion] if first == "spatial" else [motion, spatial], "v")
        np.testing.assert_array_equal(fused.values, expected if first == "spatial" else expected[:, ::-1])


def motion_frames(length: int) -> npt.NDArray[np.int32]:
    """The frames of the rows that an extraction of slowfast-fast stores."""
    rule, rows = ClipRule(64, 32, 32), list[int]()
    starts = [*range(0, length - 64, 64), max(length - 64, 0)]
    for number, start in enumerate(starts):
        rows += [frame for _, frame in rule.rows(start, min(length, 64), 64 * number)]
    return np.array(rows, np.int32)


def test_fuse__refuses_sets_without_a_shared_frame() -> None:
    with pytest.raises(
        StoreError,
        match=r"video 'v': the feature sets to be joined share no decoded frame .*2 rows at frames 0–2, 1 "
        r"rows at frames 1–1",
    ):
        fuse([rows([[0], [1]], [0, 2]), rows([[1]], [1])], "v")


def test_split_feature_sets__reads_and_refuses() -> None:
    assert split_feature_sets("resnet50 + slowfast-fast") == ("resnet50", "slowfast-fast")
    for wrong in ("a+", "a+a", ""):
        with pytest.raises(ArgumentError, match=r"have to be different and not empty"):
            split_feature_sets(wrong)


def test_load_features__loads_from_a_store(make_store: Callable[..., FeatureStore]) -> None:
    store = make_store(4)
    loaded = load_features(store, "tiny")
    assert loaded.names == tuple(video.name for video in store.dataset.videos)
    assert loaded.contents == ("scene 0", "scene 0", "scene 1", "scene 1")
    assert loaded.mos.tolist() == [video.mos for video in store.dataset.videos]
    for number, values in enumerate(loaded.features):
        np.testing.assert_array_equal(values, tiny_features(number))
        assert isinstance(values, np.memmap)
    fused = load_features(store, "tiny+sparse", rows=[2])
    np.testing.assert_array_equal(fused.features[0][:, :6], tiny_features(2)[::2])
    assert fused.channels == 8


def test_load_features__names_missing_videos(make_store: Callable[..., FeatureStore]) -> None:
    store = make_store(5, missing=(1, 3))
    assert complete_rows(store, "tiny+sparse") == (0, 2, 4)
    with pytest.raises(
        StoreError,
        match=r"2 of 5 videos of 'tiny' have no complete features 'tiny' \(first: clip,1.mp4, clip,3.mp4\); "
        r"run",
    ):
        load_features(store, "tiny")


def test_batch__frames_avoid_strides_of_powers_of_two() -> None:
    channels = 4096
    sequences = FeatureDataset(("a",), ("a",), np.array([1.0]), [np.ones((3, channels), np.float16)])
    frames = Batcher(sequences).batch([0]).frames
    assert frames.shape == (3, channels)
    assert frames.stride(0) % 1024 != 0


@pytest.mark.parametrize("feature_sets", ["tiny", "tiny+sparse"])
def test_to_shared_memory__holds_the_stored_features(make_store: MakeStore, feature_sets: str) -> None:
    stored = load_features(make_store(), feature_sets)
    inside = to_shared_memory(stored)
    assert isinstance(inside.features, SharedFeatures)
    assert inside.dtype == (np.float16 if feature_sets == "tiny" else np.float32)
    for own, values in zip(inside.features, stored.features, strict=True):
        np.testing.assert_array_equal(own, values)
    assert [len(inside.features[row]) for row in (3, 4)] == list(stored.lengths[3:5])


def test_to_shared_memory__reads_from_the_store_what_does_not_fit(make_store: MakeStore) -> None:
    stored = load_features(make_store(), "tiny")
    size = sum(stored.lengths) * 6 * 2
    assert to_shared_memory(stored, size - 1) is stored
    assert to_shared_memory(stored, size) is not stored


def total(features: SharedFeatures, answer: "multiprocessing.SimpleQueue[float]") -> None:
    answer.put(float(sum(values.astype(np.float64).sum() for values in features)))


def test_to_shared_memory__is_mapped_by_another_process() -> None:
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
def test_fit__does_not_depend_on_where_the_features_are(
    make_store: MakeStore, tmp_path: Path, jobs: int
) -> None:
    inside = small_fit(make_store(), tmp_path / "inside", jobs=jobs, head="sub-lstm")
    outside = small_fit(make_store(), tmp_path / "outside", jobs=jobs, head="sub-lstm", memory_bytes=1)
    assert files_of(inside.path) == files_of(outside.path)


def test_batches__prepared_ahead_keep_their_frames(make_store: MakeStore) -> None:
    stored = load_features(make_store(), "tiny")
    ahead, plain = Batcher(stored), Batcher(to_shared_memory(stored))
    groups = chunks(range(20), 3)
    for one, two in zip(ahead.batches(groups), plain.batches(groups), strict=True):
        assert one.rows == two.rows
        assert torch.equal(one.frames, two.frames)


def test_batches__raise_the_error_of_the_reader(make_store: MakeStore) -> None:
    batcher = Batcher(load_features(make_store(), "tiny"))
    with pytest.raises(IndexError):
        list(batcher.batches([[0], [99], [1]]))


def test_bucketed__joins_similar_lengths_and_keeps_all_videos() -> None:
    lengths = np.random.default_rng(0).integers(10, 1000, 96).tolist()
    indices = np.random.default_rng(1).permutation(96).tolist()
    generator = torch.Generator().manual_seed(0)
    plain = bucketed(indices, lengths, 8, 1, generator)
    assert [index for group in plain for index in group] == indices
    sorted_ones = bucketed(indices, lengths, 8, 4, generator)
    assert sorted(index for group in sorted_ones for index in group) == list(range(96))

    def padded(groups: list) -> int:
        return sum(len(group) * max(lengths[index] for index in group) for group in groups)

    assert padded(sorted_ones) < 0.75 * padded(plain)
    # windows of 32 videos are sorted by themselves, so that which videos meet still depends on the draw
    first = set(indices[:32])
    assert sum(set(group) <= first for group in sorted_ones) == 4


def test_feature_dataset__is_a_torch_dataset(make_store: Callable[..., FeatureStore]) -> None:
    store = make_store(5)
    data = load_features(store, "tiny")
    frames, mos = data[-1]
    assert torch.equal(frames, torch.from_numpy(tiny_features(4)).float())
    assert mos == store.dataset.videos[4].mos
    assert repr(data) == (
        f"<FeatureDataset tiny: 5 videos, {min(data.lengths)} to {max(data.lengths)} frames of 6 channels "
        "(float16, read from the store)>"
    )
    batches = list(DataLoader(data, batch_size=3, collate_fn=collate))
    padded, lengths, labels = batches[1]
    assert padded.shape == (2, max(data.lengths[3:]), 6)
    assert lengths.tolist() == list(data.lengths[3:])
    assert torch.equal(padded[0, : lengths[0]], data[3][0])
    assert not padded[0, lengths[0] :].any()
    assert labels.tolist() == pytest.approx([video.mos for video in store.dataset.videos[3:]])
    with pytest.raises(StoreError, match=r"holds the feature sets sparse, tiny; name one"):
        load_features(store)


def test_feature_dataset__is_sent_to_processes(make_store: Callable[..., FeatureStore]) -> None:
    data = load_features(make_store(5), "tiny")
    seconds = data.seconds(2)
    assert data.seconds(2) is seconds  # reading it again would read the features too
    again = pickle.loads(pickle.dumps(data))  # as for the workers of a DataLoader that are not forked
    assert torch.equal(again[4][0], data[4][0])
    np.testing.assert_array_equal(again.seconds(3), data.seconds(3))


def test_store_features__are_a_torch_dataset(make_store: MakeStore) -> None:
    features = make_store().features("tiny+sparse")
    frames, mos = features[0]
    assert frames.shape[1] == 8
    assert mos == pytest.approx(features.mos[0])
    batch, lengths, labels = next(iter(DataLoader(features, batch_size=3, collate_fn=collate)))
    assert batch.shape == (3, int(lengths.max()), 8)
    assert torch.equal(batch[0, : lengths[0]], frames)
    assert labels[0] == pytest.approx(mos)


@pytest.mark.parametrize("joint", [False, True])
def test_features__of_a_store_go_through_a_data_loader(make_store: MakeStore, joint: bool) -> None:
    stores = [make_store(5), make_store(3, name="other")]
    store = JointStore(stores) if joint else stores[0]
    data = store.features("tiny")
    assert [len(frames) for frames, _ in data] == list(data.lengths)
    assert [mos for _, mos in data] == [video.mos for video in store.dataset.videos]
    for frames, lengths, mos in DataLoader(data, batch_size=2, collate_fn=collate):
        assert frames.shape == (len(mos), lengths.max(), 6)
    assert store.features("tiny+sparse").channels == 8
    with pytest.raises(StoreError, match=r"holds the feature sets sparse, tiny"):
        store.features()


def test_only_feature_sets__of_stores_without_a_common_one(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint = JointStore([make_store(5), make_store(3, name="other")])
    monkeypatch.setattr(joint, "feature_sets", list[str])
    with pytest.raises(
        StoreError, match=r"tiny\+other' have no feature set in common; extract one --backbone"
    ):
        only_feature_sets(joint)
