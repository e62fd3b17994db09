"""One decoded frame: the layout of its bytes, its orientation, and its conversion to RGB."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vqafeat.errors import ArgumentError, VideoError
from vqafeat.video.frame_layout import COEFFICIENTS, FrameLayout, orientation_of
from vqafeat.video.iso_media import Cropping

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


HARDWARE_FORMAT = "nv12"  # NVDEC's 8-bit 4:2:0: the same samples, U and V in turn
PLANAR_FORMATS = ("yuv420p", "yuvj420p")
FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
COLOUR_MATRICES = {0: "GBR", 8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085", 14: "ICtCp"}


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
        """(height, width, 3) uint8 by swscale, as it is shown."""
        rgb = _converted(self.picture)
        return np.rot90(rgb[:, ::-1] if self.layout.mirrored else rgb, self.layout.quarter_turns)

    def write_to(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Copy the frame into (layout.nbytes,) uint8."""
        if not self.layout.planes:
            buffer[:] = _converted(self.picture).reshape(-1)
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
    matrix, full_range = int(picture.colorspace), is_full_range(picture)
    even = picture.width % 2 == 0 and picture.height % 2 == 0
    known = PLANAR_FORMATS + ((HARDWARE_FORMAT,) if from_hardware else ())
    top_down = all(plane.line_size > 0 for plane in picture.planes)
    planes = picture.format.name in known and even and top_down and matrix in COEFFICIENTS
    turns, mirrored = orientation(picture)
    size = picture.width, picture.height
    return FrameLayout(*size, planes, matrix if planes else 0, full_range, turns, mirrored)


def orientation(picture: VideoFrame) -> tuple[int, bool]:
    """Return the quarter turns and the mirror of a picture's display matrix, from its container or SEI."""
    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    return orientation_of(struct.unpack("=9i", memoryview(matrix))) if matrix is not None else (0, False)


def _converted(picture: VideoFrame) -> npt.NDArray[np.uint8]:
    try:
        # FFmpeg's command line interpolates chroma so; PyAV would by BILINEAR
        rgb = picture.reformat(format="rgb24", interpolation="BICUBIC")
        return rgb.to_ndarray().astype(np.uint8, copy=False)
    except (av.FFmpegError, OSError) as error:
        matrix = COLOUR_MATRICES.get(int(picture.colorspace), str(picture.colorspace))
        raise VideoError(
            "unsupported-colour",
            f"frames in {picture.format.name} with the colour matrix {matrix} cannot be converted to RGB by "
            "swscale; encode the video again with the matrix BT.709.",
        ) from error


def is_full_range(picture: VideoFrame) -> bool:
    """Return whether luma is from 0 to 255, not from 16 to 235."""
    return int(picture.color_range) == FULL_RANGE or picture.format.name.startswith("yuvj")


class CropFilter:
    """FFmpeg's exact crop filter, for cropping that a container states."""

    def __init__(self, cropping: Cropping) -> None:
        self._cropping, self._graph = cropping, av.filter.Graph()
        self._is_built = False

    def apply(self, picture: VideoFrame) -> VideoFrame:
        """Return the part of the picture that is shown."""
        left, top, right, bottom = self._cropping.samples(picture.width, picture.height)
        if not self._is_built:
            size = f"{picture.width - left - right}:{picture.height - top - bottom}:{left}:{top}"
            source = self._graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
            )
            crop, sink = self._graph.add("crop", f"{size}:exact=1"), self._graph.add("buffersink")
            source.link_to(crop)
            crop.link_to(sink)
            self._graph.configure()
            self._is_built = True
        self._graph.vpush(picture)
        return self._graph.vpull()
