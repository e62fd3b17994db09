"""Decoding: one video file as a stream of frames with their presentation times, in constant memory.

- RGB is swscale's conversion of the decoded picture to 8 bits, by the matrix and range that the stream
  states, BT.601 and limited range where it states none, with bicubic chroma: the values of FFmpeg's command
  line, bit for bit. Planes of 8-bit 4:2:0 of even size are passed on as they are, and `rgb.py` computes the
  same values on the device. Versions of the libraries are part of a feature set's identity.
- Turns of 90 degrees, mirrors and cropping that the container or the stream states are applied as FFmpeg's
  command line does; non-square samples stay as coded.
- Every frame that the decoder shows counts, whatever the header claims, at its time from the start of the
  file. Where a frame has no time stamp, its time is estimated by FFmpeg's rule, and `source` names it.
- A file that was cut is refused by the sizes that its container states (`completeness.py`), by the error of
  its decoder, by a damaged packet or frame, or, without stated sizes, by FFmpeg's warnings about its last
  packet.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from math import inf, isfinite
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vqafeat.datasets import RawGeometry
from vqafeat.datasets.dataset import BAD_TIMES, times_problem
from vqafeat.errors import VideoError
from vqafeat.video import mpeg_ts
from vqafeat.video.completeness import container_cropping, cut_reason, states_sizes
from vqafeat.video.frame import CropFilter, DecodeLimits, Frame, format_name, layout_of

RAW_SUFFIXES = (".yuv",)
FRAMES_KEPT = 8  # of a reader on a GPU, by its caller; a decoder has 32, and other frames refer to most
_LogMessage = tuple[int, str, str]  # level, name and text
_USUAL_SIZES = ((3840, 2160), (1920, 1080), (1280, 720))  # of raw files, for messages
# tags in broken UTF-8 are no reason to refuse a video; PyAV 19 ignores them by itself
_TAG_OPTIONS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def decoder_identity() -> str:
    """Describe what pixel values depend on: the versions of FFmpeg's libraries, the conversion to RGB."""
    codec, scale = (".".join(map(str, av.library_versions[name])) for name in ("libavcodec", "libswscale"))
    return (
        f"PyAV {av.__version__} (libavcodec {codec}, libswscale {scale}), "
        "RGB, orientation and cropping as FFmpeg's command line: 8-bit 4:2:0 by its integer formula, others "
        "by swscale with bicubic chroma"
    )


