"""What a data set is to the rest of the program: one row a video, and how the files are to be found and
read.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.errors import DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.remote import VideoFile

SPLIT_NAMES = ("train", "validation", "test", "test-1080p")
# Published ranges are rounded to four digits, so that a label may lie outside by half a unit of the last one.
MOS_TOLERANCE = 1e-4

Permutations = npt.NDArray[np.integer[Any]]


def name_problem(name: str) -> str | None:
    """Say why `name` cannot name a video below a root folder, or return None where it can."""
    if not name.strip():
        return "is empty"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if "\\" in name:
        return "holds a backslash"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "holds an empty part, '.' or '..'"
    return None


@dataclass(frozen=True)
class RawGeometry:
    """How headerless .yuv files are read.

    Attributes:
        width: samples of luma in a row.
        height: rows of luma.
        pixel_format: as FFmpeg names it; "yuvj420p" is yuv420p of full range.
        frame_rate_hz: frames a second.

    Raises:
        DatasetError: a size or a rate is not positive, or the pixel format is empty.
    """

    width: int
    height: int
    pixel_format: str
    frame_rate_hz: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise DatasetError(
                f"raw geometry: width {self.width} and height {self.height} must be positive; state the "
                f"size of a frame in pixels."
            )
        if not self.pixel_format:
            raise DatasetError(
                "raw geometry: pixel_format is empty; name one of FFmpeg's, for example 'yuv420p'."
            )
        if not (math.isfinite(self.frame_rate_hz) and self.frame_rate_hz > 0):
            raise DatasetError(
                f"raw geometry: frame_rate_hz {self.frame_rate_hz} must be positive; state frames a second."
            )

    @classmethod
    def parse(cls, text: str) -> "RawGeometry":
        """Return the geometry that `WIDTHxHEIGHT:FORMAT@RATE` names, for example `1920x1080:yuvj420p@30`.

        Raises:
            DatasetError: the text is of another form.
        """
        match = re.fullmatch(r"(\d+)x(\d+):(\w+)@(\d+(?:\.\d+)?)", text)
        if match is None:
            raise DatasetError(
                f"raw geometry '{text}' is not WIDTHxHEIGHT:FORMAT@RATE; write it as 1920x1080:yuvj420p@30."
            )
        width, height, pixel_format, rate = match.groups()
        return cls(int(width), int(height), pixel_format, float(rate))


@dataclass(frozen=True)
class FileRules:
    """How a name in a label list becomes a canonical name, and how a canonical name becomes a file below the
    root.

    Attributes:
        folders: folders below the root in which canonical names are tried, the root itself first.
        extensions: endings of video files, with the dot; none means the usual ones of video files.
        pattern: regular expression searched in a listed name or in a file's relative path; none keeps names
            as listed.
        name: what the match becomes, with \\1 for its first group.
        exact_paths_only: the folder is part of a video's identity, so that the same basename elsewhere is
            another video.
    """

    folders: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    pattern: str = ""
    name: str = ""
    exact_paths_only: bool = False

    def __post_init__(self) -> None:
        if bool(self.pattern) != bool(self.name):
            raise DatasetError("file rules: pattern and name come together; give both or neither.")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise DatasetError(
                f"file rules: pattern '{self.pattern}' is no regular expression ({error}); mend it."
            ) from error
        bad = [ending for ending in self.extensions if not ending.startswith(".")]
        if bad:
            raise DatasetError(
                f"file rules: extensions {summarize(bad)} must begin with a dot, for example '.mp4'."
            )
        bad = [folder for folder in self.folders if name_problem(folder)]
        if bad:
            raise DatasetError(
                f"file rules: folders {summarize(bad)} must be relative to the root, without '..'."
            )

    def canonical(self, raw_name: str) -> str | None:
        """Return the canonical name of a listed name, or None where the pattern does not match."""
        tidy = raw_name.strip().replace("\\", "/").removeprefix("./")
        if not self.pattern:
            return tidy
        match = re.search(self.pattern, tidy)
        return match.expand(self.name) if match else None


@dataclass(frozen=True)
class Video:
    """One row of a data set.

    Attributes:
        name: canonical name, a POSIX path relative to nothing in particular, unique in the data set: the key
            in the store.
        mos: the label, on the data set's own scale.
        content: group of videos that show the same pristine content; the own name where every video is its
            own.
        split: official part, one of SPLIT_NAMES; None where the data set publishes none.
        path: the file, on this machine or at a URL, once located.
        raw: geometry that overrides the data set's for this video.

    Raises:
        DatasetError: the name is no relative path, the label is not finite, or the split is unknown.
    """

    name: str
    mos: float
    content: str
    split: str | None = None
    path: VideoFile | None = None
    raw: RawGeometry | None = None

    def __post_init__(self) -> None:
        problem = name_problem(self.name)
        if problem:
            raise DatasetError(
                f"video name '{self.name}' {problem}; names are relative POSIX paths such as "
                f"'batch1/747.mp4'."
            )
        if not math.isfinite(self.mos):
            raise DatasetError(
                f"video '{self.name}' has the label {self.mos}; labels are finite numbers, so drop the row "
                f"or mend it."
            )
        if not self.content:
            raise DatasetError(
                f"video '{self.name}' has an empty content; give the name of its content or the video's own."
            )
        if self.split is not None and self.split not in SPLIT_NAMES:
            raise DatasetError(
                f"video '{self.name}' has the split '{self.split}'; allowed are {', '.join(SPLIT_NAMES)} or "
                f"none."
            )


@dataclass(frozen=True)
class Dataset:
    """A list of labelled videos.

    Attributes:
        name: how people type it; also the name of its store.
        title: how papers write it.
        score_name: what a label is: "MOS", or "proxy score" for the embedded demo.
        mos_range: smallest and largest label that the published range allows.
        videos: the rows, in the order of the label list.
        label_list: which list the labels were read from, for example "KoNViD-1kinfo.mat".
        digest: SHA-256 over what defines the data set, see `dataset_digest`.
        raw: how headerless files are read; `raw_for` respects a video's own.
        stored_permutations: (video, run) zero-based row indices into `videos`; each column is one
            permutation.
        files: how the files are found.
        scale: what the labels mean, in words, for example "1 (bad) to 5 (excellent)"; may be empty.

    Raises:
        DatasetError: there are no videos, names are doubled, labels lie outside the range, or the
            permutations are none.
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

    def __post_init__(self) -> None:
        if not self.videos:
            raise DatasetError(
                f"data set '{self.name}' has no videos; its label list '{self.label_list}' must hold at "
                f"least one row."
            )
        names = [video.name for video in self.videos]
        if len(set(names)) < len(names):
            raise DatasetError(
                f"data set '{self.name}' names videos twice: {summarize(duplicates(names))}; names must be "
                f"unique."
            )
        low, high = self.mos_range
        outside = [
            video.name
            for video in self.videos
            if not low - MOS_TOLERANCE <= video.mos <= high + MOS_TOLERANCE
        ]
        if outside:
            raise DatasetError(
                f"data set '{self.name}': {len(outside)} labels lie outside {low} to {high}: "
                f"{summarize(outside)}; mend them or the range."
            )
        if self.stored_permutations is not None:
            _check_permutations(self.stored_permutations, len(names), self.name)

    def raw_for(self, video: Video) -> RawGeometry | None:
        """Return how `video` is read where its file has no header."""
        return video.raw or self.raw

    def subset(self, rows: Sequence[int]) -> "Dataset":
        """Return the data set of the given rows, in that order; stored permutations keep their order among
        those rows.
        """
        videos = tuple(self.videos[row] for row in rows)
        permutations = _kept_permutations(self.stored_permutations, rows)
        changed = replace(self, videos=videos, stored_permutations=permutations)
        return replace(changed, digest=dataset_digest(changed))


