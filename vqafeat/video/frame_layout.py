"""Memory layout of a decoded frame, and the coefficients that convert it to RGB."""

from dataclasses import dataclass

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
    """

    width: int
    height: int
    planes: bool
    matrix: int
    full_range: bool
    quarter_turns: int

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
    def shown_size(self) -> tuple[int, int]:
        """(width, height) after the rotation."""
        return (self.height, self.width) if self.quarter_turns % 2 else (self.width, self.height)
