"""Who trains, who validates, who tests.

Every split follows from a seed or from a file, never from the order of rows: names (or contents) are sorted
first, then drawn with NumPy's `default_rng(seed)`. A video-level split lets versions of one content fall on
both sides; `shared_contents` says which do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from vqafeat.datasets import Dataset
from vqafeat.datasets.dataset import Permutations
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.registry import Registry

Rounding = Literal["ceil", "int"]
DEFAULT_RATIO = "60/20/20"
_OTHER_RATIOS = ("40/30/30", "80/20")  # named where a ratio leaves a part empty


@dataclass(frozen=True)
class Split:
    """Row indices of the three parts, each in ascending order.

    Attributes:
        train: rows to fit on.
        validation: rows to choose the epoch on; may be empty (80/20).
        test: rows to report on.

    Raises:
        DatasetError: training or test part is empty, or a row is in two parts or twice in one.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.train or not self.test:
            raise DatasetError(
                f"split of {len(self.train)}/{len(self.validation)}/{len(self.test)} rows: training and "
                f"test part need at least one row; "
                "use more videos, or --ratio 80/20 or 40/30/30."
            )
        rows = (*self.train, *self.validation, *self.test)
        if len(set(rows)) < len(rows):
            raise DatasetError(
                f"split of {len(rows)} rows names only {len(set(rows))} different ones; training, "
                f"validation and test must be disjoint."
            )
        if min(rows) < 0:
            raise DatasetError(f"split names row {min(rows)}; rows are counted from 0.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows in training, validation and test part."""
        return len(self.train), len(self.validation), len(self.test)


@dataclass(frozen=True)
class Ratio:
    """Shares of the three parts in percent.

    Raises:
        ArgumentError: shares are negative, do not add up to 100, or leave training or test part without any.
    """

    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if sum(shares) != 100 or min(shares) < 0 or not self.train or not self.test:
            raise ArgumentError(
                f"ratio {'/'.join(map(str, shares))} must be positive shares that add up to 100, such as "
                f"60/20/20 or 80/20."
            )

    @classmethod
    def parse(cls, text: str) -> "Ratio":
        """Return the ratio written as train/validation/test or train/test.

        Raises:
            ArgumentError: it is written otherwise.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
            raise ArgumentError(
                f"ratio '{text}' must be train/validation/test or train/test in percent, such as 60/20/20 "
                f"or 80/20."
            )
        shares = [int(part) for part in parts]
        return cls(shares[0], shares[1] if len(shares) == 3 else 0, shares[-1])

    def cuts(self, count: int, rounding: Rounding) -> tuple[int, int]:
        """Return where training and validation part end among `count` items.

        Source: VSFA.py and TCSVT-2022-BVQA cut at (1 - test - validation)·N and (1 - test)·N in floating
            point. VSFA rounds up, so that
        0.6000000000000001 · 1200 gives 721; MDTVSFA and TCSVT-2022-BVQA take int().
        """
        if rounding not in ("ceil", "int"):
            raise ArgumentError(
                f"rounding '{rounding}' is not allowed; use 'ceil' (VSFA) or 'int' (MDTVSFA, "
                f"TCSVT-2022-BVQA)."
            )
        rounded: Callable[[float], int] = math.ceil if rounding == "ceil" else int
        test, validation = self.test / 100, self.validation / 100
        second = rounded((1 - test) * count)
        return (rounded((1 - test - validation) * count), second) if self.validation else (second, second)


def video_split(
    names: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split in which each video is drawn by itself.

    Args:
        names: by row; their order does not matter.
        seed: of the draw.
        ratio: shares of videos.
        rounding: see `Ratio.cuts`.
    """
    rows = np.argsort(np.asarray(names, dtype=object), kind="stable")
    return _cut(rows[np.random.default_rng(seed).permutation(len(names))].tolist(), ratio, rounding)


def content_split(
    contents: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split in which all videos of a content go to one part.

    Args:
        contents: by row.
        seed: of the draw.
        ratio: shares of contents, not of videos.
        rounding: see `Ratio.cuts`.

    Raises:
        DatasetError: there are too few contents to fill the parts.
    """
    different = sorted(set(contents))
    first, second = Ratio.parse(ratio).cuts(len(different), rounding)
    if not _fills_parts(len(different), ratio, rounding):
        able = " or ".join(
            f"--ratio {other}" for other in _OTHER_RATIOS if _fills_parts(len(different), other, rounding)
        )
        raise DatasetError(
            f"{len(different)} contents cannot be divided {ratio} by content "
            f"({first}/{second - first}/{len(different) - second}); "
            f"use {able or '--protocol video'}."
        )
    drawn = np.random.default_rng(seed).permutation(len(different)).tolist()
    place = {different[item]: position for position, item in enumerate(drawn)}
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for row, content in enumerate(contents):
        parts[(place[content] >= first) + (place[content] >= second)].append(row)
    return Split(*(tuple(part) for part in parts))


def _fills_parts(count: int, ratio: str, rounding: Rounding) -> bool:
    first, second = Ratio.parse(ratio).cuts(count, rounding)
    return 0 < first <= second < count and (first < second or not Ratio.parse(ratio).validation)


def stored_split(
    permutations: Permutations, run: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return the split that a released permutation gives.

    Args:
        permutations: (video, run) row indices.
        run: column; the released code's `exp_id`.
        ratio: shares of videos.
        rounding: "ceil" for VSFA, "int" for MDTVSFA and TCSVT-2022-BVQA.

    Raises:
        ArgumentError: there is no such run.
    """
    if not 0 <= run < permutations.shape[1]:
        raise ArgumentError(
            f"run {run} is not among the {permutations.shape[1]} stored permutations; use 0 to "
            f"{permutations.shape[1] - 1}."
        )
    return _cut(permutations[:, run].tolist(), ratio, rounding)


def official_split(
    splits: Sequence[str | None],
    names: Sequence[str],
    seed: int,
    test_part: str = "test",
    validation_share: float = 0.0,
) -> Split:
    """Return the parts that the data set publishes.

    Args:
        splits: official part by row; rows of other parts and of none are left out.
        names: by row.
        seed: of the draw of validation videos.
        test_part: "test" or "test-1080p".
        validation_share: part of the training videos to set aside where no validation part is published, in
            [0, 1).

    Raises:
        ArgumentError: the share is out of range.
        DatasetError: the data set publishes no training part, or no such test part.
    """
    if not 0 <= validation_share < 1:
        raise ArgumentError(
            f"validation_share {validation_share} must be at least 0 and below 1, for example 0.1."
        )
    rows: dict[str | None, list[int]] = {}
    for row, part in enumerate(splits):
        rows.setdefault(part, []).append(row)
    missing = [part for part in ("train", test_part) if part not in rows]
    if missing:
        there = ", ".join(f"{part} ({len(found)})" for part, found in rows.items() if part) or "none"
        raise DatasetError(
            f"no video is in the official part {' or '.join(missing)} (parts: {there}); read the lists that "
            f"hold it, or draw splits."
        )
    train, validation = rows["train"], rows.get("validation", [])
    if not validation and validation_share:
        order = sorted(train, key=lambda row: names[row])
        drawn = np.random.default_rng(seed).permutation(len(order))[
            : math.ceil(validation_share * len(order))
        ]
        validation = sorted(order[item] for item in drawn)
        train = sorted(set(train) - set(validation))
    return Split(tuple(train), tuple(validation), tuple(rows[test_part]))


def _cut(order: Sequence[int], ratio: str, rounding: Rounding) -> Split:
    first, second = Ratio.parse(ratio).cuts(len(order), rounding)
    return Split(
        tuple(sorted(order[:first])), tuple(sorted(order[first:second])), tuple(sorted(order[second:]))
    )


def shared_contents(split: Split, contents: Sequence[str]) -> tuple[str, ...]:
    """Return the contents of the test part that are in the training part too, sorted: what leaks."""
    trained = {contents[row] for row in split.train}
    return tuple(sorted({contents[row] for row in split.test} & trained))


# --- protocols by name
# --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitRequest:
    """What is asked of a protocol; each takes what concerns it.

    Attributes:
        run: number of the repeat, from 0.
        seed: of the first repeat; repeat r is drawn with seed + r.
        ratio: "60/20/20", "80/20" or the like.
        rounding: see `Ratio.cuts`.
        test_part: of the official parts.
        validation_share: of the official training part, where no validation part is published.

    Raises:
        ArgumentError: run or seed is negative.
    """

    run: int = 0
    seed: int = 0
    ratio: str = DEFAULT_RATIO
    rounding: Rounding = "int"
    test_part: str = "test"
    validation_share: float = 0.0

    def __post_init__(self) -> None:
        if self.run < 0 or self.seed < 0:
            raise ArgumentError(f"run {self.run} and seed {self.seed} must be 0 or more.")
        Ratio.parse(self.ratio)


SplitProtocol = Callable[[Dataset, SplitRequest], Split]
SPLIT_PROTOCOLS: Registry[SplitProtocol] = Registry("split protocol")


@SPLIT_PROTOCOLS.register("video")
def _video(dataset: Dataset, ask: SplitRequest) -> Split:
    return video_split([video.name for video in dataset.videos], ask.seed + ask.run, ask.ratio, ask.rounding)


@SPLIT_PROTOCOLS.register("content")
def _content(dataset: Dataset, ask: SplitRequest) -> Split:
    return content_split(
        [video.content for video in dataset.videos], ask.seed + ask.run, ask.ratio, ask.rounding
    )


@SPLIT_PROTOCOLS.register("stored")
def _stored(dataset: Dataset, ask: SplitRequest) -> Split:
    if dataset.stored_permutations is None:
        raise DatasetError(
            f"data set '{dataset.name}' has no stored permutations in its label list '{dataset.label_list}'; "
            "read the labels from the released *info.mat with --labels, or use the protocol 'video' or "
            "'content'."
        )
    return stored_split(dataset.stored_permutations, ask.run, ask.ratio, ask.rounding)


@SPLIT_PROTOCOLS.register("official")
def _official(dataset: Dataset, ask: SplitRequest) -> Split:
    names = [video.name for video in dataset.videos]
    return official_split(
        [video.split for video in dataset.videos],
        names,
        ask.seed + ask.run,
        ask.test_part,
        ask.validation_share,
    )


def make_split(dataset: Dataset, protocol: str, request: SplitRequest) -> Split:
    """Return one split of a data set by the name of its protocol: video, content, stored or official.

    Raises:
        UnknownNameError: no such protocol is registered.
        DatasetError: the data set does not allow it.
    """
    return SPLIT_PROTOCOLS.get(protocol)(dataset, request)


@dataclass(frozen=True)
class Leak:
    """What one split's test part shares with its training part; no video is ever in both, another version of
    its content may be.

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
class LeakageReport:
    """What leaks in each split of a run."""

    splits: tuple[Leak, ...]

    @classmethod
    def of(cls, splits: Sequence[Split], contents: Sequence[str]) -> "LeakageReport":
        """Return what leaks in each split; `contents` is by row."""
        return cls(tuple(Leak.of(split, contents) for split in splits))

    @property
    def note(self) -> str:
        """What a reader of the metrics has to know, the split with the largest share; empty where nothing
        leaks.
        """
        leaking = [leak for leak in self.splits if leak.seen_videos]
        if not leaking:
            return ""
        worst = max(leaking, key=lambda leak: leak.seen_videos / leak.test_videos)
        return (
            f"content leaks in {len(leaking)} of {len(self.splits)} splits: up to {worst.seen_videos} of "
            f"{worst.test_videos} test videos "
            f"({worst.seen_contents} of {worst.test_contents} contents) were seen in training; new contents "
            f"may give lower metrics"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"note": self.note, "splits": [asdict(leak) for leak in self.splits]}
