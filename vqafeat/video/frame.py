"""One decoded frame: the layout of its bytes, its orientation, and its conversion to RGB."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees, hypot
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vqafeat.errors import ArgumentError, VideoError
from vqafeat.video.iso_media import Cropping

FFMPEG_MAX_PIXELS = 2**31 - 1
HARDWARE_FORMAT = "nv12"  # NVDEC's 8-bit 4:2:0: the same samples, U and V in turn
PLANAR_FORMATS = ("yuv420p", "yuvj420p")
FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
COLOUR_MATRICES = {0: "GBR", 8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085", 14: "ICtCp"}
# swscale's coefficients of Cr→R, Cb→B, Cb→G, Cr→G in 1/65536, by FFmpeg's number of the colour matrix
COEFFICIENTS = {
    1: (117489, 138438, 13975, 34925),  # BT.709
    2: (104597, 132201, 25675, 53279),  # not stated: BT.601
    5: (104597, 132201, 25675, 53279),  # BT.470 BG
    6: (104597, 132201, 25675, 53279),  # SMPTE 170M
}


@dataclass(frozen=True)
class DecodeLimits:
    """The largest video that is decoded."""

    max_pixels: int = 1 << 26  # of a frame, width times height: twice 8K
    max_frames: int = 2_000_000  # of a video: nine hours at 60 frames a second

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= FFMPEG_MAX_PIXELS:
            raise ArgumentError(f"max_pixels is {self.max_pixels}; it has to be 1 to {FFMPEG_MAX_PIXELS}.")
        if self.max_frames < 1:
            raise ArgumentError(f"max_frames is {self.max_frames}; it has to be at least 1.")

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Raise VideoError if frames are larger than allowed."""
        if (pixels := width * height) > self.max_pixels:
            problem = f"has frames of {width}x{height}, more than the {self.max_pixels} pixels allowed"
            hint = f"if that is right, give --max-pixels {pixels}"
            raise VideoError("too-large", f"'{path}' {problem}; {hint}.")

    def check_count(self, path: Path, frames: int) -> None:
        """Raise VideoError if there are more frames than allowed."""
        if frames > self.max_frames:
            message = f"'{path}' has more than {self.max_frames} frames; if that is right, give --max-frames."
            raise VideoError("too-long", message)