class VideoReader(AbstractContextManager["VideoReader"]):
    """A video opened for one pass: iterate over its frames, then call `source`.

    One CPU thread decodes, or the device `hardware`. VideoError says why a video cannot be opened or breaks.
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
        self._container = open_container(path, raw, hardware)
        try:
            self._stream = video_stream(self._container, path)
            codec = self._stream.codec_context
            self._limits.check_size(path, codec.width, codec.height)
        except VideoError:
            self._container.close()
            raise
        codec.thread_count = 1
        # max_pixels holds for what the stream claims later; unaligned, so that cropping is exact
        codec.options = {"max_pixels": str(self._limits.max_pixels), "flags": "unaligned"}
        if hardware:
            codec.options |= {"extra_hw_frames": str(FRAMES_KEPT + 2)}  # and `_first`, and the next one
        cropping = None if raw else container_cropping(path, self._stream.id)
        self._crop = cropping and CropFilter(cropping)
        self._clock = _Clock(self._stream, self._container.start_time)
        self._corrupt_frames, self._sound = 0, False
        self._is_transport_stream = self._container.format.name == "mpegts"
        self._states_sizes = raw is not None or states_sizes(path)
        self._late_seconds, self._last_complaint = 0.0, ""
        self._first: VideoFrame | None = None

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        end_seconds, packets = 0.0, 0
        if self._is_transport_stream and (reason := mpeg_ts.damage(self.path, self._stream.id)):
            raise self._broken(reason)
        try:
            for packet, pictures in self._decoded():
                if packet.size:
                    packets += 1
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    if stamp is not None and packet.time_base is not None:
                        end = (stamp + (packet.duration or 0)) * packet.time_base
                        end_seconds = max(end_seconds, float(end))
                yield from map(self._frame, pictures)
        except (av.FFmpegError, OSError) as error:
            raise self._broken(error.strerror or str(error)) from error
        if self._corrupt_frames:
            raise self._broken(f"{self._corrupt_frames} of its frames are damaged")
        if self._last_complaint:
            raise self._broken(f"FFmpeg reports at its end: {self._last_complaint}")
        if not self._clock.seconds:
            raise VideoError("no-frames", f"'{self.path}' holds no frame that decodes.")
        self._refuse_early_end(packets, end_seconds)

    def _decoded(self) -> "Iterator[tuple[Packet[Any], list[VideoFrame]]]":
        """Yield each packet and the frames that it completes; note what FFmpeg reports of the last one."""
        packets, codec = self._container.demux(self._stream), self._stream.codec_context
        while True:
            with nullcontext(list[_LogMessage]()) if self._states_sizes else _messages() as messages:
                if (packet := next(packets, None)) is None:
                    return
                packet = self._sound_packet(packet)
                pictures = codec.decode(packet if packet.size else None)
            earlier = "" if packet.size else self._last_complaint
            self._last_complaint = next((text.strip() for _, _, text in messages), earlier)
            yield packet, pictures

    def _sound_packet(self, packet: "Packet[Any]") -> "Packet[Any]":
        """Refuse a damaged packet, but not one between joined MPEG-TS segments, which FFmpeg marks alike."""
        if not packet.is_corrupt:
            return packet
        if not self._is_transport_stream:
            raise self._broken("a packet of the stream is cut or damaged")
        copy: Packet[Any] = Packet(bytes(packet))
        for name in ("pts", "dts", "time_base", "stream"):
            setattr(copy, name, getattr(packet, name))
        return copy

    def _frame(self, picture: VideoFrame) -> Frame:
        self._limits.check_size(self.path, picture.width, picture.height)
        index, seconds = len(self._clock.seconds), self._clock.time_of(picture)
        picture = self._crop.apply(picture) if self._crop else picture
        first = self._first = self._first or picture
        if (picture.width, picture.height) != (first.width, first.height):
            sizes = f"from {first.width}x{first.height} to {picture.width}x{picture.height} at frame {index}"
            raise VideoError("size-changes", f"'{self.path}' changes {sizes}; split it by size.")
        self._limits.check_count(self.path, index + 1)
        # a stream that was joined in its middle opens with damaged frames; damage after those is a break
        self._sound = self._sound or not picture.is_corrupt
        self._corrupt_frames += bool(picture.is_corrupt) and self._sound
        return Frame(index, seconds, layout_of(picture, self._from_hardware), picture)

    def _broken(self, reason: str) -> VideoError:
        of = f" of {self._stream.frames}" if self._stream.frames else ""
        message = f"'{self.path}' breaks after {len(self._clock.seconds)}{of} frames: {reason}."
        return VideoError("breaks-midway", message)

    def _refuse_early_end(self, packets: int, end_seconds: float) -> None:
        """Refuse a movie whose sample table states more samples and a later end; note other early ends."""
        # the count alone proves nothing, since edit lists hide samples; neither does a duration
        stream, rate = self._stream, self._stream.average_rate
        stated = max(_tagged_seconds(stream.metadata.get("DURATION", "")), duration_seconds(stream) or 0.0)
        by_count = float(stream.frames / rate) if rate and packets < stream.frames else 0.0
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        stated_end = max(stated, by_count) + start
        steps = np.diff(self._clock.seconds)
        tolerance = 1.5 * max(stated_end / max(stream.frames, packets, 1), float(steps.max(initial=0)))
        if packets <= 1 or end_seconds >= stated_end - tolerance:
            return
        if packets < stream.frames and "mov" in self._container.format.name:
            raise self._broken(f"the stream ends at {end_seconds:.3f} s of {stated_end:.3f} s")
        self._late_seconds = stated_end - end_seconds

    def source(self) -> dict[str, Any]:
        """Return properties of the decoded video, as JSON values for the store; after the last frame."""
        first, stream = self._first, self._stream
        if first is None:
            raise VideoError("no-frames", f"read the frames of '{self.path}' before its source.")
        steps = np.diff(self._clock.seconds)
        rate, ratio = stream.average_rate or stream.guessed_rate, stream.sample_aspect_ratio
        several = len(self._container.streams.video) > 1
        layout = layout_of(first)
        width, height = layout.shown_size
        return {
            "codec": stream.codec_context.name,
            "width": width,
            "height": height,
            "pixel_format": format_name(first),
            "color_range": "full" if layout.full_range else "limited",
            "color_matrix": int(first.colorspace),
            "rotation_degrees": first.rotation,
            **({"mirrored": True} if layout.mirrored else {}),
            **({"stream_index": stream.index} if several else {}),
            # PyAV 18 gives a Fraction, 19 another type
            "sample_aspect_ratio": str(Fraction(ratio.numerator, ratio.denominator)) if ratio else "1",
            "stated_frame_rate_hz": float(rate) if rate else None,
            "constant_frame_rate": bool(len(steps) == 0 or np.ptp(steps) <= 0.002),
            **self._clock.described(),
            **({"stated_seconds_after_last_frame": self._late_seconds} if self._late_seconds else {}),
        }


@contextmanager
def _messages() -> Iterator[list[_LogMessage]]:
    """Collect FFmpeg's warnings and errors."""
    level, skip_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # else a message that ended the video before would be left out
    try:
        with av.logging.Capture() as messages:
            yield messages
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skip_repeated)


