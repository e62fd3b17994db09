"""Data sets: videos with or without labels, and how their files are found and read."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from vqafeat.errors import DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.remote import VideoFile
from vqafeat.schema import Texts

SplitName = Literal["train", "validation", "test", "test-1080p"]
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
# Published ranges are rounded to four digits, so a label may be outside by half a unit of the last one.
MOS_TOLERANCE = 1e-4

Permutations = npt.NDArray[np.integer[Any]]


def is_relative_path(name: str) -> bool:
    """Whether `name` is a relative POSIX path without empty parts, '.' or '..', such as 'batch1/747.mp4'."""
    # a surrogate is a byte of a file's name that is not UTF-8
    is_wrong = re.search(r"\\|^[A-Za-z]:/|[\ud800-\udfff]", name)
    return bool(name.strip()) and not is_wrong and not {"", ".", ".."}.intersection(name.split("/"))


@dataclass(frozen=True)
class RawGeometry:
    """How headerless .yuv files are read; `pixel_format` is FFmpeg's name, "yuvj420p" for full range."""

    width: int
    height: int
    pixel_format: str
    frame_rate_hz: float

    def __post_init__(self) -> None:
        for key in ("width", "height", "frame_rate_hz"):
            if not 0 < getattr(self, key) < math.inf:
                raise DatasetError(f"raw geometry: {key} {getattr(self, key)} must be a positive number.")
        if not self.pixel_format:
            raise DatasetError("raw geometry: pixel_format is empty; name one of FFmpeg's, like 'yuv420p'.")

    @classmethod
    def parse(cls, text: str) -> "RawGeometry":
        """Return the geometry that a text such as `1920x1080:yuvj420p@30` describes."""
        match = re.fullmatch(r"(\d+)x(\d+):(\w+)@(\d+(?:\.\d+)?)", text)
        if match is None:
            form = "WIDTHxHEIGHT:FORMAT@RATE, such as 1920x1080:yuvj420p@30"
            raise DatasetError(f"raw geometry '{text}' is not {form}.")
        return cls(int(match[1]), int(match[2]), match[3], float(match[4]))


@dataclass(frozen=True)
class FileRules:
    """How a listed name becomes a canonical name, and how the file of a canonical name is found."""

    folders: Texts = ()  # below the root, searched after it
    extensions: Texts = ()  # endings of video files, with the dot; without any, the usual ones
    # regular expression, searched in a listed name or a file's relative path; empty keeps names
    pattern: str = ""
    name: str = ""  # the canonical name of what matches, with \1 for the first group
    exact_paths_only: bool = False  # whether a file of the same name in another folder is another video

    def __post_init__(self) -> None:
        if bool(self.pattern) != bool(self.name):
            raise DatasetError("file rules: pattern and name come together; give both or neither.")
        check_pattern(self.pattern, "file rules")
        if bad := [ending for ending in self.extensions if not ending.startswith(".")]:
            raise DatasetError(f"file rules: extensions {summarize(bad)} must begin with a dot, like '.mp4'.")
        if bad := [folder for folder in self.folders if not is_relative_path(folder)]:
            raise DatasetError(f"file rules: folders {summarize(bad)} must be below the root, without '..'.")

    def canonical(self, raw_name: str) -> str | None:
        """Return the canonical name of a listed name, or None if the pattern does not match."""
        tidy = raw_name.strip().replace("\\", "/").removeprefix("./")
        if not self.pattern:
            return tidy
        match = re.search(self.pattern, tidy)
        return match.expand(self.name) if match else None


def check_pattern(pattern: str, where: str, groups: int = 0) -> None:
    """Refuse a pattern that is not a regular expression, or has fewer groups."""
    try:
        group_count = re.compile(pattern).groups
    except re.error as error:
        problem = f"pattern '{pattern}' is not a regular expression"
        raise DatasetError(f"{where}: {problem} ({error}); correct it.") from error
    if group_count < groups:
        next_step = f"put the part that names the {where.removesuffix('_pattern')} in parentheses"
        raise DatasetError(f"{where}: pattern '{pattern}' has no group; {next_step}.")


@dataclass(frozen=True)
class Video:
    """A video with its label.

    Attributes:
        name: canonical name, a relative POSIX path, unique in the data set: the key in the store.
        mos: the label; NaN if the video is not labelled.
        content: group of the videos that show the same scene; the video's name if it has no group.
        split: official part, one of SPLIT_NAMES; None if the data set publishes none.
        path: the file, once located.
        raw: geometry that overrides the data set's.
        listed_path: where the label list says that the file is; None if the list has only its name.
    """

    name: str
    mos: float
    content: str
    split: str | None = None
    path: VideoFile | None = None
    raw: RawGeometry | None = None
    listed_path: Path | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        where = f"video '{self.name}'"
        if not is_relative_path(self.name):
            path = "a relative POSIX path such as 'a/1.mp4', in UTF-8"
            raise DatasetError(f"video name '{self.name}' has to be {path}; rename it.")
        if self.labelled and not math.isfinite(self.mos):
            raise DatasetError(f"{where} has the label {self.mos}; labels are finite numbers.")
        if not self.content:
            raise DatasetError(f"{where} has an empty content; give the video's name if it has no group.")
        if self.split not in (None, *SPLIT_NAMES):
            allowed = ", ".join(SPLIT_NAMES)
            raise DatasetError(f"{where} has the split '{self.split}'; allowed are {allowed} or none.")


