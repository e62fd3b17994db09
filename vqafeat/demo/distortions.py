"""Distortions of pristine pictures: the six kinds of LIVE-APV, at severities from 0 (pristine) to 5."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqafeat.demo.camera import Pictures, Pixels
from vqafeat.errors import ArgumentError

Index = NDArray[np.int64]

MOST_SEVERE = 5
NEAR_LOSSLESS_CRF = 8.0  # the encoder adds no visible distortion
FIELDS_BEYOND_END = 6  # the largest distance of two woven fields
PRISTINE_SCORE = 90.0
FLICKER_HZ = 6.0
LONGEST_FREEZE = 4


@dataclass(frozen=True)
class Clip:
    """A pristine clip: two fields per frame, and FIELDS_BEYOND_END more after the last frame."""

    fields: Pictures
    frame_rate_hz: int


def every_frame(frames: int, amount: float, rng: np.random.Generator) -> Index:
    """Return the field that each frame shows (frame,): the first of its two."""
    return 2 * np.arange(frames, dtype=np.int64)


def as_shown(clip: Clip, shown: Index, amount: float, rng: np.random.Generator) -> Pictures:
    """Return the pictures at `shown` as they are."""
    return clip.fields.at(shown)


@dataclass(frozen=True)
class Distortion:
    """A kind of version: `amounts` in `unit` at severities 1 … 5, each `slope` proxy-score points lower."""

    unit: str
    amounts: tuple[float, ...]
    slope: float

    def __post_init__(self) -> None:
        if len(self.amounts) not in {0, MOST_SEVERE} or self.slope < 0:
            values = f"amounts are {self.amounts}, slope is {self.slope}"
            raise ArgumentError(f"{values}; give {MOST_SEVERE} amounts or none, and a slope of at least 0.")

    def amount(self, severity: int) -> float:
        """Return the amount at a severity; 0 at severity 0."""
        if not 0 <= severity <= len(self.amounts):
            raise ArgumentError(f"severity is {severity}; it has to be 0 to {len(self.amounts)}.")
        return self.amounts[severity - 1] if severity else 0.0

    def score(self, severity: int) -> float:
        """Return the proxy score at a severity, without noise."""
        self.amount(severity)  # refuses a severity that this kind does not have
        return PRISTINE_SCORE - self.slope * severity


@dataclass(frozen=True)
class Kind(Distortion):
    """A distortion of videos."""

    # (frames, amount, generator) → the field that each frame shows
    shown: Callable[[int, float, np.random.Generator], Index] = every_frame
    # (clip, shown, amount, generator) → the pictures
    alter: Callable[[Clip, Index, float, np.random.Generator], Pictures] = as_shown
    amount_is_crf: bool = False  # whether the encoder distorts, with the amount as its constant rate factor

    def crf(self, severity: int) -> float:
        """Return the encoder's constant rate factor at a severity."""
        return self.amount(severity) if self.amount_is_crf and severity else NEAR_LOSSLESS_CRF


def _point_sampled(clip: Clip, shown: Index, amount: float, rng: np.random.Generator) -> Pictures:
    # each cell of `amount` pixels shows its middle pixel: decimation without a low-pass
    def decimated(plane: Pixels) -> Pixels:
        rows, columns = (
            np.floor((np.floor(np.arange(size) / amount) + 0.5) * amount).astype(np.int64).clip(max=size - 1)
            for size in plane.shape[1:]
        )
        return np.ascontiguousarray(plane[:, rows[:, None], columns])

    return Pictures(*map(decimated, clip.fields.at(shown)))


def _interlaced(clip: Clip, shown: Index, amount: float, rng: np.random.Generator) -> Pictures:
    def woven(first: Pixels, second: Pixels) -> Pixels:
        frame = first.copy()
        frame[:, 1::2] = second[:, 1::2]
        return frame

    first, second = clip.fields.at(shown), clip.fields.at(shown + round(amount))
    return Pictures(*map(woven, first, second))


def _uneven_cadence(frames: int, amount: float, rng: np.random.Generator) -> Index:
    # a picture taken every five fields, for example, is shown for three frames and for two in turn
    hold = round(amount)
    return np.asarray(hold * (2 * np.arange(frames, dtype=np.int64) // hold))


def _flickering(clip: Clip, shown: Index, amount: float, rng: np.random.Generator) -> Pictures:
    seconds = np.arange(len(shown)) / clip.frame_rate_hz
    gain = 1 + amount * np.sin(2 * np.pi * (FLICKER_HZ * seconds + rng.uniform()))
    luma, cb, cr = clip.fields.at(shown)
    brighter = 16 + gain[:, None, None] * (luma.astype(np.float64) - 16)
    return Pictures(np.clip(np.rint(brighter), 16, 235).astype(np.uint8), cb, cr)


def _frozen(frames: int, amount: float, rng: np.random.Generator) -> Index:
    lost = max(1, round(amount * frames))
    freezes: list[int] = []
    while sum(freezes) < lost:
        freezes.append(min(int(rng.integers(1, LONGEST_FREEZE + 1)), lost - sum(freezes)))
    kept = frames - lost
    held = np.ones(kept, dtype=np.int64)
    # each freeze follows another frame that arrived, so that no two freezes merge
    held[rng.choice(kept, size=len(freezes), replace=False)] += np.array(freezes)
    starts = np.concatenate([[0], np.cumsum(held)[:-1]])
    return 2 * np.repeat(starts, held)


KINDS = {
    "pristine": Kind("", (), 0.0),
    "compression": Kind("x264 constant rate factor", (32, 36, 40, 44, 48), 14.0, amount_is_crf=True),
    "aliasing": Kind("decimation factor", (1.5, 2.0, 2.5, 3.0, 4.0), 12.0, alter=_point_sampled),
    "interlacing": Kind(
        "distance of the woven fields in half frames", (1, 2, 3, 4, 6), 10.0, alter=_interlaced
    ),
    "judder": Kind("half frames between the pictures", (3, 5, 7, 9, 11), 6.0, shown=_uneven_cadence),
    "flicker": Kind("amplitude of the luma gain", (0.04, 0.08, 0.13, 0.19, 0.26), 8.0, alter=_flickering),
    "frame-drop": Kind("share of frames lost", (0.08, 0.16, 0.25, 0.35, 0.45), 7.0, shown=_frozen),
}
