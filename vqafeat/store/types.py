"""What crosses the border between the stages: features, frame times, and the identity that says what the
numbers depend on.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class FeatureSetIdentity:
    """What the numbers of a feature set depend on; two sets may be mixed only where all compared fields
    agree.

    `weights` and `origin` are provenance for the reader: the digest decides what the weights are.
    """

    network: str
    weights_sha256: str
    taps: tuple[str, ...]
    pooling: str
    view: str
    frame_rule: str
    normalisation: str
    decoder: str
    precision: str
    channels: int
    weights: str = field(default="unknown", compare=False)
    origin: str = field(default="vqafeat extract", compare=False)

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ArgumentError(
                f"channels of feature set '{self.network}' is {self.channels}; it has to be at least 1."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as JSON values."""
        return {**asdict(self), "taps": list(self.taps)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSetIdentity":
        """Return the identity that `as_dict` described."""
        return cls(**{**values, "taps": tuple(values["taps"])})

    def compared(self) -> dict[str, Any]:
        """Return the fields that decide whether two identities are the same."""
        return {item.name: self.as_dict()[item.name] for item in fields(self) if item.compare}

    def digest(self) -> str:
        """Return the SHA-256 of the compared fields."""
        return sha256(json.dumps(self.compared(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "FeatureSetIdentity") -> str:
        """Name each compared field in which `other` differs, with both values."""
        mine, theirs = self.compared(), other.compared()
        return "; ".join(
            f"{name}: {mine[name]!r} against {theirs[name]!r}" for name in mine if mine[name] != theirs[name]
        )


@dataclass(frozen=True)
class VideoFeatures:
    """The rows of one video in one feature set.

    Attributes:
        values: (row, channel) float16 or float32.
        frame: (row,) int32, the index of the decoded frame that each row belongs to, never decreasing.
    """

    values: npt.NDArray[Any]
    frame: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.frame.shape != self.values.shape[:1]:
            raise ArgumentError(
                f"features have to be (row, channel) with a frame each, got {self.values.shape} and "
                f"{self.frame.shape}."
            )
        if self.values.dtype not in (np.float16, np.float32) or self.frame.dtype != np.int32:
            raise ArgumentError(
                f"features have to be float16 or float32 with int32 frames, got {self.values.dtype} and "
                f"{self.frame.dtype}."
            )
        if len(self.values) == 0:
            raise ArgumentError("features of a video have to hold at least one row, got none.")

    @property
    def finite(self) -> bool:
        """Whether no value is infinite or no number; long videos are looked at in parts."""
        return all(
            np.isfinite(self.values[start : start + _ROWS_AT_ONCE]).all()
            for start in range(0, len(self.values), _ROWS_AT_ONCE)
        )


@dataclass(frozen=True)
class FrameTable:
    """The decoded frames of one video and the file they came from.

    Attributes:
        seconds: (frame,) float64, presentation time.
        source: JSON values; `sha256` of the file is required, size, rate and colour are for the reader.
    """

    seconds: npt.NDArray[np.float64]
    source: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.seconds.ndim != 1 or self.seconds.dtype != np.float64 or len(self.seconds) == 0:
            raise ArgumentError(
                f"seconds has to be (frame,) float64 and not empty, got {self.seconds.dtype} "
                f"{self.seconds.shape}."
            )
        if "sha256" not in self.source:
            raise ArgumentError("source has to hold the file's 'sha256'.")


def uniform_frames(frames: int, count: int) -> list[int]:
    """Return `count` frame indices at equal intervals over a video of `frames` frames; all of them, once,
    where there are fewer.
    """
    return (
        [position * frames // count for position in range(count)] if frames > count else list(range(frames))
    )
