"""How large a video may be before it is refused, so that a hostile header or an endless stream costs its video alone."""

from dataclasses import dataclass
from pathlib import Path

from vqafeat.errors import ArgumentError, VideoError

FFMPEG_MAX_PIXELS = 2**31 - 1


@dataclass(frozen=True)
class DecodeLimits:
    """The largest video that is decoded.

    Attributes:
        max_pixels: of a frame, width times height; the usual one is twice 8K.
        max_frames: of a video; the usual number is nine hours at 60 frames a second.

    Raises:
        ArgumentError: a limit is below 1, or more pixels than FFmpeg can be told.
    """

    max_pixels: int = 1 << 26
    max_frames: int = 2_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= FFMPEG_MAX_PIXELS:
            raise ArgumentError(f"max_pixels is {self.max_pixels}; it has to be 1 to {FFMPEG_MAX_PIXELS}.")
        if self.max_frames < 1:
            raise ArgumentError(f"max_frames is {self.max_frames}; it has to be at least 1.")

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Refuse a frame size.

        Raises:
            VideoError: it is larger than allowed.
        """
        if width * height > self.max_pixels:
            raise VideoError(
                "too-large",
                f"'{path}' has frames of {width}x{height}, more than the {self.max_pixels} pixels allowed; if they are meant, "
                f"give --max-pixels {width * height}.",
            )

    def check_count(self, path: Path, frames: int) -> None:
        """Refuse a number of frames.

        Raises:
            VideoError: there are more than allowed.
        """
        if frames > self.max_frames:
            raise VideoError("too-long", f"'{path}' has more than {self.max_frames} frames; if it is meant, give a larger --max-frames.")
