"""Nodes of a local Zarr v3 store: attributes read, arrays written as one checked chunk, chunk files mapped."""

import json
import shutil
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec

from vqafeat.errors import StoreError

CRC32C_BYTES = 4
BLOCK_BYTES = 16 << 20


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a node, or none where it is missing or damaged; Zarr's own way costs ten times as long."""
    try:
        node = json.loads((path / "zarr.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return cast(dict[str, Any], node.get("attributes", {})) if isinstance(node, dict) else {}


def mapped(chunk: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return a chunk file as a read-only map, without its trailing check sum.

    Raises:
        StoreError: the file is missing or of another length.
    """
    expected = int(np.prod(shape)) * dtype.itemsize + CRC32C_BYTES
    size = chunk.stat().st_size if chunk.is_file() else None
    if size != expected:
        raise StoreError(f"chunk '{chunk}' has {size} bytes instead of {expected}; run `vqafeat verify` and extract that video again.")
    return np.memmap(chunk, dtype=dtype, mode="r", shape=shape)


def remove_node(path: Path) -> None:
    """Delete a node; its metadata goes first, so that a stop in between never leaves a node that looks whole."""
    if path.is_dir():
        (path / "zarr.json").unlink(missing_ok=True)
        shutil.rmtree(path)


def write_array(root: zarr.Group, folder: Path, key: str, values: npt.NDArray[Any]) -> None:
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
    chunk.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own: a process that was taken for dead, behind a broken network, may still be writing the same chunk
    partial = chunk.with_name(f"{chunk.name}.{uuid4().hex}.partial")
    little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    checksum = 0
    with partial.open("wb") as file:
        for start in range(0, len(little_endian), BLOCK_BYTES):
            block = little_endian[start : start + BLOCK_BYTES].tobytes()
            checksum = google_crc32c.extend(checksum, block)
            file.write(block)
        file.write(checksum.to_bytes(CRC32C_BYTES, "little"))
    partial.rename(chunk)