def dataset_digest(dataset: Dataset) -> str:
    """Return the SHA-256 over name, label list, score name, range, geometry, rows and permutations; no path
    counts.
    """
    head = [
        dataset.name,
        dataset.label_list,
        dataset.score_name,
        list(dataset.mos_range),
        _plain(dataset.raw),
    ]
    rows = [
        [video.name, video.mos, video.content, video.split, _plain(video.raw)] for video in dataset.videos
    ]
    digest = sha256(json.dumps([head, rows], ensure_ascii=False, separators=(",", ":")).encode())
    if dataset.stored_permutations is not None:
        digest.update(np.ascontiguousarray(dataset.stored_permutations, dtype="<i4").tobytes())
    return digest.hexdigest()


def _plain(raw: RawGeometry | None) -> list[object] | None:
    return None if raw is None else [raw.width, raw.height, raw.pixel_format, raw.frame_rate_hz]


def _check_permutations(permutations: Permutations, rows: int, name: str) -> None:
    whole = permutations.ndim == 2 and permutations.shape[0] == rows
    if not whole or not np.array_equal(
        np.sort(permutations, axis=0), np.broadcast_to(np.arange(rows)[:, None], permutations.shape)
    ):
        raise DatasetError(
            f"data set '{name}': stored permutations of shape {permutations.shape} are none of {rows} rows; "
            f"each column must hold 0 to {rows - 1} once."
        )


def _kept_permutations(permutations: Permutations | None, rows: Sequence[int]) -> Permutations | None:
    if permutations is None:
        return None
    new_row = np.full(permutations.shape[0], -1)
    new_row[np.asarray(rows, dtype=np.int64)] = np.arange(len(rows))
    moved = new_row[permutations]
    # Boolean indexing walks row by row, so the runs have to be rows for a moment.
    return np.ascontiguousarray(moved.T[moved.T >= 0].reshape(permutations.shape[1], len(rows)).T)
