"""Rows in memory and in a file are the same rows."""

from pathlib import Path

import numpy as np
import pytest

from vqafeat.extraction import batching
from vqafeat.extraction.batching import RowStore


@pytest.mark.parametrize("held", [0, 100, 1 << 30])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pieces_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, dtype: type) -> None:
    monkeypatch.setattr(batching, "HELD_BYTES", held)
    pieces = [np.random.default_rng(size).random((size, 7)).astype(dtype) for size in (1, 5, 1, 30)]
    store = RowStore(tmp_path)
    for piece in pieces:
        store.append(piece)
    found = store.array()
    assert isinstance(found, np.memmap) == (held < 1 << 30)
    del store
    np.testing.assert_array_equal(found, np.concatenate(pieces))
    assert found.dtype == dtype
    assert list(tmp_path.iterdir()) == []


def test_a_long_video_takes_no_more_memory_than_what_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "HELD_BYTES", 1000)
    store = RowStore(tmp_path)
    largest = 0
    for index in range(100):
        store.append(np.full((2, 25), index, np.float32))
        largest = max(largest, sum(piece.nbytes for piece in store._held))
    assert largest <= 1000
    assert store.array()[::2, 0].tolist() == [*range(100)]
