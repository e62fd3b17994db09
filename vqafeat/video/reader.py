"""Decoding: one video file as a stream of frames with their presentation times, in constant memory.

- RGB is swscale's conversion of the decoded picture to 8 bits, by the matrix and range that the stream
  states, BT.601 and limited range where it states none. For 8-bit 4:2:0 (and 4:4:4) these are the values of
  FFmpeg's command line, bit for bit; planes of 8-bit 4:2:0 of even size are passed on as they are, and
  `rgb.py` computes the same values on the device. 10-bit and odd-sized ones go through swscale, whose
  rounding differs between versions: the versions are part of a feature set's identity.
- A rotation in the container is applied, in steps of 90 degrees; non-square samples stay as coded.
- Every frame that the decoder shows counts, at its own time stamp, whatever the header claims.
- A file that was cut is refused by the error of its decoder, a damaged packet or frame, or an end before the
  one its container states. MPEG-TS states none: a clean cut between two packets is not detected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.video.frame_layout import COEFFICIENTS, FrameLayout

FFMPEG_MAX_PIXELS = 2**31 - 1


@dataclass(frozen=True)
class DecodeLimits:
    """The largest video that is decoded.

    Attributes:
        max_pixels: of a frame, width times height; by default twice 8K.
        max_frames: of a video; by default nine hours at 60 frames a second.
    """

    max_pixels: int = 1 << 26
    max_frames: int = 2_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= FFMPEG_MAX_PIXELS:
            raise ArgumentError(f"max_pixels is {self.max_pixels}; it has to be 1 to {FFMPEG_MAX_PIXELS}.")
        if self.max_frames < 1:
            raise ArgumentError(f"max_frames is {self.max_frames}; it has to be at least 1.")

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Raise VideoError if frames are larger than allowed."""
        if (pixels := width * height) > self.max_pixels:
            allowed, hint = f"{self.max_pixels} pixels allowed", f"give --max-pixels {pixels}"
            problem = f"has frames of {width}x{height}, more than the {allowed}; if that is right, {hint}"
            raise VideoError("too-large", f"'{path}' {problem}.")

    def check_count(self, path: Path, frames: int) -> None:
        """Raise VideoError if there are more frames than allowed."""
        if frames > self.max_frames:
            message = f"'{path}' has more than {self.max_frames} frames; if that is right, give --max-frames."
            raise VideoError("too-long", message)


RAW_SUFFIXES = (".yuv",)
HARDWARE_FORMAT = "nv12"  # NVDEC's 8-bit 4:2:0: the same samples, U and V in turn
PLANAR_FORMATS = ("yuv420p", "yuvj420p")
# tags in broken UTF-8 are no reason to refuse a video; PyAV 19 ignores them by itself
_TAG_OPTIONS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG


