"""Pictures to an H.264 file in MP4, the same bytes whenever the same libraries are given the same pictures."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace

from vqafeat.demo.camera import Pictures


def write_h264(path: Path, pictures: Pictures, frame_rate_hz: int, crf: float) -> None:
    """Write `pictures` at `frame_rate_hz` to `path` with libx264; the file appears under its name only when it is whole."""
    part = path.with_name(path.name + ".part")
    height, width = pictures.luma.shape[1:]
    with av.open(part, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        # One thread and no timestamps or version strings: nothing in the file depends on when or where it was written.
        stream = container.add_stream(
            "libx264", rate=Fraction(frame_rate_hz), options={"crf": f"{crf:g}", "preset": "veryfast", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.flags |= Flags.bitexact
        stream.codec_context.thread_count = 1
        stream.codec_context.color_range, stream.codec_context.colorspace = ColorRange.MPEG, Colorspace.SMPTE170M
        for number, planes in enumerate(zip(*pictures.planes(), strict=True)):
            frame = av.VideoFrame.from_ndarray(np.concatenate([plane.reshape(-1, width) for plane in planes]), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, frame_rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.replace(path)