@dataclass(frozen=True)
class FrameLayout:
    """The bytes of one frame."""

    width: int  # as coded, in samples
    height: int
    planes: bool  # Y, U and V of 8-bit 4:2:0, one after the other; else packed RGB
    matrix: int  # FFmpeg's number of the colour matrix, for planes
    full_range: bool  # luma from 0 to 255, not 16 to 235, for planes
    quarter_turns: int  # counter-clockwise, before the frame is shown
    mirrored: bool = False  # left and right are swapped before the turns

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ArgumentError(f"a frame of {self.width}x{self.height} has no samples.")
        if self.planes and (self.width % 2 or self.height % 2 or self.matrix not in COEFFICIENTS):
            raise ArgumentError(
                f"planes of {self.width}x{self.height} with matrix {self.matrix} have no exact conversion."
            )

    @property
    def nbytes(self) -> int:
        """The bytes of a frame."""
        return self.width * self.height * 3 // (2 if self.planes else 1)

    @property
    def is_upright_planes(self) -> bool:
        """Whether frames are planes that are neither turned nor mirrored."""
        return self.planes and not self.quarter_turns and not self.mirrored

    @property
    def coefficients(self) -> tuple[int, int, int, int]:
        """swscale's factors of V→R, U→B, U→G and V→G in 1/8192, for planes."""
        scale = 224 / 255 if self.full_range else 1.0
        red_v, blue_u, green_u, green_v = (
            (int(coefficient * scale) + 4) >> 3 for coefficient in COEFFICIENTS[self.matrix]
        )
        return red_v, blue_u, green_u, green_v

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) after the rotation."""
        return (self.height, self.width) if self.quarter_turns % 2 else (self.width, self.height)


@dataclass(frozen=True)
class Frame:
    """One decoded frame, valid until the next one is requested."""

    index: int  # among the decoded frames, from 0
    seconds: float
    layout: FrameLayout  # of the bytes that `write_to` writes
    picture: VideoFrame

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3) uint8 by swscale, as it is shown."""
        rgb = _converted(self.picture)
        return np.rot90(rgb[:, ::-1] if self.layout.mirrored else rgb, self.layout.quarter_turns)

    def write_to(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Copy the frame into (layout.nbytes,) uint8."""
        if not self.layout.planes:
            buffer[:] = _converted(self.picture).reshape(-1)
            return
        start, width, height = 0, self.layout.width, self.layout.height
        # Y, U and V, without the padding of their lines
        for plane, part in zip(self.picture.planes, (1, 2, 2), strict=True):
            lines = np.asarray(memoryview(plane)).reshape(-1, plane.line_size)
            samples = lines[: height // part, : width // part]
            buffer[start : start + samples.size].reshape(samples.shape)[...] = samples
            start += samples.size


def format_name(picture: VideoFrame) -> str:
    """Return FFmpeg's name of the format of the samples, also of those on a GPU."""
    return str((picture.sw_format or picture.format).name)


def layout_of(picture: VideoFrame, from_hardware: bool = False) -> FrameLayout:
    """Return how a picture is passed on: planes if their exact conversion is known, else swscale's RGB."""
    matrix = int(picture.colorspace)
    name = format_name(picture)
    full_range = int(picture.color_range) == FULL_RANGE or name.startswith("yuvj")
    even = picture.width % 2 == 0 and picture.height % 2 == 0
    known = PLANAR_FORMATS + ((HARDWARE_FORMAT,) if from_hardware else ())
    top_down = all(plane.line_size > 0 for plane in picture.planes)
    planes = name in known and even and top_down and matrix in COEFFICIENTS
    # from the container, or from an SEI message of the stream
    display: Any = picture.side_data.get("DISPLAYMATRIX")
    turns, mirrored = (0, False) if display is None else orientation_of(struct.unpack("=9i", display))
    size = picture.width, picture.height
    return FrameLayout(*size, planes, matrix if planes else 0, full_range, turns, mirrored)


def orientation_of(matrix: Sequence[int]) -> tuple[int, bool]:
    """Return (quarter turns counter-clockwise, mirrored first) of a display matrix of nine numbers.

    The rule is that of FFmpeg's command line (`ffmpeg_filter.c`, `configure_input_video_filter`); angles are
    rounded to quarters.
    """
    a, b, _, c, d, *_ = matrix
    first, second = hypot(a, c), hypot(b, d)
    if not first or not second:
        return 0, False
    turns = round(degrees(atan2(b / second, a / first)) / 90) % 4  # clockwise
    if turns % 2:
        mirrored = c > 0 if turns == 1 else c < 0
        return turns if mirrored else 4 - turns, mirrored
    return 2 if d < 0 else 0, (a < 0) != (d < 0)


def _converted(picture: VideoFrame) -> npt.NDArray[np.uint8]:
    try:
        # FFmpeg's command line interpolates chroma so; PyAV would by BILINEAR
        rgb = picture.reformat(format="rgb24", interpolation="BICUBIC")
        return rgb.to_ndarray().astype(np.uint8, copy=False)
    except (av.FFmpegError, OSError) as error:
        matrix = COLOUR_MATRICES.get(int(picture.colorspace), str(picture.colorspace))
        frames = f"frames in {picture.format.name} with the colour matrix {matrix}"
        hint = "encode the video again with the matrix BT.709"
        message = f"{frames} cannot be converted to RGB by swscale; {hint}."
        raise VideoError("unsupported-colour", message) from error


class CropFilter:
    """FFmpeg's exact crop filter, for cropping that a container states."""

    def __init__(self, cropping: Cropping) -> None:
        self._cropping = cropping
        self._graph: av.filter.Graph | None = None

    def apply(self, picture: VideoFrame) -> VideoFrame:
        """Return the part of the picture that is shown; one on a GPU is fetched first."""
        if (name := format_name(picture)) != picture.format.name:
            picture = picture.reformat(format=name)
        if self._graph is None:
            width, height = picture.width, picture.height
            left, top, right, bottom = self._cropping.samples(width, height)
            size = f"{width - left - right}:{height - top - bottom}:{left}:{top}"
            self._graph = graph = av.filter.Graph()
            form, time_base = picture.format, picture.time_base
            source = graph.add_buffer(width=width, height=height, format=form, time_base=time_base)
            nodes = (source, graph.add("crop", f"{size}:exact=1"), graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()
        self._graph.vpush(picture)
        return self._graph.vpull()
