"""Splits into training, validation and test part, the protocols that make them, and the report of leaks.

A split follows from a seed or a file, never from the order of rows: names (or contents) are sorted first, and
then permuted by NumPy's `default_rng(seed)`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vqafeat.datasets import Dataset
from vqafeat.datasets.dataset import Permutations
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.registry import named

Rounding = Literal["ceil", "int"]
DEFAULT_RATIO = "60/20/20"
PART_WORDS = {"train": "training", "validation": "validation", "test": "test"}
PARTS = tuple(PART_WORDS)


@dataclass(frozen=True)
class Split:
    """Row indices of the three parts, each in ascending order.

    The validation part may be empty (80/20). Both others are, where all videos train a final head.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.train or (self.validation and not self.test):
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


def parse_ratio(text: str) -> tuple[int, int, int]:
    """Return the shares in percent of a ratio written as train/validation/test or train/test."""
    match = re.fullmatch(r"\s*(\d+)\s*/(?:\s*(\d+)\s*/)?\s*(\d+)\s*", text)
    train, validation, test = map(int, match.groups("0")) if match else (0, 0, 0)
    if train + validation + test != 100 or not train or not test:
        required = "must be train/validation/test or train/test in percent of 100"
        raise ArgumentError(f"ratio '{text}' {required}, such as 60/20/20 or 80/20.")
    return train, validation, test


def _cuts(count: int, ratio: str, rounding: Rounding) -> tuple[int, int]:
    """Return where training and validation part end among `count` items.

    Source: VSFA.py rounds (1 - test - validation)·N and (1 - test)·N up in floating point, so that
    0.6000000000000001 · 1200 gives 721; MDTVSFA and TCSVT-2022-BVQA take int(), here of the exact number.
    """
    train, validation, test = parse_ratio(ratio)
    if rounding == "int":  # floating point gives the same for 60/20/20, but 3 for 40 % of 10
        return count * train // 100, count * (train + validation) // 100
    second = math.ceil((1 - test / 100) * count)
    return (math.ceil((1 - test / 100 - validation / 100) * count) if validation else second), second


