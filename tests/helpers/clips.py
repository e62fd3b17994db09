"""Tiny video files for tests."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from vqafeat.video import DecodeJob


def noise_frames(count: int, width: int = 64, height: int = 48, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, height, width, 3) smooth random pictures, each another one."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width].copy()


def write_clip(
    path: Path,
    frames: npt.NDArray[np.uint8],
    rate: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    seconds: list[float] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write RGB frames as a video file; `seconds` gives each its own presentation time."""
    with av.open(path, "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 1000) if seconds else Fraction(1, rate)
        for index, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
            picture.pts = round(seconds[index] * 1000) if seconds else index
            picture.time_base = stream.codec_context.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def jobs_of(paths: Iterable[Path]) -> Callable[[], tuple[str, DecodeJob] | None]:
    """What a pool asks for its next job: one for each path, under the name of its file."""
    waiting = iter(paths)
    return lambda: next(((path.name, DecodeJob(path)) for path in waiting), None)
