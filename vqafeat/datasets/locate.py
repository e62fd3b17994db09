"""Search for the video files of a data set, and data sets of the videos that a search finds."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from errno import ELOOP
from glob import has_magic
from itertools import takewhile
from math import nan
from pathlib import Path, PurePath, PurePosixPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from vqafeat.datasets.dataset import Dataset, FileRules, Video, with_digest
from vqafeat.errors import DatasetError
from vqafeat.io import summarize
from vqafeat.remote import (
    RemoteFile,
    StorePath,
    VideoFile,
    WebFile,
    listed_files,
    parse_path,
    translate_network_errors,
)

# fmt: off
VIDEO_EXTENSIONS = (
    ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".yuv", ".y4m", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts",
    ".wmv", ".flv", ".3gp", ".ogv", ".gif", ".h264", ".264", ".h265", ".265", ".hevc",
)
# fmt: on


@dataclass(frozen=True)
class Located:
    """A data set whose videos have paths, and the names of the videos that are missing from it."""

    dataset: Dataset
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if without := [video.name for video in self.dataset.videos if video.path is None]:
            problem = f"{len(without)} videos have no path: {summarize(without)}"
            raise DatasetError(f"data set '{self.dataset.name}': {problem}; locate them first.")


@dataclass(frozen=True)
class VideoIndex:
    """The video files below a root by relative path, and these paths by basename and by `_key`."""

    files: Mapping[str, VideoFile]
    by_basename: Mapping[str, list[str]]
    by_key: Mapping[str, list[str]]
    endings: frozenset[str]


def locate_videos(dataset: Dataset, root: StorePath, skip_missing: bool = False) -> Located:
    """Find the file of every video below `root`.

    A video's file is at the path that the label list names, if it names one and the file exists. Otherwise it
    has the video's name as its path below the root, or below one of the manifest's folders; else it is the
    only file of that basename; else the only one of that canonical name, endings aside. The root is a folder
    or the prefix of an object store, and is listed once.
    """
    where = f"data set '{dataset.name}'"
    listed = {video.name: path for video in dataset.videos if (path := _listed_file(video)) is not None}
    names = [video.name for video in dataset.videos if video.name not in listed]
    if names and isinstance(root, Path) and not root.is_dir():
        raise DatasetError(f"{where}: the folder of videos '{root}' does not exist; name it with --root DIR.")
    index = index_videos(root, dataset.files, names) if names else VideoIndex({}, {}, {}, frozenset())
    searched = candidate_files(names, dataset.files, index)
    candidates = {
        video.name: [str(listed[video.name])] if video.name in listed else searched[video.name]
        for video in dataset.videos
    }
    _refuse_ambiguous(dataset, root, candidates)
    if lost := [video for video in dataset.videos if not candidates[video.name]]:
        if not skip_missing or len(lost) == len(candidates):
            listed_too = " at their listed paths and" if any(video.listed_path for video in lost) else ""
            problem = f"{len(lost)} of {len(candidates)} videos are missing{listed_too} below '{root}'"
            first = summarize([str(video.listed_path or video.name) for video in lost])
            next_step = "name another folder, or leave them out with `extract --skip-missing`"
            raise DatasetError(
                f"{where}: {problem} ({len(index.files)} video files there): {first}; {next_step}."
            )
        dataset = dataset.subset([row for row, files in enumerate(candidates.values()) if files])
    files: dict[str, VideoFile] = {**index.files, **{str(path): path for path in listed.values()}}
    videos = tuple(replace(video, path=files[candidates[video.name][0]]) for video in dataset.videos)
    return Located(replace(dataset, videos=videos), tuple(video.name for video in lost))


def _listed_file(video: Video) -> Path | None:
    """Return the file that the label list names by a path, in either Unicode form, if it exists."""
    if video.listed_path is None:
        return None
    path = str(video.listed_path)
    paths = [Path(form) for form in dict.fromkeys((path, normalize("NFC", path), normalize("NFD", path)))]
    try:
        return next((path for path in paths if path.is_file()), None)
    except OSError as error:
        next_step = "correct its permissions, or the path in the label list"
        raise DatasetError(
            f"the video file '{path}' cannot be read ({error.strerror}); {next_step}."
        ) from error


def index_videos(root: StorePath, rules: FileRules, names: Sequence[str] = ()) -> VideoIndex:
    """Return the files below a root that end as the rules or one of the names say."""
    endings = frozenset(ending.lower() for ending in rules.extensions or VIDEO_EXTENSIONS)
    accepted = endings | {PurePosixPath(name).suffix.lower() for name in names} - {""}
    listed = {path: root / path for path in _walk(root)} if isinstance(root, Path) else listed_files(root)
    files = {
        normalize("NFC", path): file  # a file system may store another form than a label list
        for path, file in listed.items()
        if PurePosixPath(path).suffix.lower() in accepted and not any(map(is_skipped, path.split("/")))
    }
    by_basename: dict[str, list[str]] = defaultdict(list)
    by_key: dict[str, list[str]] = defaultdict(list)
    for path in sorted(files):
        by_basename[PurePosixPath(path).name].append(path)
        by_key[_key(path, rules, endings)].append(path)
    return VideoIndex(files, by_basename, by_key, endings)


def is_skipped(name: str) -> bool:
    """Return whether a file or folder is hidden or a store."""
    return name.startswith(".") or name.endswith(".zarr")


def _walk(root: Path) -> Iterator[str]:
    """Yield the relative POSIX paths of the files below `root`; links are followed, but each folder once."""
    waiting: list[tuple[Path, str]] = [(root, "")]
    entered: set[tuple[float, ...]] = set()
    while waiting:
        folder, prefix = waiting.pop()
        if (inode_and_device := folder.stat()[1:3]) in entered:
            continue
        entered.add(inode_and_device)
        try:
            with os.scandir(folder) as opened:
                entries = [entry for entry in opened if not is_skipped(entry.name)]
        except OSError as error:
            problem = f"the folder '{folder}' cannot be read ({error.strerror})"
            next_step = "correct its permissions, or name another with --root DIR"
            raise DatasetError(f"{problem}; {next_step}.") from error
        for entry in entries:
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                if error.errno != ELOOP:  # a link to itself is stepped over, as a link to nothing is
                    raise
                continue
            if is_folder:
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
            elif is_file:
                yield f"{prefix}{entry.name}"


def _key(path: str, rules: FileRules, endings: frozenset[str]) -> str:
    """Return the canonical name, or the basename where the rules have no pattern, without its ending."""
    canonical = rules.canonical(path) if rules.pattern else None
    name = normalize("NFC", canonical or PurePosixPath(path).name)
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in endings else name


def candidate_files(names: Sequence[str], rules: FileRules, index: VideoIndex) -> dict[str, list[str]]:
    """Return for each video name the files that fit it: none, one, or several."""
    prefixes = ("", *(f"{folder.rstrip('/')}/" for folder in rules.folders))
    paths = {name: [normalize("NFC", prefix + name) for prefix in prefixes] for name in names}
    candidates = {name: [path for path in paths[name] if path in index.files][:1] for name in names}
    if rules.exact_paths_only:
        return candidates
    _add_unique(candidates, lambda name: normalize("NFC", PurePosixPath(name).name), index.by_basename)
    _add_unique(candidates, lambda name: _key(name, rules, index.endings), index.by_key)
    return candidates


def _add_unique(
    candidates: dict[str, list[str]], spelling: Callable[[str], str], files: Mapping[str, list[str]]
) -> None:
    # a spelling that several videos share fits none of them: a lone '1.mp4' may be 'a/1.mp4' or 'b/1.mp4'
    shared = Counter(map(spelling, candidates))
    for name, paths in candidates.items():
        if not paths and shared[spelling(name)] == 1:
            candidates[name] = files.get(spelling(name), [])


def _refuse_ambiguous(dataset: Dataset, root: StorePath, candidates: Mapping[str, Sequence[str]]) -> None:
    where = f"data set '{dataset.name}'"
    items = candidates.items()
    if several := [f"{name} ({', '.join(files[:3])})" for name, files in items if len(files) > 1]:
        problem = f"{len(several)} videos fit several files below '{root}': {summarize(several, 3)}"
        next_step = "keep one of each, or name a narrower folder with --root DIR"
        raise DatasetError(f"{where}: {problem}; {next_step}.")
    users = defaultdict[str, list[str]](list)
    for name, files in items:
        for file in files:
            path = os.path.normpath(root.absolute() / file) if isinstance(root, Path) else file
            users[normalize("NFC", path)].append(name)
    twice = [f"{candidates[names[0]][0]} ({', '.join(names)})" for names in users.values() if len(names) > 1]
    if twice:
        problem = f"{len(twice)} files below '{root}' fit several videos: {summarize(twice, 3)}"
        next_step = "write the relative path of each file in the label list"
        raise DatasetError(f"{where}: {problem}; {next_step}.")


# data sets of videos without labels ----------------------------------------------------------------------

_WEB = ("http://", "https://")
_Item = str | StorePath | WebFile
_Listed = tuple[PurePath, PurePath, VideoFile]  # a folder, the path of a file below it, the file


def is_video_source(name: str) -> bool:
    """Whether the name of a data set is an address, a glob, or the path of a folder."""
    is_folder = ("/" in name or os.sep in name) and Path(name).is_dir()
    return "://" in name or is_folder or (has_magic(name) and not Path(name).exists())


def load_videos(items: Sequence[str | StorePath], name: str | None = None) -> Dataset:
    """Return a data set of videos without labels: `extract` takes it, `fit` does not.

    Items are files, folders with all that is below them, globs such as `clips/**/*.mp4`, `s3://` folders and
    files, and `https://` files. A video is named by its path below the folder that they share (of a glob, the
    one before the first wildcard), whose name is that of the data set by default.
    """
    with ThreadPoolExecutor(16, "requests") as pool:
        distinct = dict.fromkeys(items)
        opened = pool.map(
            lambda item: WebFile.at(str(item)) if str(item).startswith(_WEB) else item, distinct
        )
        listed = {item: list(_files_of(source)) for item, source in zip(distinct, opened, strict=True)}
    files = [file for own in listed.values() for file in own]
    empty = [str(item) for item, own in listed.items() if not own]
    if empty or not files:
        sources = summarize(empty) or "an empty list"
        next_step = "leave it out or name others; a data set with labels is given by its .csv or .toml"
        raise DatasetError(f"there are no videos in {sources}; {next_step}.")
    shared = PurePath(os.path.commonpath([folder for folder, _, _ in files]))
    named: dict[str, VideoFile] = {}
    for _, path, file in files:
        first = named.setdefault(normalize("NFC", path.relative_to(shared).as_posix()), file)
        if first != file:
            problem = f"'{first}' and '{file}' have the same name (the query of an address does not count)"
            raise DatasetError(f"{problem}; rename one of them, or copy them to local files.")
    videos = tuple(Video(path, nan, path, path=file, labelled=False) for path, file in named.items())
    name = name or shared.name or "videos"
    return with_digest(Dataset(name, name, "MOS", (nan, nan), videos, "no labels", ""))


def _files_of(item: _Item) -> Iterator[_Listed]:
    """Yield the videos that a path, a glob or an address names."""
    if isinstance(item, WebFile):
        address = urlsplit(item.url)
        path = PurePosixPath(f"/{address.netloc}{unquote(address.path)}")
        yield path.parent, path, item
        return
    source = parse_path(item)
    if isinstance(source, Path):
        source = Path(os.path.normpath(source.absolute()))
    where = source if isinstance(source, Path) else PurePosixPath(f"/{source.path}")
    if not isinstance(source, Path) and where.suffix.lower() in VIDEO_EXTENSIONS:
        try:
            with translate_network_errors(source):
                file = RemoteFile.of_object(source, source.fs.info(source.path))
        except FileNotFoundError as error:
            problem = f"the video '{source}' does not exist ({error})"
            raise DatasetError(f"{problem}; correct the address.") from error
        yield where.parent, where, file
    elif not isinstance(source, Path) or source.is_dir():
        files = index_videos(source, FileRules()).files
        yield from ((where, where / name, files[name]) for name in sorted(files))
    elif source.suffix.lower() in (".csv", ".tsv", ".toml"):
        raise DatasetError(f"'{item}' is a list or a manifest, not a video; name it with --dataset.")
    elif source.is_file():
        yield source.parent, source, source
    elif has_magic(str(item)):
        fixed = Path(*takewhile(lambda part: not has_magic(part), source.parts))
        for match in sorted(fixed.glob(str(source.relative_to(fixed)))):
            is_video = match.is_dir() or (match.suffix.lower() in VIDEO_EXTENSIONS and match.is_file())
            if is_video and not any(map(is_skipped, match.relative_to(fixed).parts)):
                yield from ((fixed, path, file) for _, path, file in _files_of(match))
    else:
        problem = f"'{item}' is not a video, a folder or an address"
        raise DatasetError(f"{problem}; correct the path, or name a known data set with --dataset.")