def video_split(
    names: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split of single videos; `ratio` gives shares of videos."""
    rows = np.argsort(np.asarray(names, dtype=object), kind="stable")
    return _cut(rows[np.random.default_rng(seed).permutation(len(names))].tolist(), ratio, rounding)


def content_split(
    contents: Sequence[str], seed: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return a seeded split that keeps the videos of a content together; `ratio` gives shares of contents."""
    different = sorted(set(contents))
    count = len(different)
    first, second = _cuts(count, ratio, rounding)
    if not _fills_parts(count, ratio, rounding):
        others = [ratio for ratio in ("40/30/30", "80/20") if _fills_parts(count, ratio, rounding)]
        able = " or ".join(f"--ratio {other}" for other in others) or "--protocol video"
        raise DatasetError(
            f"{count} contents cannot be divided {ratio} by content ({first}/{second - first}/"
            f"{count - second}); use {able}."
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    position_of = {different[item]: position for position, item in enumerate(order)}
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for row, content in enumerate(contents):
        parts[(position_of[content] >= first) + (position_of[content] >= second)].append(row)
    return Split(*(tuple(part) for part in parts))


def _fills_parts(count: int, ratio: str, rounding: Rounding) -> bool:
    first, second = _cuts(count, ratio, rounding)
    return 0 < first <= second < count and (first < second or not parse_ratio(ratio)[1])


def stored_split(
    permutations: Permutations, run: int, ratio: str = DEFAULT_RATIO, rounding: Rounding = "int"
) -> Split:
    """Return the split of a column of (video, run) row indices; the released code calls the run `exp_id`."""
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
    """Return the parts that the data set publishes; rows of other parts, or without a part, are left out.

    If no validation part is published, it is a share of the training videos.
    """
    if not 0 <= validation_share < 1:
        raise ArgumentError(f"validation_share {validation_share} must be at least 0 and below 1.")
    rows: dict[str | None, list[int]] = {}
    for row, part in enumerate(splits):
        rows.setdefault(part, []).append(row)
    if missing := [part for part in ("train", test_part) if part not in rows]:
        there = ", ".join(f"{part} ({len(own)})" for part, own in rows.items() if part) or "none"
        none = f"no video is in the official part {' or '.join(missing)} (parts: {there})"
        raise DatasetError(f"{none}; extract with label lists that have them, or use another protocol.")
    train, validation = rows["train"], rows.get("validation", [])
    if not validation and validation_share:
        order = sorted(train, key=lambda row: names[row])
        count = math.ceil(round(validation_share * len(order), 9))  # 0.07 · 100 is 7.000000000000001
        items = np.random.default_rng(seed).permutation(len(order))[:count]
        validation = sorted(order[item] for item in items)
        train = sorted(set(train) - set(validation))
    return Split(tuple(train), tuple(validation), tuple(rows[test_part]))


def _cut(order: Sequence[int], ratio: str, rounding: Rounding) -> Split:
    first, second = _cuts(len(order), ratio, rounding)
    parts = (order[:first], order[first:second], order[second:])
    return Split(*(tuple(sorted(part)) for part in parts))


SPLIT_PROTOCOLS = dict.fromkeys(("video", "content", "stored", "official"))


def make_split(
    dataset: Dataset,
    protocol: str,
    run: int = 0,
    *,
    seed: int = 0,
    ratio: str = DEFAULT_RATIO,
    rounding: Rounding = "int",
    test_part: str = "test",
    validation_share: float = 0.0,
) -> Split:
    """Return one split of a data set by the name of its protocol: video, content, stored or official.

    The split of `run`, counted from 0, has the seed `seed` + `run`.
    """
    named("split protocol", protocol, SPLIT_PROTOCOLS)
    names = [video.name for video in dataset.videos]
    seed, rule = seed + run, (ratio, rounding)
    if protocol == "video":
        return video_split(names, seed, *rule)
    if protocol == "content":
        return content_split([video.content for video in dataset.videos], seed, *rule)
    if protocol == "official":
        parts = [video.split for video in dataset.videos]
        return official_split(parts, names, seed, test_part, validation_share)
    if dataset.stored_permutations is None:
        raise DatasetError(
            f"data set '{dataset.name}' has no stored permutations in its label list '{dataset.label_list}'; "
            "extract with the released one, --labels *info.mat, or use the protocol 'video' or 'content'."
        )
    return stored_split(dataset.stored_permutations, run, *rule)


def shared_contents(split: Split, contents: Sequence[str]) -> tuple[str, ...]:
    """Return the contents that are in both the training and the test part, sorted."""
    trained = {contents[row] for row in split.train}
    return tuple(sorted({contents[row] for row in split.test} & trained))


def leakage(splits: Sequence[Split], contents: Sequence[str]) -> dict[str, Any]:
    """Return how many test videos and contents of each split have a content that is in training too.

    The note describes the split with the largest share of such videos; it is empty if no content leaks.
    """
    leaks, note = [], ""
    for split in splits:
        tested, shared = [contents[row] for row in split.test], set(shared_contents(split, contents))
        videos = {"test_videos": len(tested), "seen_videos": sum(content in shared for content in tested)}
        leaks.append({**videos, "test_contents": len(set(tested)), "seen_contents": len(shared)})
    if leaking := [leak for leak in leaks if leak["seen_contents"]]:
        worst = max(leaking, key=lambda leak: leak["seen_videos"] / leak["test_videos"])
        note = (
            f"content leaks in {len(leaking)} of {len(leaks)} splits: up to {worst['seen_videos']} of "
            f"{worst['test_videos']} test videos ({worst['seen_contents']} of {worst['test_contents']} "
            f"contents) were seen in training; new contents may give lower metrics"
        )
    return {"note": note, "splits": leaks}


def leakage_of_files(
    splits: Sequence[Split], contents: Sequence[str], names: Sequence[str], digests: Mapping[str, str]
) -> dict[str, Any]:
    """Return `leakage` with one content for byte-identical videos, and those of them that a split divides.

    `digests` is video → SHA-256 of its file; a video whose file is not known may be absent.
    """
    files = [digests.get(name, "") for name in names]
    copied = set(duplicates(filter(None, files)))
    report = leakage(splits, _merge_contents(contents, files) if copied else contents)
    pairs = set[tuple[int, int]]()
    for split in splits if copied else ():
        trained = {files[row]: row for row in reversed(split.train) if files[row] in copied}
        others = [row for row in (*split.validation, *split.test) if files[row] in trained]
        pairs |= {(min(row, trained[files[row]]), max(row, trained[files[row]])) for row in others}
    if not pairs:
        return report
    named = [[names[row] for row in pair] for pair in sorted(pairs)]
    listed = summarize([" = ".join(pair) for pair in named], limit=3)
    note = (
        f"{len(named)} pair(s) of byte-identical videos are in training and in another part of a split: "
        f"{listed}; the metrics are too good, so keep one video of each pair"
    )
    return {**report, "identical": {"note": note, "pairs": named}}


def _merge_contents(contents: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the content of each row, with the same name for all contents that share a file."""
    merged_into, first = dict[str, str](), dict[str, str]()

    def name_of(content: str) -> str:
        while content in merged_into:
            content = merged_into[content]
        return content

    for content, file in zip(contents, files, strict=True):
        one, other = name_of(first.setdefault(file, content)), name_of(content)
        if file and one != other:
            merged_into[other] = one
    return [name_of(content) for content in contents]


def leak_notes(report: Mapping[str, Any]) -> list[str]:
    """Return the notes of a report of leaks, which may be empty: runs of version 1 record none."""
    notes = (report.get("note", ""), report.get("identical", {}).get("note", ""))
    return [note for note in notes if note]
