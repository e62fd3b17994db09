"""Texts that people write, read whole into memory: label files, manifests, studies."""

from pathlib import Path

from vqafeat.errors import DatasetError

LARGEST_BYTES = 256 * 2**20


def small_text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file.

    Raises:
        DatasetError: it is larger than any such file.
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text in that encoding.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise DatasetError(
            f"'{path}' has {size / 2**20:.0f} MiB; label files, manifests and tables of at most {LARGEST_BYTES >> 20} MiB are read. "
            "Give the file that is meant, or split the data set."
        )
    return path.read_text(encoding=encoding, errors=errors)
