"""Single pictures of a video."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.extraction.video import VideoReader


def stills(path: Path, frames: Collection[int], raw: RawGeometry | None = None) -> dict[int, npt.NDArray[np.uint8]]:
    """Return frame → (height, width, 3) RGB of decoded frames, counted from 0; the video is read up to the last of them.

    Raises:
        VideoError: it cannot be decoded that far, or has fewer frames.
    """
    found: dict[int, npt.NDArray[np.uint8]] = {}
    with VideoReader(path, raw) as reader:
        for frame in reader:
            if frame.index in frames:
                found[frame.index] = frame.rgb
            if len(found) == len(set(frames)):
                return found
    raise VideoError("no-frames", f"'{path}' has no frame {max(set(frames) - set(found))}; it ends before.")
