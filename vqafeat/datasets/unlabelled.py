"""Data sets of videos without labels: files, folders, globs, and addresses."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import has_magic
from itertools import takewhile
from math import nan
from pathlib import Path, PurePath, PurePosixPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from vqafeat.datasets.dataset import Dataset, FileRules, Video, with_digest
from vqafeat.datasets.locate import VIDEO_EXTENSIONS, index_videos, is_skipped
from vqafeat.errors import DatasetError
from vqafeat.io import summarize
from vqafeat.remote import RemoteFile, StorePath, VideoFile, WebFile, parse_path, translate_network_errors

_WEB = ("http://", "https://")
_Item = str | StorePath | WebFile
_Listed = tuple[PurePath, PurePath, VideoFile]  # a folder, the path of a file below it, the file


def is_video_source(name: str) -> bool:
    """Whether the name of a data set is an address, a glob, or the path of a folder."""
    is_folder = ("/" in name or os.sep in name) and Path(name).is_dir()
    return "://" in name or is_folder or (has_magic(name) and not Path(name).exists())


def load_videos(items: Sequence[str | StorePath], name: str | None = None) -> Dataset:
    """Return a data set of videos without labels: `extract` takes it, `fit` does not.

    A video is named by its path below the folder that all videos share.

    Args:
        items: files, folders with all that is below them, globs such as `clips/**/*.mp4`, `s3://` folders and
            files, and `https://` files.
        name: of the data set; without it, that of the folder that all videos share.

    Raises:
        DatasetError: a file or folder does not exist, or there are no videos.
    """
    with ThreadPoolExecutor(16, "requests") as pool:
        opened = pool.map(lambda item: WebFile.at(str(item)) if str(item).startswith(_WEB) else item, items)
        files = [file for item in opened for file in _files_of(item)]
    if not files:
        sources = summarize(list(map(str, items))) or "an empty list"
        next_step = "name other folders; a data set with labels is given by its .csv or .toml"
        raise DatasetError(f"there are no videos in {sources}; {next_step}.")
    shared = PurePath(os.path.commonpath([folder for folder, _, _ in files]))
    named = {normalize("NFC", path.relative_to(shared).as_posix()): file for _, path, file in files}
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
        yield where.parent, where, _object(source)
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
            is_video = match.is_dir() or match.suffix.lower() in VIDEO_EXTENSIONS
            if is_video and not any(map(is_skipped, match.relative_to(fixed).parts)):
                yield from ((fixed, path, file) for _, path, file in _files_of(match))
    else:
        problem = f"'{item}' is not a video, a folder or an address"
        raise DatasetError(f"{problem}; correct the path, or name a known data set with --dataset.")


def _object(url: StorePath) -> RemoteFile:
    assert not isinstance(url, Path)
    try:
        with translate_network_errors(url):
            return RemoteFile.of_object(url, url.fs.info(url.path))
    except FileNotFoundError as error:
        raise DatasetError(f"the video '{url}' does not exist ({error}); correct the address.") from error
