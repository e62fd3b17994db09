"""How much of what a run is tested on was there in training already."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vqafeat.splits import Split, shared_contents


@dataclass(frozen=True)
class Leak:
    """What one split's test part shares with its training part; no video is ever in both, another version of its content may be.

    Attributes:
        test_videos: in the test part.
        seen_videos: of these, the ones whose content is in the training part too.
        test_contents: different contents in the test part.
        seen_contents: of these, the ones in the training part too.
    """

    test_videos: int
    seen_videos: int
    test_contents: int
    seen_contents: int

    @classmethod
    def of(cls, split: Split, contents: Sequence[str]) -> "Leak":
        """Return what leaks in one split; `contents` is by row."""
        tested, shared = [contents[row] for row in split.test], set(shared_contents(split, contents))
        return cls(len(tested), sum(content in shared for content in tested), len(set(tested)), len(shared))


@dataclass(frozen=True)
class LeakReport:
    """What leaks in each split of a run."""

    splits: tuple[Leak, ...]

    @classmethod
    def of(cls, splits: Sequence[Split], contents: Sequence[str]) -> "LeakReport":
        """Return what leaks in each split; `contents` is by row."""
        return cls(tuple(Leak.of(split, contents) for split in splits))

    @property
    def note(self) -> str:
        """What a reader of the metrics has to know, the split with the largest share; empty where nothing leaks."""
        leaking = [leak for leak in self.splits if leak.seen_videos]
        if not leaking:
            return ""
        worst = max(leaking, key=lambda leak: leak.seen_videos / leak.test_videos)
        return (
            f"content leaks in {len(leaking)} of {len(self.splits)} splits: up to {worst.seen_videos} of {worst.test_videos} test videos "
            f"({worst.seen_contents} of {worst.test_contents} contents) were seen in training; new contents may give lower metrics"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"note": self.note, "splits": [asdict(leak) for leak in self.splits]}