@dataclass(frozen=True)
class Frame:
    """One decoded frame, valid until the next one is requested.

    Attributes:
        index: among the decoded frames, from 0.
        layout: of the bytes that `write_to` writes.
    """

    index: int
    seconds: float
    layout: FrameLayout
    picture: VideoFrame

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3) uint8 by swscale, rotation applied."""
        return np.rot90(self.picture.to_ndarray(format="rgb24"), self.layout.quarter_turns)

    def write_to(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Copy the frame into (layout.nbytes,) uint8."""
        if not self.layout.planes:
            buffer[:] = self.picture.to_ndarray(format="rgb24").reshape(-1)
            return
        start = 0
        for samples in self._planes():
            buffer[start : start + samples.size].reshape(samples.shape)[...] = samples
            start += samples.size

    def _planes(self) -> list[npt.NDArray[np.uint8]]:
        """Return the samples of Y, U and V, without the padding of their lines."""
        width, height = self.layout.width, self.layout.height
        luma, *chroma = (
            np.asarray(memoryview(plane)).reshape(-1, plane.line_size) for plane in self.picture.planes
        )
        if self.picture.format.name == HARDWARE_FORMAT:
            chroma = [chroma[0][:, 0:width:2], chroma[0][:, 1:width:2]]
        return [luma[:height, :width], *(plane[: height // 2, : width // 2] for plane in chroma)]


def layout_of(picture: VideoFrame, from_hardware: bool = False) -> FrameLayout:
    """Return how a picture is passed on: planes if their exact conversion is known, else swscale's RGB."""
    matrix, full_range = int(picture.colorspace), _is_full_range(picture)
    even = picture.width % 2 == 0 and picture.height % 2 == 0
    known = PLANAR_FORMATS + ((HARDWARE_FORMAT,) if from_hardware else ())
    planes = picture.format.name in known and even and matrix in COEFFICIENTS
    turns = round(picture.rotation / 90) % 4
    return FrameLayout(picture.width, picture.height, planes, matrix if planes else 0, full_range, turns)


def _is_full_range(picture: VideoFrame) -> bool:
    return int(picture.color_range) == FULL_RANGE or picture.format.name.startswith("yuvj")


def decoder_identity() -> str:
    """Return what pixel values depend on: versions of the decoder's libraries, conversion to RGB."""
    versions = {name: ".".join(map(str, av.library_versions[name])) for name in ("libavcodec", "libswscale")}
    return (
        f"PyAV {av.__version__} (libavcodec {versions['libavcodec']}, libswscale {versions['libswscale']}), "
        "RGB as swscale's: 8-bit 4:2:0 by its integer formula, the rest by itself"
    )


class VideoReader:
    """A video opened for one pass: iterate over its frames, then call `source`.

    VideoError says why a video cannot be opened or breaks before its end.

    Args:
        hardware: kind of device that decodes, by FFmpeg's name (`cuda`); None for one CPU thread.
    """

    def __init__(
        self,
        path: Path,
        raw: RawGeometry | None = None,
        hardware: str | None = None,
        limits: DecodeLimits | None = None,
    ) -> None:
        self.path, self._limits = path, limits or DecodeLimits()
        self._from_hardware = hardware is not None
        self._container = _opened(path, raw, hardware)
        try:
            self._stream = _video_stream(self._container, path)
            codec = self._stream.codec_context
            self._limits.check_size(path, codec.width, codec.height)
        except VideoError:
            self._container.close()
            raise
        codec.thread_count = 1
        codec.options = {"max_pixels": str(self._limits.max_pixels)}  # for what the stream claims later
        self._seconds: list[float] = []
        self._corrupt_frames, self._sound, self._assumed_times = 0, False, False
        self._first: VideoFrame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        end_seconds, packets = 0.0, 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    raise self._broken("a packet of the stream is cut or damaged")
                if packet.size:
                    packets += 1
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    if stamp is not None and packet.time_base is not None:
                        end = (stamp + (packet.duration or 0)) * packet.time_base
                        end_seconds = max(end_seconds, float(end))
                for picture in packet.decode():
                    yield self._frame(picture)
        except (av.FFmpegError, OSError) as error:
            raise self._broken(str(error)) from error
        if self._corrupt_frames:
            raise self._broken(f"{self._corrupt_frames} of its frames are damaged")
        if not self._seconds:
            raise VideoError("no-frames", f"'{self.path}' holds no frame that decodes.")
        self._refuse_early_end(packets, end_seconds)

    def _frame(self, picture: VideoFrame) -> Frame:
        first = self._first = self._first or picture
        self._limits.check_size(self.path, picture.width, picture.height)
        index, seconds = len(self._seconds), self._time_of(picture)
        if (picture.width, picture.height) != (first.width, first.height):
            sizes = f"from {first.width}x{first.height} to {picture.width}x{picture.height}"
            message = f"'{self.path}' changes {sizes} at frame {index}; split it by size."
            raise VideoError("size-changes", message)
        self._limits.check_count(self.path, index + 1)
        self._seconds.append(seconds)
        # a stream that was joined in its middle opens with damaged frames; damage after those is a break
        self._sound = self._sound or not picture.is_corrupt
        self._corrupt_frames += bool(picture.is_corrupt) and self._sound
        return Frame(index, seconds, layout_of(picture, self._from_hardware), picture)

    def _time_of(self, picture: VideoFrame) -> float:
        if picture.pts is not None and picture.time_base is not None:
            return float(picture.pts * picture.time_base)
        self._assumed_times = True
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return self._seconds[-1] + float(1 / rate) if self._seconds else 0.0

    def _broken(self, reason: str) -> VideoError:
        of = f" of {self._stream.frames}" if self._stream.frames else ""
        message = f"'{self.path}' breaks after {len(self._seconds)}{of} frames: {reason}."
        return VideoError("breaks-midway", message)

    def _refuse_early_end(self, packets: int, end_seconds: float) -> None:
        # A header's frame count alone proves nothing (AVI counts dropped frames, edit lists hide some): only
        # a count that falls short together with a stream that ends before its stated end means that the file
        # was cut. AVI's duration is no evidence, since FFmpeg estimates it from the file's size if the index
        # is lost.
        stream, container = self._stream, self._container
        stated = [_tagged_seconds(stream.metadata.get("DURATION", ""))]
        if packets < stream.frames:
            stated.append(float(stream.frames / stream.average_rate) if stream.average_rate else 0.0)
            stated.append(_duration_seconds(stream) or 0.0)
        elif not stated[0] and "matroska" in container.format.name and len(container.streams) == 1:
            stated.append((container.duration or 0) / av.time_base)
        start_seconds = float((stream.start_time or 0) * (stream.time_base or 0))
        stated_end = max(stated) + (start_seconds if packets < stream.frames else 0.0)
        frame_seconds = stated_end / max(stream.frames, packets)
        longest_step = float(np.diff(self._seconds).max()) if len(self._seconds) > 1 else 0.0
        if packets > 1 and end_seconds < stated_end - max(1.5 * frame_seconds, longest_step * 1.5):
            raise self._broken(f"the stream ends at {end_seconds:.3f} s of {stated_end:.3f} s")

    def source(self) -> dict[str, Any]:
        """Return properties of the decoded video, as JSON values for the store; after the last frame."""
        first, stream = self._first, self._stream
        if first is None:
            raise VideoError("no-frames", f"read the frames of '{self.path}' before its source.")
        width, height = layout_of(first).shown_size
        steps = np.diff(self._seconds)
        rate = stream.average_rate or stream.guessed_rate
        return {
            "codec": stream.codec_context.name,
            "width": width,
            "height": height,
            "pixel_format": first.format.name,
            "color_range": "full" if _is_full_range(first) else "limited",
            "color_matrix": int(first.colorspace),
            "rotation_degrees": first.rotation,
            "sample_aspect_ratio": _ratio_text(stream.sample_aspect_ratio),
            "stated_frame_rate_hz": float(rate) if rate else None,
            "constant_frame_rate": bool(len(steps) == 0 or np.ptp(steps) <= 0.002),
            "times": "assumed from the frame rate" if self._assumed_times else "container",
        }


def _tagged_seconds(text: str) -> float:
    """Return the seconds of Matroska's tag DURATION, `HH:MM:SS.nnn`; 0 without one."""
    try:
        hours, minutes, seconds = map(float, text.split(":"))
    except ValueError:
        return 0.0
    return seconds + minutes * 60 + hours * 3600


def _duration_seconds(stream: VideoStream) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def _ratio_text(ratio: Any) -> str:
    # PyAV 18 gives a Fraction, 19 another type
    return str(Fraction(ratio.numerator, ratio.denominator)) if ratio else "1"


def count_packets(path: Path, raw: RawGeometry | None = None) -> int:
    """Return the number of packets of the video, most often its number of frames, without decoding."""
    with _opened(path, raw) as container:
        stream = _video_stream(container, path)
        try:
            return sum(1 for packet in container.demux(stream) if packet.size)
        except (av.FFmpegError, OSError) as error:
            message = f"'{path}' breaks while its packets are counted: {error}."
            raise VideoError("breaks-midway", message) from error


def stated_samples(path: Path, raw: RawGeometry | None = None) -> int:
    """Return frames × pixels by the header, or by duration and rate if it counts no frames; at least 1."""
    with _opened(path, raw) as container:
        stream = _video_stream(container, path)
        seconds = _duration_seconds(stream) or (container.duration or 0) / av.time_base
        frames = stream.frames or round(seconds * float(stream.average_rate or stream.guessed_rate or 25))
        return max(1, frames * stream.codec_context.width * stream.codec_context.height)


def _opened(path: Path, raw: RawGeometry | None, hardware: str | None = None) -> InputContainer:
    if not path.is_file():
        raise VideoError("cannot-open", f"'{path}' is not a file.")
    if path.suffix.lower() in RAW_SUFFIXES:
        return _opened_raw(path, raw)
    options = dict(_TAG_OPTIONS)
    if hardware:
        options["hwaccel"] = HWAccel(hardware, allow_software_fallback=False)
    try:
        # absolute, since FFmpeg takes what is before a colon for a protocol
        return cast(InputContainer, av.open(path.absolute(), mode="r", **options))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError("cannot-open", f"'{path}' cannot be opened: {error}.") from error


def _opened_raw(path: Path, raw: RawGeometry | None) -> InputContainer:
    if raw is None:
        message = f"'{path}' is raw video without a header; state its size, pixel format and rate under [raw]"
        raise VideoError("no-geometry", f"{message} in a manifest (for `vqafeat predict`, with --raw).")
    frame_bytes = _raw_frame_bytes(raw)
    size, frame_size = path.stat().st_size, f"{raw.width}x{raw.height}"
    if size == 0 or size % frame_bytes:
        message = f"'{path}' has {size} bytes, no multiple of {frame_bytes} ({frame_size} {raw.pixel_format})"
        raise VideoError("breaks-midway", f"{message}: it is cut, or its geometry is another.")
    rate = str(raw.frame_rate_hz)
    options = {"video_size": frame_size, "pixel_format": raw.pixel_format, "framerate": rate}
    return av.open(path, mode="r", format="rawvideo", options=options)


def _raw_frame_bytes(raw: RawGeometry) -> int:
    try:
        pixel_format = av.VideoFormat(raw.pixel_format, raw.width, raw.height)
    except ValueError as error:
        message = f"pixel_format '{raw.pixel_format}' is none that FFmpeg knows"
        raise VideoError("no-geometry", f"{message}; yuv420p and yuvj420p are usual.") from error
    return sum(item.width * item.height * ((item.bits + 7) // 8) for item in pixel_format.components)


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        kinds = ", ".join(sorted({item.type for item in container.streams})) or "none at all"
        raise VideoError("no-video-stream", f"'{path}' has no video stream (streams: {kinds}).")
    return stream
