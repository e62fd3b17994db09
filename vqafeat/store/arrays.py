"""Nodes of a Zarr v3 store: attributes read, arrays written as one checked chunk, chunks read back as maps of their files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import FsspecStore

from vqafeat.errors import StoreError
from vqafeat.remote import Place, of_each, read_bytes, remove_tree

CRC32C_BYTES = 4
BLOCK_BYTES = 16 << 20


def read_attributes(path: Place) -> dict[str, Any]:
    """Return the attributes of a node, or none where it is missing or damaged."""
    return cast(dict[str, Any], read_node(path).get("attributes", {}))


def read_node(path: Place) -> dict[str, Any]:
    """Return the metadata of a node, or none where it is missing or damaged; Zarr's own way costs ten times as long."""
    try:
        node = json.loads(read_bytes(path / "zarr.json"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return node if isinstance(node, dict) else {}


def open_root(path: Place, mode: Literal["r", "r+", "a", "w-"], attributes: dict[str, Any] | None = None) -> zarr.Group:
    """Return the group at a place, made with attributes where the mode says so."""
    if isinstance(path, Path):
        return zarr.open_group(path, mode=mode, zarr_format=3, attributes=attributes)
    remote = FsspecStore.from_url(str(path), storage_options=dict(path.storage_options), read_only=mode == "r")
    return zarr.open_group(remote, mode=mode, zarr_format=3, attributes=attributes)


def entries(path: Place) -> list[Place]:
    """Return what lies below a node beside its own metadata, sorted: nodes, and what is left of removed ones."""
    if not path.is_dir():
        return []
    return sorted((entry for entry in path.iterdir() if entry.name != "zarr.json"), key=lambda entry: entry.name)


def children(path: Place) -> list[Place]:
    """Return the folders of the nodes below a node, sorted."""
    found = entries(path)
    return [node for node, there in zip(found, of_each(path, lambda node: (node / "zarr.json").is_file(), found), strict=True) if there]


def read_chunk(chunk: Place, dtype: np.dtype[Any], shape: tuple[int, ...], checked: bool = False) -> npt.NDArray[Any]:
    """Return a chunk without its trailing check sum: a read-only map of its file, or what a network sent, which is always checked.

    Raises:
        StoreError: it is missing or of another length, or its check sum is wrong.
    """
    if isinstance(chunk, Path):
        return mapped(chunk, dtype, shape, checked)
    try:
        sent = np.frombuffer(read_bytes(chunk), np.uint8)
    except FileNotFoundError as error:
        raise StoreError(f"chunk '{chunk}' is missing; run `vqafeat verify` and extract that video again.") from error
    if len(sent) != int(np.prod(shape)) * dtype.itemsize + CRC32C_BYTES or not has_right_sum(sent):
        raise StoreError(f"chunk '{chunk}' does not have its check sum; run `vqafeat verify` and extract that video again.")
    return sent[:-CRC32C_BYTES].view(dtype).reshape(shape)


def mapped(chunk: Path, dtype: np.dtype[Any], shape: tuple[int, ...], checked: bool = False) -> npt.NDArray[Any]:
    """Return a chunk file as a read-only map, without its trailing check sum.

    Raises:
        StoreError: the file is missing or of another length, or `checked` and its check sum is wrong.
    """
    expected = int(np.prod(shape)) * dtype.itemsize + CRC32C_BYTES
    size = chunk.stat().st_size if chunk.is_file() else None
    if size != expected:
        raise StoreError(f"chunk '{chunk}' has {size} bytes instead of {expected}; run `vqafeat verify` and extract that video again.")
    if checked and not has_right_sum(np.memmap(chunk, dtype=np.uint8, mode="r")):
        raise StoreError(f"chunk '{chunk}' does not have its check sum; run `vqafeat verify` and extract that video again.")
    return np.memmap(chunk, dtype=dtype, mode="r", shape=shape)


def has_right_sum(chunk: npt.NDArray[np.uint8]) -> bool:
    """Tell whether (byte,) a chunk ends with the CRC-32C of what is before it."""
    checksum = 0
    for start in range(0, len(chunk) - CRC32C_BYTES, BLOCK_BYTES):
        checksum = google_crc32c.extend(checksum, chunk[start : min(start + BLOCK_BYTES, len(chunk) - CRC32C_BYTES)].tobytes())
    return checksum == int.from_bytes(chunk[-CRC32C_BYTES:].tobytes(), "little")


def remove_node(path: Place) -> None:
    """Delete a node; its metadata goes first, so that a stop in between never leaves a node that looks whole."""
    if path.is_dir():
        (path / "zarr.json").unlink(missing_ok=True)
        remove_tree(path)


def write_array(root: zarr.Group, folder: Place, key: str, values: npt.NDArray[Any]) -> None:
    """Write an array as one uncompressed chunk with a CRC-32C, all-zero values too.

    The chunk is what Zarr's codecs would write, but goes to its file block by block: Zarr holds several copies of a whole chunk.
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
    blocks = _with_sum(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8))
    if not isinstance(chunk, Path):
        chunk.write_bytes(b"".join(blocks))  # an object appears whole or not at all
        return
    chunk.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own: a process that was taken for dead, behind a broken network, may still be writing the same chunk
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
