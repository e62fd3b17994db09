"""Decoding of one video into chunks of frames in reusable buffers, as messages of a decoding process."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.video.files import count_packets, file_fingerprint, file_stat
from vqafeat.video.frame import DecodeLimits, Frame, FrameLayout
from vqafeat.video.reader import VideoReader

CHUNK_BYTES = 8 << 20  # large enough that messages cost nothing, small enough that the first arrives soon
LONGEST_CHUNK = 16

Buffer = npt.NDArray[np.uint8]
# number of bytes → a free slot, for which it may wait, and that much of its memory
NextBuffer = Callable[[int], tuple[int, Buffer]]
ChunksOf = Callable[[VideoReader], Iterator["Chunk"]]


@dataclass(frozen=True)
class DecodeJob:
    """A video to decode."""

    path: Path
    raw: RawGeometry | None = None
    count_frames: bool = False  # first send the number of packets, which can differ from that of frames
    hardware: str | None = None  # device that decodes, as `cuda:1` (NVDEC); None for the processor
    limits: DecodeLimits = field(default_factory=DecodeLimits)


@dataclass(frozen=True)
class Expected:
    """Message: the number of frames by the container."""

    frames: int


@dataclass(frozen=True)
class Chunk:
    """Message: consecutive frames from index `first`, with the presentation time of each.

    `data` is (frame, layout.nbytes) uint8 in the buffer `slot`, valid until the next message is requested; or
    a tensor on the device that decoded.
    """

    first: int
    seconds: tuple[float, ...]
    layout: FrameLayout
    slot: int
    data: Any = field(compare=False)


@dataclass(frozen=True)
class VideoEnd:
    """Message: the video decoded completely; `source` is what the store records of it."""

    source: dict[str, Any]


@dataclass(frozen=True)
class VideoFailed:
    """Message: the video does not decode; for the failure log."""

    kind: str
    message: str


Message = Expected | Chunk | VideoEnd | VideoFailed


def decode_chunks(job: DecodeJob, chunks_of: ChunksOf) -> Iterator[Message]:
    """Decode a video; yield each chunk, and finally the end or the failure."""
    try:
        if job.count_frames:
            yield Expected(count_packets(job.path, job.raw))
        with VideoReader(job.path, job.raw, job.hardware, job.limits) as reader:
            stat = file_stat(job.path, job.raw)
            for chunk in chunks_of(reader):
                if job.hardware and chunk.first == 0:
                    _check_against_software(job, chunk)
                yield chunk
            fingerprint = file_fingerprint(job.path, job.raw)
            if stat.items() - fingerprint.items():
                raise VideoError("changed", f"'{job.path}' changed while it was decoded; extract it again.")
            yield VideoEnd(fingerprint | reader.source())
    except VideoError as error:
        yield VideoFailed(error.kind, str(error))
    except Exception as error:
        # whatever a codec's bindings raise on hostile input is logged, and does not stop the other videos
        message = f"'{job.path}' cannot be decoded: {type(error).__name__}: {error}."
        yield VideoFailed("decoder-error", message)


def decode_here(job: DecodeJob) -> Iterator[Message]:
    """Decode a video in this process, which a codec that crashes or hangs takes down with it."""
    buffer: Buffer = np.empty(0, np.uint8)

    def one_buffer(size: int) -> tuple[int, Buffer]:
        nonlocal buffer
        if len(buffer) < size:
            buffer = np.empty(size, np.uint8)
        return 0, buffer[:size]

    return decode_chunks(job, partial(buffered_chunks, one_buffer))


def buffered_chunks(next_buffer: NextBuffer, frames: Iterable[Frame]) -> Iterator[Chunk]:
    """Yield the frames of a video in buffers."""
    for layout, alike in groupby(frames, attrgetter("layout")):
        longest = max(1, min(LONGEST_CHUNK, CHUNK_BYTES // layout.nbytes))
        for first in alike:
            slot, buffer = next_buffer(longest * layout.nbytes)
            rows, seconds = buffer.reshape(longest, layout.nbytes), []
            for row, frame in zip(rows, chain([first], alike), strict=False):
                frame.write_to(row)
                seconds.append(frame.seconds)
            yield Chunk(first.index, tuple(seconds), layout, slot, rows[: len(seconds)])


def _check_against_software(job: DecodeJob, chunk: Chunk) -> None:
    """Refuse a device whose samples differ from the processor's: the features would differ, too."""
    decoded = chunk.data if isinstance(chunk.data, np.ndarray) else chunk.data.cpu().numpy()
    with VideoReader(job.path, job.raw) as reader:
        for frame, samples in zip(reader, decoded, strict=False):
            expected = np.empty(frame.layout.nbytes, np.uint8)
            frame.write_to(expected)
            if frame.layout != chunk.layout or not np.array_equal(expected, samples):
                which = f"'{job.path}': frame {frame.index} decoded by {job.hardware}"
                message = f"{which} differs from the processor's; use --decoder cpu for it."
                raise VideoError("hardware-differs", message)
