"""What a video file is known by again."""

from collections.abc import Collection
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.remote import VideoFile, network_errors
from vqafeat.video.reader import RAW_SUFFIXES, VideoReader


def file_fingerprint(path: VideoFile, raw: RawGeometry | None) -> dict[str, Any]:
    """Return what a video file is known by again: digest, size, modification time; raw video by its geometry
    too.

    Raises:
        VideoError: the file cannot be read.
    """
    stamp = file_stat(path, raw)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256")
    except network_errors() as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    digest.update(stamp.get("raw", "").encode())
    return {"sha256": digest.hexdigest(), **stamp}


def file_stat(path: VideoFile, raw: RawGeometry | None) -> dict[str, Any]:
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


def read_frames(
    path: Path, frames: Collection[int], raw: RawGeometry | None = None
) -> dict[int, npt.NDArray[np.uint8]]:
    """Return frame → (height, width, 3) RGB of decoded frames, counted from 0; the video is read up to the
    last of them.

    Raises:
        VideoError: it cannot be decoded that far, or has fewer frames.
    """
    found: dict[int, npt.NDArray[np.uint8]] = {}
    with VideoReader(path, raw) as reader:
        for frame in reader:
            if frame.index in frames:
                found[frame.index] = frame.rgb
            if len(found) == len(set(frames)):
                return found
    raise VideoError("no-frames", f"'{path}' has no frame {max(set(frames) - set(found))}; it ends before.")
