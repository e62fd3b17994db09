"""Nodes of a Zarr v3 store: attributes read, arrays written as one checked chunk, chunks read back as maps of
their files.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from uuid import uuid4

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import FsspecStore

from vqafeat.errors import StoreError
from vqafeat.remote import StorePath, map_concurrently, read_bytes, remove_tree, translate_network_errors

CRC32C_BYTES = 4
BLOCK_BYTES = 16 << 20


def read_attributes(path: StorePath) -> dict[str, Any]:
    """Return the attributes of a node, or none where it is missing or damaged."""
    return cast(dict[str, Any], read_node(path).get("attributes", {}))


def read_node(path: StorePath) -> dict[str, Any]:
    """Return the metadata of a node, or none where it is missing or damaged; Zarr's own way costs ten times
    as long.
    """
    try:
        node = json.loads(read_bytes(path / "zarr.json"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return node if isinstance(node, dict) else {}


def open_root(
    path: StorePath, mode: Literal["r", "r+", "a", "w-"], attributes: dict[str, Any] | None = None
) -> zarr.Group:
    """Return the group at a place, made with attributes where the mode says so."""
    if isinstance(path, Path):
        return zarr.open_group(path, mode=mode, zarr_format=3, attributes=attributes)
    remote = FsspecStore.from_url(
        str(path), storage_options=dict(path.storage_options), read_only=mode == "r"
    )
    return zarr.open_group(remote, mode=mode, zarr_format=3, attributes=attributes)


def listdir(path: StorePath) -> list[StorePath]:
    """Return what lies below a node beside its own metadata, sorted: nodes, and what is left of removed
    ones.
    """
    if not path.is_dir():
        return []
    return sorted(
        (entry for entry in path.iterdir() if entry.name != "zarr.json"), key=lambda entry: entry.name
    )


def child_nodes(path: StorePath) -> list[StorePath]:
    """Return the folders of the nodes below a node, sorted."""
    found = listdir(path)
    return [
        node
        for node, there in zip(
            found, map_concurrently(path, lambda node: (node / "zarr.json").is_file(), found), strict=True
        )
        if there
    ]


def read_chunk(
    chunk: StorePath, dtype: np.dtype[Any], shape: tuple[int, ...], checked: bool = False
) -> npt.NDArray[Any]:
    """Return a chunk without its trailing check sum: a read-only map of its file, or what a network sent,
    which is always checked.

    Raises:
        StoreError: it is missing or of another length, or its check sum is wrong.
    """
    if isinstance(chunk, Path):
        return memmap_chunk(chunk, dtype, shape, checked)
    try:
        sent = np.frombuffer(read_bytes(chunk), np.uint8)
    except FileNotFoundError as error:
        raise StoreError(
            f"chunk '{chunk}' is missing; run `vqafeat verify` and extract that video again."
        ) from error
    if len(sent) != int(np.prod(shape)) * dtype.itemsize + CRC32C_BYTES or not crc_ok(sent):
        raise StoreError(
            f"chunk '{chunk}' does not have its check sum; run `vqafeat verify` and extract that video again."
        )
    return sent[:-CRC32C_BYTES].view(dtype).reshape(shape)


def memmap_chunk(
    chunk: Path, dtype: np.dtype[Any], shape: tuple[int, ...], checked: bool = False
) -> npt.NDArray[Any]:
    """Return a chunk file as a read-only map, without its trailing check sum.

    Raises:
        StoreError: the file is missing or of another length, or `checked` and its check sum is wrong.
    """
    expected = int(np.prod(shape)) * dtype.itemsize + CRC32C_BYTES
    size = chunk.stat().st_size if chunk.is_file() else None
    if size != expected:
        raise StoreError(
            f"chunk '{chunk}' has {size} bytes instead of {expected}; run `vqafeat verify` and extract that "
            f"video again."
        )
    if checked and not crc_ok(np.memmap(chunk, dtype=np.uint8, mode="r")):
        raise StoreError(
            f"chunk '{chunk}' does not have its check sum; run `vqafeat verify` and extract that video again."
        )
    return np.memmap(chunk, dtype=dtype, mode="r", shape=shape)


def crc_ok(chunk: npt.NDArray[np.uint8]) -> bool:
    """Tell whether (byte,) a chunk ends with the CRC-32C of what is before it."""
    checksum = 0
    for start in range(0, len(chunk) - CRC32C_BYTES, BLOCK_BYTES):
        checksum = google_crc32c.extend(
            checksum, chunk[start : min(start + BLOCK_BYTES, len(chunk) - CRC32C_BYTES)].tobytes()
        )
    return checksum == int.from_bytes(chunk[-CRC32C_BYTES:].tobytes(), "little")


def remove_node(path: StorePath) -> None:
    """Delete a node; its metadata goes first, so that a stop in between never leaves a node that looks
    whole.
    """
    if path.is_dir():
        (path / "zarr.json").unlink(missing_ok=True)
        remove_tree(path)


def write_array(root: zarr.Group, folder: StorePath, key: str, values: npt.NDArray[Any]) -> None:
    """Write an array as one uncompressed chunk with a CRC-32C, all-zero values too.

    The chunk is what Zarr's codecs would write, but goes to its file block by block: Zarr holds several
    copies of a whole chunk.
    """
    root.create_array(
        key,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        compressors=[Crc32cCodec()],
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    chunk = (folder / key / "c").joinpath(*("0" for _ in values.shape))
    blocks = _with_sum(
        np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    )
    if not isinstance(chunk, Path):
        chunk.write_bytes(b"".join(blocks))  # an object appears whole or not at all
        return
    chunk.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own: a process that was taken for dead, behind a broken network, may still be writing the
    # same chunk
    partial = chunk.with_name(f"{chunk.name}.{uuid4().hex}.partial")
    with partial.open("wb") as file:
        file.writelines(blocks)
    partial.rename(chunk)


def _with_sum(values: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    checksum = 0
    for start in range(0, len(values), BLOCK_BYTES):
        block = values[start : start + BLOCK_BYTES].tobytes()
        checksum = google_crc32c.extend(checksum, block)
        yield block
    yield checksum.to_bytes(CRC32C_BYTES, "little")


_MOST_OPEN = 64  # a map of a file keeps a descriptor, of which a process may have as few as 1024
_INDEX_DTYPE = np.dtype("<u8")
_ABSENT = np.iinfo(np.uint64).max


class _Shard(NamedTuple):
    """A shard: (chunk, 2) `places`, offset and length of its chunks in bytes; and (byte,) its file, where
    that lies on this machine.
    """

    places: npt.NDArray[np.uint64]
    file: npt.NDArray[np.uint8] | None


class ShardedRows:
    """The rows of an array that is sharded along its first axis alone, as `vqafeat pack` writes it.

    Args:
        path: of the array's node.
        array: the same, for its metadata.
    """

    def __init__(self, path: StorePath, array: "zarr.Array[Any]") -> None:
        assert array.shards is not None
        self.path, self.shape, self.dtype = path, array.shape, array.dtype
        self._shard_rows, self._chunk_rows = array.shards[0], array.chunks[0]
        self._opened = lru_cache(_MOST_OPEN)(self._open)

    def read(self, start: int, stop: int, checked: bool = False) -> npt.NDArray[Any]:
        """Return the rows from `start` up to `stop`; checked, only where the chunks that they lie in have
        their check sums.

        What comes over a network is always checked.

        Raises:
            StoreError: a shard is missing or cut, or a check sum is wrong.
        """
        parts = list[npt.NDArray[Any]]()
        while start < stop:
            shard = start // self._shard_rows
            end = min(stop, (shard + 1) * self._shard_rows)
            parts += self._pieces(
                shard, start - shard * self._shard_rows, end - shard * self._shard_rows, checked
            )
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
            return all(len(data) >= end and crc_ok(data[begin:end]) for begin, end in places)

        data = shard.file[low:high] if shard.file is not None else self._fetched(number, low, high, right)
        pieces = []
        for chunk, (begin, end) in enumerate(places, first):
            own, length = data[begin:end], end - begin
            if len(own) < length or ((checked or shard.file is None) and not crc_ok(own)):
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
            tail = (
                self._fetched(number, -size - CRC32C_BYTES, None, crc_ok)
                if file is None
                else file[-size - CRC32C_BYTES :]
            )
        except (FileNotFoundError, ValueError) as error:
            raise self._damaged(number, "it is missing or empty") from error
        if len(tail) != size + CRC32C_BYTES or not crc_ok(tail):
            raise self._damaged(number, "its index does not have its check sum")
        return _Shard(np.frombuffer(tail[:size].tobytes(), _INDEX_DTYPE).reshape(chunks, 2), file)

    def _fetched(
        self, number: int, start: int, stop: int | None, right: Callable[[npt.NDArray[np.uint8]], bool]
    ) -> npt.NDArray[np.uint8]:
        """Return bytes of a shard at a URL; a reply that is not right is asked for once more, since it may
        have suffered on its way.
        """
        path = self._shard_path(number)
        found = np.frombuffer(path.fs.cat_file(path.path, start=start, end=stop), np.uint8)
        return (
            found
            if right(found)
            else np.frombuffer(path.fs.cat_file(path.path, start=start, end=stop), np.uint8)
        )

    def _shard_path(self, number: int) -> Any:
        return (self.path / "c").joinpath(str(number), *("0" for _ in self.shape[1:]))

    def _damaged(self, number: int, what: str) -> StoreError:
        return StoreError(
            f"shard '{self._shard_path(number)}' is damaged: {what}; run `vqafeat verify`, which names the "
            f"videos in it."
        )


_UNSAFE_IN_KEYS = re.compile(r'[\x00-\x1f\x7f/\\%:*?"<>|]')
_LONGEST_KEY_BYTES = 200


def store_key(name: str) -> str:
    """Return the node name under which `name` is stored: no separators, no control characters, at most 200
    bytes.
    """
    key = _UNSAFE_IN_KEYS.sub(lambda match: f"%{ord(match.group()):02X}", name)
    key = re.sub(r"^(\.|__)", lambda match: "".join(f"%{ord(letter):02X}" for letter in match.group()), key)
    if len(key.encode()) > _LONGEST_KEY_BYTES:
        head = key.encode()[:120].decode(errors="ignore").rstrip("%")
        key = f"{head}~{sha256(name.encode()).hexdigest()[:24]}"
    return key


def store_path(folder: StorePath, dataset: str) -> StorePath:
    """Return where the store of a data set lies below the folder of stores."""
    return folder / f"{store_key(dataset)}.zarr"


def stores_in(folder: StorePath) -> list[StorePath]:
    """Return the stores in a folder of stores, sorted; the folder itself where it is a store."""
    with translate_network_errors(folder):
        if (folder / "zarr.json").is_file():
            return [folder]
        if isinstance(folder, Path):
            return [*sorted(folder.glob("*.zarr"))]
        found = folder.fs.ls(folder.path, detail=False) if folder.fs.exists(folder.path) else []
        return [folder / name.rsplit("/", 1)[1] for name in sorted(found) if name.endswith(".zarr")]


def failure_log_path(store: StorePath) -> StorePath:
    """Return the file beside a store that has one line a failed video."""
    return store.with_suffix(".failures.jsonl")
