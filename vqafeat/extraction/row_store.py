"""Rows on their way to the store: in memory while they are few, then in a file, so that a video of any length fits."""

import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

HELD_BYTES = 64 << 20


class RowStore:
    """Takes the rows of one feature set of one video piece by piece.

    Args:
        folder: where the file may lie, on a disk and not in memory; it has no name, so that nothing is left of it, whatever happens.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: list[npt.NDArray[Any]] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._shape = (0, 0)
        self._dtype = np.dtype(np.float32)

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Take (row, channel) rows; all pieces are of one width and type."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        self._shape, self._dtype = (self._shape[0] + len(rows), rows.shape[1]), rows.dtype
        if self._held_bytes > HELD_BYTES:
            self._file = self._file or self._opened()
            self._write(self._file)

    def _opened(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 – it is closed when this object goes
        weakref.finalize(self, file.close)
        return file

    def _write(self, file: IO[bytes]) -> None:
        for piece in self._held:
            file.write(np.ascontiguousarray(piece).data)
        self._held, self._held_bytes = [], 0

    def array(self) -> npt.NDArray[Any]:
        """Return all rows, (row, channel); a map of the file where there is one."""
        if self._file is None:
            return np.concatenate(self._held)
        self._write(self._file)
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r", shape=self._shape)
