"""Nodes that are written without Zarr, against those that Zarr writes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from vqafeat.store.zarr_io import write_array, write_group

ATTRIBUTES = {"video": "kühl.mp4", "source": {"rate_hz": 29.97, "stream_index": None}, "complete": True}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 1, 5),
        np.zeros((3, 7), np.float16),
        np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        np.arange(4, dtype=np.int32),
        np.arange(4, dtype=">i4"),
    ],
    ids=["float64", "zeros", "reversed", "int32", "big-endian"],
)
def test_write_array__gives_the_bytes_that_zarr_writes(
    tmp_path: Path, values: npt.NDArray[np.float64]
) -> None:
    root = zarr.open_group(tmp_path / "zarr", mode="w", zarr_format=3)
    little = values.astype(values.dtype.newbyteorder("<"))
    array = root.create_array(
        "array", shape=little.shape, dtype=little.dtype, chunks=little.shape, compressors=[Crc32cCodec()],
        fill_value=0, config={"write_empty_chunks": True}, attributes=ATTRIBUTES,
    )  # fmt: skip
    array[...] = little

    write_array(tmp_path / "own", values, ATTRIBUTES)

    assert files_below(tmp_path / "own") == files_below(tmp_path / "zarr" / "array")
    written = zarr.open_array(tmp_path / "own", mode="r")
    np.testing.assert_array_equal(written[...], values)
    assert dict(written.attrs) == ATTRIBUTES


@pytest.mark.parametrize("attributes", [None, ATTRIBUTES], ids=["plain", "attributes"])
def test_write_group__gives_the_bytes_that_zarr_writes(
    tmp_path: Path, attributes: dict[str, object] | None
) -> None:
    zarr.open_group(tmp_path / "zarr", mode="w", zarr_format=3, attributes=attributes)

    write_group(tmp_path / "own", attributes)

    assert files_below(tmp_path / "own") == files_below(tmp_path / "zarr")