class _Clock:
    """Times of decoded frames: time stamps as FFmpeg guesses them (`guess_correct_pts`), always rising."""

    def __init__(self, stream: VideoStream, start: int | None) -> None:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.seconds: list[float] = []
        self._step_seconds, self._estimated = float(1 / rate), list[int]()
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._start_seconds = Fraction(start or 0, av.time_base)
        self._last_pts, self._last_dts, self._faulty_pts, self._faulty_dts = -inf, -inf, 0, 0
        self._stamps: list[float] = []

    def time_of(self, picture: VideoFrame) -> float:
        """Return the time of the next frame, in seconds, and remember it."""
        stamp = self._stamp(picture.pts, picture.dts)
        exact = stamp is not None and stamp == picture.pts
        seconds = -inf if stamp is None else float(stamp * self._time_base - self._start_seconds)
        self._stamps.append(seconds)
        if self.seconds and seconds <= self.seconds[-1]:
            seconds, exact = self.seconds[-1] + self._step_seconds, False
        seconds = 0.0 if seconds == -inf else seconds
        if not exact:
            self._estimated.append(len(self.seconds))
        self.seconds.append(seconds)
        return seconds

    def _stamp(self, pts: int | None, dts: int | None) -> int | None:
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        return pts if pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts) else dts

    def described(self) -> dict[str, Any]:
        """Return where the times come from, and the [first, last] frames of ranges with estimated times."""
        if not self._estimated:
            return {"times": "container"}
        gaps = np.flatnonzero(np.diff(self._estimated) > 1) + 1
        ranges = [[int(frames[0]), int(frames[-1])] for frames in np.split(self._estimated, gaps)]
        problem = times_problem(np.array(self._stamps)) if isfinite(min(self._stamps)) else ""
        bad = {BAD_TIMES: problem} if problem else {}
        return {"times": "partly estimated", "estimated_frames": ranges, **bad}


def _tagged_seconds(text: str) -> float:
    """Return the seconds of Matroska's tag DURATION, `HH:MM:SS.nnn`; 0 without one."""
    try:
        hours, minutes, seconds = map(float, text.split(":"))
    except ValueError:
        return 0.0
    return seconds + minutes * 60 + hours * 3600


