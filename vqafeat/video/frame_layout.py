"""Memory layout of a decoded frame, and the coefficients that convert it to RGB."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees, hypot

from vqafeat.errors import ArgumentError

# swscale's coefficients of Cr→R, Cb→B, Cb→G, Cr→G in 1/65536, by FFmpeg's number of the colour matrix
COEFFICIENTS = {
    1: (117489, 138438, 13975, 34925),  # BT.709
    2: (104597, 132201, 25675, 53279),  # not stated: BT.601
    5: (104597, 132201, 25675, 53279),  # BT.470 BG
    6: (104597, 132201, 25675, 53279),  # SMPTE 170M
}


@dataclass(frozen=True)
class FrameLayout:
    """The bytes of one frame.

    Attributes:
        width, height: as coded, in samples.
        planes: Y, U and V of 8-bit 4:2:0, one after the other; else packed RGB.
        matrix: FFmpeg's number of the colour matrix, for planes.
        full_range: luma from 0 to 255, not 16 to 235, for planes.
        quarter_turns: to be applied, counter-clockwise, before the frame is shown.
        mirrored: swap left and right before the turns.
    """

    width: int
    height: int
    planes: bool
    matrix: int
    full_range: bool
    quarter_turns: int
    mirrored: bool = False

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
    if turns == 1:
        return (1, True) if c > 0 else (3, False)
    if turns == 3:
        return (3, True) if c < 0 else (1, False)
    if turns == 2:
        return {(True, True): (2, False), (True, False): (0, True), (False, True): (2, True)}.get(
            (a < 0, d < 0), (0, False)
        )
    return (2, True) if d < 0 else (0, False)
