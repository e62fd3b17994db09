"""Fingerprints of video files, and single frames of them."""

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
    """Return SHA-256, size and modification time of a video file; of raw video its geometry, too."""
    status = file_stat(path, raw)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256")
    except network_errors() as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    digest.update(status.get("raw", "").encode())
    return {"sha256": digest.hexdigest(), **status}


def file_stat(path: VideoFile, raw: RawGeometry | None) -> dict[str, Any]:
    """Return the part of a fingerprint that is known without reading the file."""
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
    """Return index → (height, width, 3) RGB of some frames; the video is read up to the last of them."""
    images: dict[int, npt.NDArray[np.uint8]] = {}
    with VideoReader(path, raw) as reader:
        for frame in reader:
            if frame.index in frames:
                images[frame.index] = frame.rgb
            if len(images) == len(set(frames)):
                return images
    raise VideoError("no-frames", f"'{path}' has no frame {max(set(frames) - set(images))}; it ends before.")
