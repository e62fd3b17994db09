"""Fingerprints of video files, numbers in their headers, and single frames."""

from collections.abc import Collection
from contextlib import suppress
from hashlib import file_digest
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vqafeat.datasets import Dataset, RawGeometry
from vqafeat.errors import VideoError
from vqafeat.remote import VideoFile, network_errors
from vqafeat.video.reader import RAW_SUFFIXES, VideoReader, duration_seconds, open_container, video_stream

_PROBED = 32  # videos whose headers are read for the mean number of frames


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
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error.strerror or error}.") from error
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, **geometry}


def count_packets(path: Path, raw: RawGeometry | None = None) -> int:
    """Return the number of packets of the video, most often its number of frames, without decoding."""
    with open_container(path, raw) as container:
        stream = video_stream(container, path)
        try:
            return sum(1 for packet in container.demux(stream) if packet.size)
        except (av.FFmpegError, OSError) as error:
            message = f"'{path}' breaks while its packets are counted: {error.strerror or error}."
            raise VideoError("breaks-midway", message) from error


def stated_frames(path: Path, raw: RawGeometry | None = None) -> tuple[int, int]:
    """Return the frames by the header, or by duration and rate if it counts none, and the pixels of each."""
    with open_container(path, raw) as container:
        stream = video_stream(container, path)
        seconds = duration_seconds(stream) or (container.duration or 0) / av.time_base
        frames = stream.frames or round(seconds * float(stream.average_rate or stream.guessed_rate or 25))
        return frames, stream.codec_context.width * stream.codec_context.height


def mean_frames(dataset: Dataset) -> float:
    """Return the mean frames by the headers of a few local videos of a data set, or 0 if none is readable."""
    counts = []
    for video in dataset.videos[:: ceil(len(dataset.videos) / _PROBED)]:
        with suppress(VideoError):
            if isinstance(video.path, Path):
                counts.append(stated_frames(video.path, video.raw or dataset.raw)[0])
    return sum(counts) / max(len(counts), 1)


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
