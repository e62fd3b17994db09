"""Splits into training, validation and test part, protocols that make them, and a report of leaks.

Every split follows from a seed or from a file, never from the order of rows: names (or contents) are sorted
first, then drawn with NumPy's `default_rng(seed)`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vqafeat.datasets import Dataset
from vqafeat.datasets.dataset import Permutations
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.registry import named

Rounding = Literal["ceil", "int"]
DEFAULT_RATIO = "60/20/20"
_OTHER_RATIOS = ("40/30/30", "80/20")  # named where a ratio leaves a part empty


@dataclass(frozen=True)
class Split:
    """Row indices of the three parts, each in ascending order; the validation part may be empty (80/20)."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.train or not self.test:
            raise DatasetError(
                f"split of {'/'.join(map(str, self.sizes))} rows: training and test part need at least one "
                f"row; use more videos, or --ratio 80/20 or 40/30/30."
            )
        rows = (*self.train, *self.validation, *self.test)
        if len(set(rows)) < len(rows):
            message = f"split of {len(rows)} rows names only {len(set(rows))} different ones"
            raise DatasetError(f"{message}; training, validation and test must be disjoint.")
        if min(rows) < 0:
            raise DatasetError(f"split names row {min(rows)}; rows are counted from 0.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows in training, validation and test part."""
        return len(self.train), len(self.validation), len(self.test)


@dataclass(frozen=True)
class Ratio:
    """Shares of the three parts in percent; only that of validation may be 0."""

    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if sum(shares) != 100 or min(shares) < 0 or not self.train or not self.test:
            required = "must be positive shares that add up to 100, such as 60/20/20 or 80/20"
            raise ArgumentError(f"ratio {'/'.join(map(str, shares))} {required}.")

    @classmethod
    def parse(cls, text: str) -> "Ratio":
        """Return the ratio written as train/validation/test or train/test."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
            required = "must be train/validation/test or train/test in percent, such as 60/20/20 or 80/20"
            raise ArgumentError(f"ratio '{text}' {required}.")
        shares = [int(part) for part in parts]
        return cls(shares[0], shares[1] if len(shares) == 3 else 0, shares[-1])

    def cuts(self, count: int, rounding: Rounding) -> tuple[int, int]:
        """Return where training and validation part end among `count` items.

        Source: VSFA.py rounds (1 - test - validation)·N and (1 - test)·N up in floating point, so that
        0.6000000000000001 · 1200 gives 721; MDTVSFA and TCSVT-2022-BVQA take int().
        """
        if rounding not in ("ceil", "int"):
            raise ArgumentError(f"rounding '{rounding}' is not allowed; use 'ceil' or 'int'.")
        rounded: Callable[[float], int] = math.ceil if rounding == "ceil" else int
        test, validation = self.test / 100, self.validation / 100
        second = rounded((1 - test) * count)
        return (rounded((1 - test - validation) * count), second) if self.validation else (second, second)


def video_split(
    names: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split in which videos are drawn one by one; `ratio` gives shares of videos."""
    rows = np.argsort(np.asarray(names, dtype=object), kind="stable")
    return _cut(rows[np.random.default_rng(seed).permutation(len(names))].tolist(), ratio, rounding)


def content_split(
    contents: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split in which all videos of a content go to one part; `ratio` is that of contents."""
    different = sorted(set(contents))
    count = len(different)
    first, second = Ratio.parse(ratio).cuts(count, rounding)
    if not _fills_parts(count, ratio, rounding):
        able = [f"--ratio {other}" for other in _OTHER_RATIOS if _fills_parts(count, other, rounding)]
        raise DatasetError(
            f"{count} contents cannot be divided {ratio} by content ({first}/{second - first}/"
            f"{count - second}); use {' or '.join(able) or '--protocol video'}."
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    position_of = {different[item]: position for position, item in enumerate(order)}
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for row, content in enumerate(contents):
        parts[(position_of[content] >= first) + (position_of[content] >= second)].append(row)
    return Split(*(tuple(part) for part in parts))


def _fills_parts(count: int, ratio: str, rounding: Rounding) -> bool:
    first, second = Ratio.parse(ratio).cuts(count, rounding)
    return 0 < first <= second < count and (first < second or not Ratio.parse(ratio).validation)


def stored_split(
    permutations: Permutations, run: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return the split of column `run` (the released code's `exp_id`) of (video, run) row indices."""
    count = permutations.shape[1]
    if not 0 <= run < count:
        raise ArgumentError(f"run {run} is not among the {count} stored permutations; use 0 to {count - 1}.")
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
        test_part: "test" or "test-1080p".
        validation_share: share of the training videos to set aside where no validation part is published.
    """
    if not 0 <= validation_share < 1:
        raise ArgumentError(f"validation_share {validation_share} must be at least 0 and below 1.")
    rows: dict[str | None, list[int]] = {}
    for row, part in enumerate(splits):
        rows.setdefault(part, []).append(row)
    if missing := [part for part in ("train", test_part) if part not in rows]:
        there = ", ".join(f"{part} ({len(own)})" for part, own in rows.items() if part) or "none"
        none = f"no video is in the official part {' or '.join(missing)} (parts: {there})"
        raise DatasetError(f"{none}; read the lists that hold it, or draw splits.")
    train, validation = rows["train"], rows.get("validation", [])
    if not validation and validation_share:
        order = sorted(train, key=lambda row: names[row])
        count = math.ceil(validation_share * len(order))
        items = np.random.default_rng(seed).permutation(len(order))[:count]
        validation = sorted(order[item] for item in items)
        train = sorted(set(train) - set(validation))
    return Split(tuple(train), tuple(validation), tuple(rows[test_part]))


def _cut(order: Sequence[int], ratio: str, rounding: Rounding) -> Split:
    first, second = Ratio.parse(ratio).cuts(len(order), rounding)
    parts = (order[:first], order[first:second], order[second:])
    return Split(*(tuple(sorted(part)) for part in parts))


@dataclass(frozen=True)
class SplitRequest:
    """The options of all protocols; repeat `run`, from 0, is drawn with seed + run."""

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


def _by_video(dataset: Dataset, request: SplitRequest) -> Split:
    names = [video.name for video in dataset.videos]
    return video_split(names, request.seed + request.run, request.ratio, request.rounding)


def _by_content(dataset: Dataset, request: SplitRequest) -> Split:
    contents = [video.content for video in dataset.videos]
    return content_split(contents, request.seed + request.run, request.ratio, request.rounding)


def _by_stored_permutation(dataset: Dataset, request: SplitRequest) -> Split:
    if dataset.stored_permutations is None:
        missing = f"no stored permutations in its label list '{dataset.label_list}'"
        next_step = "read the labels from the released *info.mat with --labels"
        others = "or use the protocol 'video' or 'content'"
        raise DatasetError(f"data set '{dataset.name}' has {missing}; {next_step}, {others}.")
    return stored_split(dataset.stored_permutations, request.run, request.ratio, request.rounding)


def _by_official_part(dataset: Dataset, request: SplitRequest) -> Split:
    names, parts = [video.name for video in dataset.videos], [video.split for video in dataset.videos]
    seed = request.seed + request.run
    return official_split(parts, names, seed, request.test_part, request.validation_share)


SPLIT_PROTOCOLS: dict[str, Callable[[Dataset, SplitRequest], Split]] = {
    "video": _by_video,
    "content": _by_content,
    "stored": _by_stored_permutation,
    "official": _by_official_part,
}


def make_split(dataset: Dataset, protocol: str, request: SplitRequest) -> Split:
    """Return one split of a data set by the name of its protocol: video, content, stored or official."""
    return named("split protocol", protocol, SPLIT_PROTOCOLS)(dataset, request)


def shared_contents(split: Split, contents: Sequence[str]) -> tuple[str, ...]:
    """Return the contents of the test part that are in the training part too, sorted: the leak."""
    trained = {contents[row] for row in split.train}
    return tuple(sorted({contents[row] for row in split.test} & trained))


@dataclass(frozen=True)
class Leak:
    """Numbers of test videos and contents of a split, and of those whose content is in training too."""

    test_videos: int
    test_videos_with_seen_content: int
    test_contents: int
    seen_contents: int

    @classmethod
    def of(cls, split: Split, contents: Sequence[str]) -> "Leak":
        """Return the leak of a split of rows with these contents."""
        tested, shared = [contents[row] for row in split.test], set(shared_contents(split, contents))
        return cls(len(tested), sum(content in shared for content in tested), len(set(tested)), len(shared))

    def as_dict(self) -> dict[str, int]:
        """Return the numbers as JSON has them."""
        keys = ("test_videos", "seen_videos", "test_contents", "seen_contents")
        return dict(zip(keys, vars(self).values(), strict=True))


@dataclass(frozen=True)
class LeakageReport:
    """The leaking content of each split of a run."""

    splits: tuple[Leak, ...]

    @classmethod
    def of(cls, splits: Sequence[Split], contents: Sequence[str]) -> "LeakageReport":
        """Return the leaks of splits of rows with these contents."""
        return cls(tuple(Leak.of(split, contents) for split in splits))

    @property
    def note(self) -> str:
        """A note on the split with the largest share of leaks; empty where nothing leaks."""
        leaking = [leak for leak in self.splits if leak.seen_contents]
        if not leaking:
            return ""
        worst = max(leaking, key=lambda leak: leak.test_videos_with_seen_content / leak.test_videos)
        return (
            f"content leaks in {len(leaking)} of {len(self.splits)} splits: up to "
            f"{worst.test_videos_with_seen_content} of {worst.test_videos} test videos "
            f"({worst.seen_contents} of {worst.test_contents} contents) were seen in training; new contents "
            f"may give lower metrics"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"note": self.note, "splits": [leak.as_dict() for leak in self.splits]}