@dataclass(frozen=True)
class Dataset:
    """A list of videos, all with labels or all without.

    Attributes:
        name: as people type it; also the name of its store.
        title: as papers write it.
        score_name: what a label is: "MOS", or "proxy score" in the demo data set.
        mos_range: the published smallest and largest label; NaN without labels.
        videos: in the order of the label list.
        label_list: file that the labels were read from, for example "KoNViD-1kinfo.mat".
        digest: see `with_digest`.
        raw: how headerless files are read, unless the video has its own geometry.
        stored_permutations: (video, run) zero-based indices into `videos`; each column is a permutation.
        scale: what the labels mean, for example "1 (bad) to 5 (excellent)"; may be empty.
        root: folder in which `extract` looks for videos that have no path.
        note: what the label list's columns were taken for, where they are not the documented ones.
    """

    name: str
    title: str
    score_name: str
    mos_range: tuple[float, float]
    videos: tuple[Video, ...]
    label_list: str
    digest: str
    raw: RawGeometry | None = None
    stored_permutations: Permutations | None = field(default=None, compare=False)
    files: FileRules = field(default_factory=FileRules)
    scale: str = ""
    root: Path | None = field(default=None, compare=False)
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        where = f"data set '{self.name}'"
        if not self.videos:
            raise DatasetError(f"{where} has no videos; '{self.label_list}' must hold at least one row.")
        if twice := duplicates(video.name for video in self.videos):
            problem = f"'{self.label_list}' names {len(twice)} of them more than once: {summarize(twice)}"
            raise DatasetError(f"{where} of {len(self.videos)} videos: {problem}; keep one row per video.")
        without = [video.name for video in self.videos if not video.labelled]
        if len(without) not in (0, len(self.videos)):
            problem = f"{len(without)} of its {len(self.videos)} videos have no label: {summarize(without)}"
            raise DatasetError(f"{where}: {problem}; give all labels, or none.")
        low, high = self.mos_range
        if outside := [
            f"{video.name} ({video.mos:g})"
            for video in self.videos
            if video.labelled and not low - MOS_TOLERANCE <= video.mos <= high + MOS_TOLERANCE
        ]:
            problem = f"{len(outside)} of {len(self.videos)} labels are outside {low:g} to {high:g}"
            next_step = "correct them, or the range if they are on another scale"
            raise DatasetError(f"{where}: {problem}: {summarize(outside)}; {next_step}.")
        rows, permutations = len(self.videos), self.stored_permutations
        if permutations is not None and not are_permutations(permutations, rows):
            problem = f"stored permutations of shape {permutations.shape} do not permute {rows} rows"
            raise DatasetError(f"{where}: {problem}; each column must hold 0 to {rows - 1} once.")

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.videos)} videos, {self.label_words}"

    @property
    def labelled(self) -> bool:
        """Whether its videos have labels."""
        return all(video.labelled for video in self.videos)

    @property
    def label_words(self) -> str:
        """What the labels are, with their range."""
        low, high = self.mos_range
        return f"{self.score_name} {low:g} to {high:g}" if self.labelled else "no labels"

    def require_labels(self) -> None:
        """Raise a `DatasetError` if the videos have no labels."""
        if not self.labelled:
            problem = f"the {len(self.videos)} videos of '{self.name}' have no labels"
            csv = f"write them to a CSV (video,mos) called '{self.name}.csv' in the folder of the videos"
            again = "run `vqafeat extract` with it as --dataset: videos that are stored are not decoded again"
            raise DatasetError(f"{problem}, from which heads learn; {csv}, and {again}.")

    def subset(self, rows: Sequence[int]) -> "Dataset":
        """Return the given rows, in that order; stored permutations keep their order among those rows."""
        videos, permutations = tuple(self.videos[row] for row in rows), self.stored_permutations
        if permutations is not None:
            new_row = np.full(len(permutations), -1)
            new_row[np.asarray(rows, dtype=np.int64)] = np.arange(len(rows))
            # boolean indexing goes row by row, so a run has to be a row
            moved = new_row[permutations].T
            permutations = np.ascontiguousarray(moved[moved >= 0].reshape(len(moved), len(rows)).T)
        return with_digest(replace(self, videos=videos, stored_permutations=permutations))


def with_digest(dataset: Dataset) -> Dataset:
    """Return the data set with the SHA-256 of all that defines it, which paths of files do not."""
    geometry = dataset.raw and astuple(dataset.raw)
    head = [dataset.name, dataset.label_list, dataset.score_name, dataset.mos_range, geometry]
    rows = [
        [row.name, row.mos, row.content, row.split, row.raw and astuple(row.raw)] for row in dataset.videos
    ]
    digest = sha256(json.dumps([head, rows], ensure_ascii=False, separators=(",", ":")).encode())
    if dataset.stored_permutations is not None:
        digest.update(np.ascontiguousarray(dataset.stored_permutations, dtype="<i4").tobytes())
    return replace(dataset, digest=digest.hexdigest())


def are_permutations(indices: npt.NDArray[Any], rows: int) -> bool:
    """Return whether each column of `indices` holds 0 to `rows` - 1 once."""
    if indices.ndim != 2 or len(indices) != rows:
        return False
    return bool((np.sort(indices, axis=0) == np.arange(rows)[:, None]).all())


# key of a video's source: why its time stamps are no times, so that the stored ones are made up
BAD_TIMES = "bad_times"


def times_problem(
    seconds: npt.NDArray[np.float64], source: Mapping[str, Any] | None = None, unit: str = "frame"
) -> str:
    """Return why the times of a video's frames cannot be used, by themselves or by the file's time stamps."""
    if source and BAD_TIMES in source:
        return str(source[BAD_TIMES])
    steps = np.diff(seconds)
    if len(back := np.flatnonzero(~(steps >= 0))):
        return f"go back behind {unit} {back[0]}"
    return f"are all {seconds[0]:g}" if len(steps) and not steps.any() else ""
