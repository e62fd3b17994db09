"""What a store says of its videos, however its arrays lie, and the table of the ways in which they can
lie.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from vqafeat.errors import StoreError
from vqafeat.registry import Registry
from vqafeat.remote import Found, Item, StorePath
from vqafeat.store.types import VideoFeatures

PLAIN, PACKED = "plain", "packed"
_DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class StoredVideo:
    """What a store says of a video's rows in one feature set.

    Attributes:
        video: its name.
        rows: how many there are.
        channels: the width of a row.
        dtype: float16 or float32.
        source_sha256: of the file that they were made from; empty where it is not known.

    Raises:
        StoreError: a value cannot be of rows, so the store's metadata is damaged.
    """

    video: str
    rows: int
    channels: int
    dtype: str
    source_sha256: str

    def __post_init__(self) -> None:
        if self.rows < 1 or self.channels < 1 or self.dtype not in _DTYPES:
            raise StoreError(
                f"video '{self.video}' is stored with {self.rows} rows of {self.channels} channels as "
                f"'{self.dtype}'; at least one of "
                f"each and {' or '.join(_DTYPES)} are possible, so its metadata is damaged: extract it again."
            )

    @property
    def bytes(self) -> int:
        """How many bytes the rows take, with the frame index of each."""
        return self.rows * (self.channels * np.dtype(self.dtype).itemsize + np.dtype(np.int32).itemsize)


class Layout(Protocol):
    """How the arrays of a store lie. Names are of videos and feature sets; what is not marked complete is not
    there.
    """

    @property
    def name(self) -> str:
        """Its name in the table of layouts."""

    def map_concurrently(self, look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """Return what `look` finds of each item, in order; many at once where each is a request."""

    def labels(self) -> dict[str, Any]:
        """Return the attributes of the labels, or none where they are missing or damaged."""

    def permutations(self) -> npt.NDArray[np.int32] | None:
        """Return (video, run) the published splits, where there are any."""

    def feature_sets(self) -> list[str]:
        """Return the names of the feature sets, sorted."""

    def identity(self, feature_set: str) -> dict[str, Any] | None:
        """Return the identity of a feature set as JSON values."""

    def timed_videos(self) -> list[str]:
        """Return the videos whose frame times are stored, sorted."""

    def source(self, video: str) -> dict[str, Any] | None:
        """Return where a video's frames came from."""

    def seconds(self, video: str) -> npt.NDArray[np.float64]:
        """Return (frame,) presentation times of a video that has them."""

    def stored_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose rows are stored, sorted."""

    def stored(self, feature_set: str, video: str) -> StoredVideo | None:
        """Return what is said of a video's rows."""

    def read(self, feature_set: str, video: StoredVideo, checked: bool) -> VideoFeatures:
        """Return the rows of a video; checked, only where their check sums are right."""

    def damaged_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield for each thing that is wrong outside of the rows the video, or nothing where it is no
        video's, and a sentence.
        """

    def damaged_rows(self, feature_set: str) -> Iterator[tuple[str, list[str]]]:
        """Read all rows of a feature set; yield each video with a sentence for each thing that is wrong with
        them.
        """


LAYOUTS: Registry[Callable[[StorePath, zarr.Group], Layout]] = Registry("layout of a store")
