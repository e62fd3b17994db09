"""One video as chunks of frames in reusable buffers: what a decoding process runs, and what it tells."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.video.files import file_fingerprint
from vqafeat.video.frame_layout import FrameLayout
from vqafeat.video.reader import DecodeLimits, Frame, VideoReader, count_packets

CHUNK_BYTES = (
    8 << 20
)  # large enough that messages cost nothing, small enough that the first chunk is soon there
LONGEST_CHUNK = 16

Buffer = npt.NDArray[np.uint8]
# bytes that are needed → the slot that was free, or became free, and that much of it
NextBuffer = Callable[[int], tuple[int, Buffer]]


@dataclass(frozen=True)
class DecodeJob:
    """A video to decode.

    Attributes:
        count_frames: say first how many frames to expect, by the packets in the container.
        hardware: kind of device that decodes (`cuda` for NVDEC); None for the processor.
        limits: beyond which it is refused.
    """

    path: Path
    raw: RawGeometry | None = None
    count_frames: bool = False
    hardware: str | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)


@dataclass(frozen=True)
class Expected:
    """How many frames the container promises; those that decode may turn out to be another number."""

    frames: int


@dataclass(frozen=True)
class Chunk:
    """Frames in a row.

    Attributes:
        first: index of the first one.
        seconds: presentation time of each.
        layout: of each frame's bytes.
        slot: which buffer holds the bytes.
        data: (frame, layout.nbytes) uint8, valid until the next message is asked for.
    """

    first: int
    seconds: tuple[float, ...]
    layout: FrameLayout
    slot: int
    data: Buffer = field(compare=False)


@dataclass(frozen=True)
class VideoEnd:
    """The video decoded as a whole; `source` is what the store keeps of it."""

    source: dict[str, Any]


@dataclass(frozen=True)
class VideoFailed:
    """The video does not decode; for the failure log."""

    kind: str
    message: str


Message = Expected | Chunk | VideoEnd | VideoFailed


def decode_chunks(job: DecodeJob, next_buffer: NextBuffer) -> Iterator[Message]:
    """Decode a video into buffers, telling of each chunk and last of the end or the failure."""
    try:
        if job.count_frames:
            yield Expected(count_packets(job.path, job.raw))
        with VideoReader(job.path, job.raw, job.hardware, job.limits) as reader:
            for chunk in _chunks(reader, next_buffer):
                if job.hardware and chunk.first == 0:
                    _check_against_software(job, chunk)
                yield chunk
            yield VideoEnd(file_fingerprint(job.path, job.raw) | reader.source())
    except VideoError as error:
        yield VideoFailed(error.kind, str(error))
    except Exception as error:
        # whatever a codec's bindings raise on hostile input: the failure log names it, and the other videos
        # go on
        yield VideoFailed(
            "decoder-error", f"'{job.path}' cannot be decoded: {type(error).__name__}: {error}."
        )


def decode_here(job: DecodeJob) -> Iterator[Message]:
    """Decode a video in this process: nothing to start, but a codec that crashes or hangs takes everything
    with it.
    """
    buffers: list[Buffer] = [np.empty(0, np.uint8)]

    def one_buffer(size: int) -> tuple[int, Buffer]:
        if len(buffers[0]) < size:
            buffers[0] = np.empty(size, np.uint8)
        return 0, buffers[0][:size]

    return decode_chunks(job, one_buffer)


def _chunks(frames: Iterable[Frame], next_buffer: NextBuffer) -> Iterator[Chunk]:
    filling: _Filling | None = None
    for frame in frames:
        if filling is None or not filling.takes(frame):
            if filling is not None:
                yield filling.chunk()
            filling = _Filling(frame, next_buffer)
        filling.add(frame)
    if filling is not None:
        yield filling.chunk()


class _Filling:
    """A chunk in the making."""

    def __init__(self, first: Frame, next_buffer: NextBuffer) -> None:
        self._first, self._layout = first.index, first.layout
        room = max(1, min(LONGEST_CHUNK, CHUNK_BYTES // self._layout.nbytes))
        self._slot, buffer = next_buffer(room * self._layout.nbytes)
        self._rows = buffer.reshape(room, self._layout.nbytes)
        self._seconds: list[float] = []

    def takes(self, frame: Frame) -> bool:
        return frame.layout == self._layout and len(self._seconds) < len(self._rows)

    def add(self, frame: Frame) -> None:
        frame.write_to(self._rows[len(self._seconds)])
        self._seconds.append(frame.seconds)

    def chunk(self) -> Chunk:
        return Chunk(
            self._first, tuple(self._seconds), self._layout, self._slot, self._rows[: len(self._seconds)]
        )


def _check_against_software(job: DecodeJob, chunk: Chunk) -> None:
    """Refuse a device whose samples are not those of the processor's decoder: the features would not be the
    same.
    """
    with VideoReader(job.path, job.raw) as reader:
        for frame, found in zip(reader, chunk.data, strict=False):
            expected = np.empty(frame.layout.nbytes, np.uint8)
            frame.write_to(expected)
            if frame.layout != chunk.layout or not np.array_equal(expected, found):
                raise VideoError(
                    "hardware-differs",
                    f"'{job.path}': frame {frame.index} decoded by {job.hardware} differs from the "
                    f"processor's; use --decoder cpu for it.",
                )
