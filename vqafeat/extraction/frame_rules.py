"""Which frames of a video a network sees."""

from collections.abc import Callable
from dataclasses import dataclass

from vqafeat.registry import Registry
from vqafeat.store.types import uniform_frames


@dataclass(frozen=True)
class FrameRule:
    """A choice of frames.

    Attributes:
        picks: number of frames of the video → the indices to see, increasing; None where every frame is seen, whatever the number.
        described: for the identity.
    """

    picks: Callable[[int], list[int]] | None
    described: str


FRAME_RULES: Registry[FrameRule] = Registry("frame rule")
FRAME_RULES.add("every", FrameRule(None, "every frame"))
FRAME_RULES.add("uniform128", FrameRule(lambda frames: uniform_frames(frames, 128), "128 frames at equal intervals"))
