"""Clips: which frames a temporal network sees together, and which frame each of its rows belongs to."""

from dataclasses import dataclass

from vqafeat.errors import ArgumentError


@dataclass(frozen=True)
class ClipRule:
    """Blocks of consecutive frames, as Li et al.'s released `CNNfeatures_Motion.py` cuts them (FACTS § 2).

    The video is cut into blocks of `window` frames without overlap. The last block is the video's last `window` frames and gives
    only rows that no block before it covers. A video of at most `window` frames is one block, resampled to `inputs` frames, which
    repeats frames where there are fewer.

    Attributes:
        window: frames of a block.
        inputs: frames of it that the network sees, at equal steps from the first to the last, truncated to whole frames.
        steps: rows that a block gives; each covers inputs / steps frames and belongs to the middle one of them, the later of two.
    """

    window: int
    inputs: int
    steps: int

    def __post_init__(self) -> None:
        if not 2 <= self.inputs <= self.window or self.steps < 1 or self.inputs % self.steps:
            raise ArgumentError(
                f"a clip of {self.window} frames cannot give {self.steps} steps from {self.inputs} inputs: "
                "inputs has to be from 2 to window, and a multiple of steps."
            )

    def picked(self, length: int) -> list[int]:
        """Return the positions, inside a block of `length` frames, of the frames that the network sees."""
        return [position * (length - 1) // (self.inputs - 1) for position in range(self.inputs)]

    def rows(self, first: int, length: int, covered: int) -> list[tuple[int, int]]:
        """Return (step, frame) of the rows to keep from the block that starts at frame `first`.

        Args:
            covered: frames before this one belong to rows of earlier blocks.
        """
        picked, width = self.picked(length), self.inputs // self.steps
        ends = {step: first + picked[(step + 1) * width - 1] for step in range(self.steps)}
        return [(step, first + picked[step * width + width // 2]) for step in range(self.steps) if ends[step] >= covered]

    def __str__(self) -> str:
        return f"blocks of {self.window} frames, {self.inputs} of them seen, {self.steps} rows; the last block ends with the video"
