"""Rows of a sharded Zarr array, read by byte range: a shard's index says where its chunks lie, each with a CRC-32C of its own."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import StoreError
from vqafeat.remote import Place
from vqafeat.store.arrays import CRC32C_BYTES, has_right_sum

_MOST_OPEN = 64  # a map of a file keeps a descriptor, of which a process may have as few as 1024
_INDEX_DTYPE = np.dtype("<u8")
_ABSENT = np.iinfo(np.uint64).max


class _Shard(NamedTuple):
    """A shard: (chunk, 2) `places`, offset and length of its chunks in bytes; and (byte,) its file, where that lies on this machine."""

    places: npt.NDArray[np.uint64]
    file: npt.NDArray[np.uint8] | None


class ShardedRows:
    """The rows of an array that is sharded along its first axis alone, as `vqafeat pack` writes it.

    Args:
        path: of the array's node.
        array: the same, for its metadata.
    """

    def __init__(self, path: Place, array: "zarr.Array[Any]") -> None:
        assert array.shards is not None
        self.path, self.shape, self.dtype = path, array.shape, array.dtype
        self._shard_rows, self._chunk_rows = array.shards[0], array.chunks[0]
        self._opened = lru_cache(_MOST_OPEN)(self._open)

    def read(self, start: int, stop: int, checked: bool = False) -> npt.NDArray[Any]:
        """Return the rows from `start` up to `stop`; checked, only where the chunks that they lie in have their check sums.

        What comes over a network is always checked.

        Raises:
            StoreError: a shard is missing or cut, or a check sum is wrong.
        """
        parts = list[npt.NDArray[Any]]()
        while start < stop:
            shard = start // self._shard_rows
            end = min(stop, (shard + 1) * self._shard_rows)
            parts += self._pieces(shard, start - shard * self._shard_rows, end - shard * self._shard_rows, checked)
            start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _pieces(self, number: int, start: int, stop: int, checked: bool) -> list[npt.NDArray[Any]]:
        """Return rows of one shard, which count within it, a piece a chunk."""
        shard = self._opened(number)
        first, last = start // self._chunk_rows, (stop - 1) // self._chunk_rows
        index = shard.places[first : last + 1]
        low, high = int(index[:, 0].min()), int(index.sum(axis=1).max())
        if (index == _ABSENT).any():
            raise self._damaged(number, f"its index lacks chunks {first} to {last}")
        places = [(offset - low, offset - low + length) for offset, length in index.tolist()]

        def right(data: npt.NDArray[np.uint8]) -> bool:
            return all(len(data) >= end and has_right_sum(data[begin:end]) for begin, end in places)

        data = shard.file[low:high] if shard.file is not None else self._fetched(number, low, high, right)
        pieces = []
        for chunk, (begin, end) in enumerate(places, first):
            own, length = data[begin:end], end - begin
            if len(own) < length or ((checked or shard.file is None) and not has_right_sum(own)):
                raise self._damaged(number, f"chunk {chunk} does not have its check sum")
            rows = own[:-CRC32C_BYTES].view(self.dtype).reshape(-1, *self.shape[1:])
            pieces.append(rows[max(0, start - chunk * self._chunk_rows) : stop - chunk * self._chunk_rows])
        return pieces

    def _open(self, number: int) -> _Shard:
        chunks = self._shard_rows // self._chunk_rows
        size = chunks * 2 * _INDEX_DTYPE.itemsize
        path = self._shard_path(number)
        try:
            file = np.memmap(path, dtype=np.uint8, mode="r") if isinstance(path, Path) else None
            tail = self._fetched(number, -size - CRC32C_BYTES, None, has_right_sum) if file is None else file[-size - CRC32C_BYTES :]
        except (FileNotFoundError, ValueError) as error:
            raise self._damaged(number, "it is missing or empty") from error
        if len(tail) != size + CRC32C_BYTES or not has_right_sum(tail):
            raise self._damaged(number, "its index does not have its check sum")
        return _Shard(np.frombuffer(tail[:size].tobytes(), _INDEX_DTYPE).reshape(chunks, 2), file)

    def _fetched(self, number: int, start: int, stop: int | None, right: Callable[[npt.NDArray[np.uint8]], bool]) -> npt.NDArray[np.uint8]:
        """Return bytes of a shard at a URL; a reply that is not right is asked for once more, since it may have suffered on its way."""
        path = self._shard_path(number)
        found = np.frombuffer(path.fs.cat_file(path.path, start=start, end=stop), np.uint8)
        return found if right(found) else np.frombuffer(path.fs.cat_file(path.path, start=start, end=stop), np.uint8)

    def _shard_path(self, number: int) -> Any:
        return (self.path / "c").joinpath(str(number), *("0" for _ in self.shape[1:]))

    def _damaged(self, number: int, what: str) -> StoreError:
        return StoreError(f"shard '{self._shard_path(number)}' is damaged: {what}; run `vqafeat verify`, which names the videos in it.")
