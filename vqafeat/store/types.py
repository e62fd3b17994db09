"""What both stages exchange: features, frame times, and the identity of feature sets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, StoreError

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class FeatureSetIdentity:
    """What the numbers of a feature set depend on; two sets are the same if all compared fields agree."""

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
    # for the reader: `weights_sha256` decides what the weights are
    weights: str = field(default="unknown", compare=False)
    origin: str = field(default="vqafeat extract", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "taps", tuple(self.taps))  # a list in JSON
        if self.channels < 1:
            raise ArgumentError(f"channels of '{self.network}' is {self.channels}; it has to be at least 1.")

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments that make this identity, as JSON values."""
        return {**vars(self), "taps": list(self.taps)}

    def _compared(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.compare}

    def digest(self) -> str:
        """Return the SHA-256 of the compared fields."""
        return sha256(json.dumps(self._compared(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "FeatureSetIdentity") -> str:
        """Return the compared fields in which `other` differs, with both values."""
        own, others = self._compared(), other._compared()
        return "; ".join(
            f"{name}: {own[name]!r} against {others[name]!r}" for name in own if own[name] != others[name]
        )


@dataclass(frozen=True)
class VideoFeatures:
    """The rows of one video in one feature set."""

    values: npt.NDArray[Any]  # (row, channel) float16 or float32
    frame: npt.NDArray[np.int32]  # (row,) index of the decoded frame of each row, never decreasing

    def __post_init__(self) -> None:
        values, frame = self.values, self.frame
        if values.ndim != 2 or frame.shape != values.shape[:1]:
            raise ArgumentError(f"shapes {values.shape} and {frame.shape} are not (row, channel) and (row,).")
        if values.dtype not in (np.float16, np.float32) or frame.dtype != np.int32:
            raise ArgumentError(f"values {values.dtype} has to be float16 or 32, frame {frame.dtype} int32.")
        if len(values) == 0:
            raise ArgumentError("features of a video have to hold at least one row, got none.")

    @property
    def finite(self) -> bool:
        """Whether no value is NaN or infinite; long videos are checked in parts, to save memory."""
        starts = range(0, len(self.values), _ROWS_AT_ONCE)
        return all(np.isfinite(self.values[start : start + _ROWS_AT_ONCE]).all() for start in starts)


@dataclass(frozen=True)
class FrameTable:
    """The decoded frames of one video and the file they came from."""

    seconds: npt.NDArray[np.float64]  # (frame,) presentation time
    source: Mapping[str, Any]  # JSON values: the file's `sha256`, and for readers its size, rate and colour

    def __post_init__(self) -> None:
        seconds = self.seconds
        if seconds.ndim != 1 or seconds.dtype != np.float64 or len(seconds) == 0:
            raise ArgumentError(f"seconds {seconds.dtype} {seconds.shape} is empty or not (frame,) float64.")
        if "sha256" not in self.source:
            raise ArgumentError("source has to hold the file's 'sha256'.")


@dataclass(frozen=True)
class StoredVideo:
    """Metadata of a video's rows in a feature set."""

    video: str
    rows: int
    channels: int
    dtype: str
    source_sha256: str  # empty if the file is not known

    def __post_init__(self) -> None:
        if self.rows < 1 or self.channels < 1 or self.dtype not in ("float16", "float32"):
            shape = f"{self.rows} rows of {self.channels} channels as '{self.dtype}'"
            raise StoreError(f"metadata of video '{self.video}' are damaged: {shape}; extract it again.")

    @property
    def bytes(self) -> int:
        """Bytes of the rows, each with its int32 frame index."""
        return self.rows * (self.channels * np.dtype(self.dtype).itemsize + 4)


def uniform_frames(frames: int, count: int) -> list[int]:
    """Return `count` of `frames` frame indices at equal intervals, or all of them if there are fewer."""
    if frames <= count:
        return list(range(frames))
    return [position * frames // count for position in range(count)]
