"""From canonical names to files: the folder is walked once, and a file must be the only one that fits."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from vqafeat.datasets.dataset import Dataset, FileRules
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import summarize
from vqafeat.remote import StorePath, VideoFile, listed_files

if TYPE_CHECKING:
    from upath import UPath


# fmt: off
VIDEO_EXTENSIONS = (
    ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".yuv", ".y4m", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp",
    ".ogv", ".gif", ".h264", ".264", ".h265", ".265", ".hevc",
)
# fmt: on


@dataclass(frozen=True)
class Located:
    """A data set whose videos have paths.

    Attributes:
        dataset: the videos that were found, each with its path.
        missing: names of those that were not, in the order of the label list; left out of `dataset`.
    """

    dataset: Dataset
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        without = [video.name for video in self.dataset.videos if video.path is None]
        if without:
            raise DatasetError(
                f"data set '{self.dataset.name}': {len(without)} videos have no path: {summarize(without)}; "
                f"locate them first."
            )


@dataclass(frozen=True)
class _Index:
    """The video files below a root, by relative path, by basename and by canonical name without its
    ending.
    """

    files: Mapping[str, VideoFile]
    by_basename: Mapping[str, list[str]]
    by_key: Mapping[str, list[str]]
    endings: frozenset[str]


def locate_videos(dataset: Dataset, root: StorePath, missing: Literal["error", "skip"] = "error") -> Located:
    """Find the file of every video below `root`.

    A video is, in this order: the file of exactly that relative path below the root or one of the manifest's
    folders; the only file of that basename; the only file whose name maps to the same canonical name, endings
    aside.

    Args:
        dataset: from `load_dataset`.
        root: folder of the videos, or prefix of an object store, which is listed once.
        missing: what to do about videos without a file: "error", or "skip" to leave them out.

    Raises:
        ArgumentError: `missing` is neither.
        DatasetError: the root does not exist, files are missing (unless skipped), several files fit, or one
            file fits several videos.
        StoreError: the object store cannot be reached.
    """
    if missing not in ("error", "skip"):
        raise ArgumentError(f"missing '{missing}' is not allowed; use 'error' or 'skip'.")
    if isinstance(root, Path) and not root.is_dir():
        raise DatasetError(
            f"data set '{dataset.name}': the folder of videos '{root}' does not exist; name it with --root "
            f"DIR."
        )
    index = _indexed(dataset, root)
    candidates = _candidates(dataset, index)
    _refuse_ambiguous(dataset, root, candidates)
    lost = [name for name, files in candidates.items() if not files]
    if lost and (missing == "error" or len(lost) == len(candidates)):
        raise DatasetError(
            f"data set '{dataset.name}': {len(lost)} of {len(candidates)} videos are missing below '{root}' "
            f"({len(index.files)} video files there): "
            f"{summarize(lost)}; put them there, name another folder with --root DIR, or leave them out "
            f"with --skip-missing."
        )
    found = (
        dataset.subset([row for row, files in enumerate(candidates.values()) if files]) if lost else dataset
    )
    videos = tuple(replace(video, path=index.files[candidates[video.name][0]]) for video in found.videos)
    return Located(replace(found, videos=videos), tuple(lost))


def _indexed(dataset: Dataset, root: StorePath) -> _Index:
    endings = frozenset(ending.lower() for ending in dataset.files.extensions or VIDEO_EXTENSIONS)
    wanted = endings | {PurePosixPath(video.name).suffix.lower() for video in dataset.videos} - {""}
    raw_name = {path: root / path for path in _walk(root)} if isinstance(root, Path) else _listed(root)
    files = {path: file for path, file in raw_name.items() if PurePosixPath(path).suffix.lower() in wanted}
    by_basename: dict[str, list[str]] = defaultdict(list)
    by_key: dict[str, list[str]] = defaultdict(list)
    for path in sorted(files):
        by_basename[PurePosixPath(path).name].append(path)
        by_key[_key(path, dataset.files, endings)].append(path)
    return _Index(files, by_basename, by_key, endings)


def _listed(root: "UPath") -> Mapping[str, VideoFile]:
    """Return the files below a prefix by their paths relative to it, as `_walk` finds those of a folder."""
    return {
        path: file
        for path, file in listed_files(root).items()
        if not any(map(_is_passed_by, path.split("/")))
    }


def _is_passed_by(name: str) -> bool:
    """Tell whether a file or folder is hidden or a store."""
    return name.startswith(".") or name.endswith(".zarr")


def _walk(root: Path) -> Iterator[str]:
    """Yield the relative POSIX paths of the files below `root`: links are followed, hidden folders and stores
    are not.
    """
    waiting: list[tuple[Path, str]] = [(root, "")]
    entered: set[tuple[int, int]] = set()
    while waiting:
        folder, prefix = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        for entry in _entries(folder):
            if _is_passed_by(entry.name):
                continue
            if entry.is_dir():
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
            elif entry.is_file():
                yield f"{prefix}{entry.name}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DatasetError(
            f"the folder '{folder}' cannot be read ({error.strerror}); mend its permissions, or name "
            f"another with --root DIR."
        ) from error


def _key(path: str, rules: FileRules, endings: frozenset[str]) -> str:
    """Return what two spellings of one video share: the canonical name where there is a pattern, else the
    basename; without its ending.
    """
    canonical = rules.canonical(path) if rules.pattern else None
    name = canonical or PurePosixPath(path).name
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in endings else name


def _candidates(dataset: Dataset, index: _Index) -> dict[str, list[str]]:
    """Return by video name the files that may be it: none, one, or several."""
    names = [video.name for video in dataset.videos]
    prefixes = ("", *(f"{folder.rstrip('/')}/" for folder in dataset.files.folders))
    exact = {
        name: [path for prefix in prefixes if (path := prefix + name) in index.files][:1] for name in names
    }
    if dataset.files.exact_paths_only:
        return exact
    steps: tuple[tuple[Callable[[str], str], Mapping[str, list[str]]], ...] = (
        (lambda name: PurePosixPath(name).name, index.by_basename),
        (lambda name: _key(name, dataset.files, index.endings), index.by_key),
    )
    found = exact
    for spelling, files in steps:
        # A spelling that several rows share cannot tell them apart: with 'a/1.mp4' and 'b/1.mp4', a lone
        # '1.mp4' is neither.
        shared = Counter(spelling(name) for name in names)
        found = {
            name: paths or (files.get(spelling(name), []) if shared[spelling(name)] == 1 else [])
            for name, paths in found.items()
        }
    return found


def _refuse_ambiguous(dataset: Dataset, root: StorePath, candidates: Mapping[str, Sequence[str]]) -> None:
    several = [f"{name} ({', '.join(files[:3])})" for name, files in candidates.items() if len(files) > 1]
    if several:
        raise DatasetError(
            f"data set '{dataset.name}': {len(several)} videos fit several files below '{root}': "
            f"{summarize(several, 3)}; "
            "keep one of each, or name a narrower folder with --root DIR."
        )
    users = Counter(files[0] for files in candidates.values() if files)
    twice = [file for file, count in users.items() if count > 1]
    if twice:
        rows = [
            f"{file} ({', '.join(name for name, files in candidates.items() if files[:1] == [file])})"
            for file in twice
        ]
        raise DatasetError(
            f"data set '{dataset.name}': {len(twice)} files below '{root}' fit several videos: "
            f"{summarize(rows, 3)}; "
            "write the relative path of each file in the label list."
        )