def duration_seconds(stream: VideoStream) -> float | None:
    """Return the duration that the header states of a stream, or None."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def open_container(path: Path, raw: RawGeometry | None, hardware: str | None = None) -> InputContainer:
    """Return a video file opened by FFmpeg, which has to be closed."""
    if not path.is_file():
        raise VideoError("cannot-open", f"'{path}' is not a file.")
    if path.suffix.lower() in RAW_SUFFIXES:
        return _opened_raw(path, raw)
    if reason := cut_reason(path):
        raise VideoError("breaks-midway", f"'{path}' is cut: {reason}; get the whole file.")
    kind, _, number = (hardware or "").partition(":")
    hwaccel = None
    if kind:  # frames stay on the device, in the context that PyTorch uses
        context: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}
        hwaccel = HWAccel(
            kind, number or None, allow_software_fallback=False, options=context, is_hw_owned=True
        )
    try:
        # absolute, since FFmpeg takes what is before a colon for a protocol
        container = cast(InputContainer, av.open(path.absolute(), mode="r", hwaccel=hwaccel, **_TAG_OPTIONS))
    except (av.FFmpegError, OSError, ValueError) as error:
        # without the number and the path, which the text of these errors repeats
        words = getattr(error, "strerror", None) or error
        raise VideoError("cannot-open", f"'{path}' cannot be opened: {words}.") from error
    # _Clock estimates the time stamps that a container lacks
    container.flags &= ~cast(int, Flags.gen_pts.value)
    return container


def _opened_raw(path: Path, raw: RawGeometry | None) -> InputContainer:
    if raw is None:
        message = f"'{path}' is raw video without a header; state its size, pixel format and rate under [raw]"
        raise VideoError("no-geometry", f"{message} in a manifest (for `vqafeat predict`, with --raw).")
    size, frame_bytes, frame_size = path.stat().st_size, _raw_frame_bytes(raw), f"{raw.width}x{raw.height}"
    if size == 0 or size % frame_bytes:
        message = f"'{path}' has {size} bytes, no multiple of {frame_bytes} ({frame_size} {raw.pixel_format})"
        usual = (replace(raw, width=width, height=height) for width, height in _USUAL_SIZES)
        others = [f"{it.width}x{it.height}" for it in usual if size and size % _raw_frame_bytes(it) == 0]
        fitting = f", as {' or '.join(others)} would fit" if others else ""
        raise VideoError("breaks-midway", f"{message}: it is cut, or its geometry is another{fitting}.")
    rate = str(raw.frame_rate_hz)
    options = {"video_size": frame_size, "pixel_format": raw.pixel_format, "framerate": rate}
    return av.open(path.absolute(), mode="r", format="rawvideo", options=options)


def _raw_frame_bytes(raw: RawGeometry) -> int:
    try:
        pixel_format = av.VideoFormat(raw.pixel_format, raw.width, raw.height)
    except ValueError as error:
        message = f"pixel_format '{raw.pixel_format}' is none that FFmpeg knows"
        raise VideoError("no-geometry", f"{message}; yuv420p and yuvj420p are usual.") from error
    if pixel_format.is_planar:
        return sum(item.width * item.height * ((item.bits + 7) // 8) for item in pixel_format.components)
    shared = 1024 // pixel_format.chroma_width(1024)  # pixels of a line that share their chroma
    width = pixel_format.chroma_width(raw.width) * shared
    return raw.height * ((width * pixel_format.padded_bits_per_pixel + 7) // 8)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the video stream that FFmpeg's command line takes: the largest, default ones first."""
    streams = [item for item in container.streams.video if not item.disposition & Disposition.attached_pic]
    if not streams:
        kinds = {"attached picture" if item.type == "video" else item.type for item in container.streams}
        shown = ", ".join(sorted(kinds)) or "none at all"
        raise VideoError("no-video-stream", f"'{path}' has no video stream (streams: {shown}).")
    return max(streams, key=_preference)


def _preference(stream: VideoStream) -> int:
    is_default = bool(stream.disposition & Disposition.default)
    return stream.codec_context.width * stream.codec_context.height + 5_000_000 * is_default
