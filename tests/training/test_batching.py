"""Batches of features that a device keeps, against those that are copied; when a GPU keeps them."""

import numpy as np
import pytest
import torch

from tests.helpers.stores import MakeStore, tiny_sequences
from vqafeat.store.features import load_features
from vqafeat.training import batching
from vqafeat.training.batching import Batcher, fits_on, resident_frames

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_batcher__resident_features_give_the_same_batches(make_store: MakeStore) -> None:
    for data in (tiny_sequences(), load_features(make_store(), "tiny")):
        copied, resident = (Batcher(data, "cpu", keep) for keep in (False, True))
        for batcher in (copied, resident):
            batcher.taking(lambda row: np.arange(2)).batch([1])
        groups = ([3, 0], [7], [19, 5, 5])
        for one, other in zip(copied.batches(groups), resident.batches(groups), strict=True):
            assert torch.equal(one.frames, other.frames)
            assert other.frames.dtype == torch.float32
            assert torch.equal(one.lengths, other.lengths)
            assert (one.counts, one.rows) == (other.counts, other.rows)


def test_batcher__resident_features_of_selected_frames() -> None:
    data = tiny_sequences()
    batcher = Batcher(data, resident=True)
    batch = batcher.taking(lambda row: np.array([2, 0, 2]) if row else None).batch([4, 0])
    expected = np.concatenate([data.features[4][[2, 0, 2]], data.features[0]])
    np.testing.assert_array_equal(batch.frames.numpy(), expected.astype(np.float32))
    assert batch.lengths.tolist() == [3, len(data.features[0])]


def test_resident_frames__are_copied_once_for_all_trainers() -> None:
    data, other = tiny_sequences(), tiny_sequences()
    frames = resident_frames(data, CPU)
    assert frames.dtype == torch.float16
    assert frames.shape == (sum(data.lengths), data.channels)
    assert resident_frames(data, CPU) is frames
    assert resident_frames(other, CPU) is not frames


def test_fits_on__is_a_share_of_the_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_sequences()
    size = sum(data.lengths) * data.channels * 2
    for free, fits in ((size / 0.59, True), (size / 0.61, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (int(free), 0))
        assert fits_on(data, CUDA) is fits
        assert not fits_on(data, CPU)
    monkeypatch.setitem(batching._resident, data, {CUDA: torch.empty(0)})
    assert fits_on(data, CUDA)
