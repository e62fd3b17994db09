"""What a video file is known by again."""

from hashlib import file_digest
from pathlib import Path
from typing import Any

from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.extraction.video import RAW_SUFFIXES
from vqafeat.remote import VideoFile, network_errors


def file_source(path: VideoFile, raw: RawGeometry | None) -> dict[str, Any]:
    """Return what a video file is known by again: digest, size, modification time; raw video by its geometry too.

    Raises:
        VideoError: the file cannot be read.
    """
    stamp = file_stamp(path, raw)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256")
    except network_errors() as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    digest.update(stamp.get("raw", "").encode())
    return {"sha256": digest.hexdigest(), **stamp}


def file_stamp(path: VideoFile, raw: RawGeometry | None) -> dict[str, Any]:
    """Return what of a file can be compared without reading it.

    Raises:
        VideoError: the file is gone.
    """
    geometry = {"raw": str(raw)} if raw is not None and path.suffix.lower() in RAW_SUFFIXES else {}
    if not isinstance(path, Path):
        return {"bytes": path.size_bytes, "mtime_ns": path.modified_ns, **geometry}
    try:
        status = path.stat()
    except OSError as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, **geometry}
