"""What both stages exchange: features, frame times, and the identity that says what the numbers depend on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import ArgumentError, StoreError

_ROWS_AT_ONCE = 4096
_DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class FeatureSetIdentity:
    """What the numbers of a feature set depend on; two sets are the same if all compared fields agree.

    `weights` and `origin` are for the reader: `weights_sha256` decides what the weights are.
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
            value = f"channels of feature set '{self.network}' is {self.channels}"
            raise ArgumentError(f"{value}; it has to be at least 1.")

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as JSON values."""
        return {**asdict(self), "taps": list(self.taps)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSetIdentity":
        """Return the identity that `as_dict` described."""
        return cls(**{**values, "taps": tuple(values["taps"])})

    def compared(self) -> dict[str, Any]:
        """Return the fields that decide whether two identities are the same, as JSON values."""
        values = self.as_dict()
        return {item.name: values[item.name] for item in fields(self) if item.compare}

    def digest(self) -> str:
        """Return the SHA-256 of the compared fields."""
        return sha256(json.dumps(self.compared(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "FeatureSetIdentity") -> str:
        """Return the compared fields in which `other` differs, with both values."""
        values, others = self.compared(), other.compared()
        different = [name for name in values if values[name] != others[name]]
        return "; ".join(f"{name}: {values[name]!r} against {others[name]!r}" for name in different)


@dataclass(frozen=True)
class VideoFeatures:
    """The rows of one video in one feature set.

    Attributes:
        values: (row, channel) float16 or float32.
        frame: (row,) int32, index of the decoded frame that each row belongs to, never decreasing.
    """

    values: npt.NDArray[Any]
    frame: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        values, frame = self.values, self.frame
        if values.ndim != 2 or frame.shape != values.shape[:1]:
            shapes = f"{values.shape} and {frame.shape}"
            raise ArgumentError(f"features have to be (row, channel) with a frame each, got {shapes}.")
        if values.dtype not in (np.float16, np.float32) or frame.dtype != np.int32:
            types = f"{values.dtype} and {frame.dtype}"
            raise ArgumentError(f"features have to be float16 or float32 with int32 frames, got {types}.")
        if len(values) == 0:
            raise ArgumentError("features of a video have to hold at least one row, got none.")

    @property
    def finite(self) -> bool:
        """Whether no value is NaN or infinite; long videos are checked in parts, to save memory."""
        starts = range(0, len(self.values), _ROWS_AT_ONCE)
        return all(np.isfinite(self.values[start : start + _ROWS_AT_ONCE]).all() for start in starts)


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
        seconds = self.seconds
        if seconds.ndim != 1 or seconds.dtype != np.float64 or len(seconds) == 0:
            value = f"{seconds.dtype} {seconds.shape}"
            raise ArgumentError(f"seconds has to be (frame,) float64 and not empty, got {value}.")
        if "sha256" not in self.source:
            raise ArgumentError("source has to hold the file's 'sha256'.")


@dataclass(frozen=True)
class StoredVideo:
    """Metadata of a video's rows in one feature set; `source_sha256` is empty if its file is not known."""

    video: str
    rows: int
    channels: int
    dtype: str
    source_sha256: str

    def __post_init__(self) -> None:
        if self.rows < 1 or self.channels < 1 or self.dtype not in _DTYPES:
            raise StoreError(
                f"metadata of video '{self.video}' are damaged: {self.rows} rows of {self.channels} channels "
                f"as '{self.dtype}'; extract it again."
            )

    @property
    def bytes(self) -> int:
        """Bytes of the rows, each with its int32 frame index."""
        return self.rows * (self.channels * np.dtype(self.dtype).itemsize + 4)


def uniform_frames(frames: int, count: int) -> list[int]:
    """Return `count` of `frames` frame indices at equal intervals, or all of them if there are fewer."""
    if frames <= count:
        return list(range(frames))
    return [position * frames // count for position in range(count)]
