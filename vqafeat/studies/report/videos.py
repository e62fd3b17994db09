"""The files of scored videos, as a page can play them."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from vqafeat.datasets import FileRules, load_manifest, manifest_names
from vqafeat.datasets.locate import VIDEO_EXTENSIONS
from vqafeat.errors import DatasetError


class VideoFolder:
    """The video files below a folder, found by the names that data sets give them.

    A video is the file of that relative path, also below a folder of its data set's name; else the only file of that basename; else the
    only one whose name the data set's manifest makes the same. Where several fit, none is taken.

    Args:
        root: the folder.
        page_folder: that the page will lie in; addresses are relative to it.

    Raises:
        DatasetError: the folder does not exist, or holds no video file.
    """

    def __init__(self, root: Path, page_folder: Path) -> None:
        if not root.is_dir():
            raise DatasetError(f"videos is '{root}', which is no folder; name the folder that holds the video files.")
        self._root, self._page_folder = root, page_folder
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS)
        self._paths = frozenset(found)
        if not self._paths:
            raise DatasetError(f"videos is '{root}', which holds no video file ({', '.join(VIDEO_EXTENSIONS[:4])} …); name another folder.")
        self._by_basename = _grouped((PurePosixPath(path).name, path) for path in self._paths)
        self._rules: dict[str, tuple[FileRules, Mapping[str, list[str]]]] = {}

    def address(self, dataset: str, name: str) -> str:
        """Return where a page finds a video, relative to it and percent-encoded; empty where no file, or more than one, fits."""
        exact = [path for path in (name, f"{dataset}/{name}") if path in self._paths]
        fitting = exact[:1] or self._by_basename.get(PurePosixPath(name).name, []) or self._canonical(dataset, name)
        if len(fitting) != 1:
            return ""
        path = os.path.relpath(self._root / fitting[0], self._page_folder)
        # a path that is not UTF-8 keeps its bytes
        return quote(os.fsencode(Path(path).as_posix()))

    def _canonical(self, dataset: str, name: str) -> list[str]:
        if dataset not in self._rules:
            rules = load_manifest(dataset).files if dataset in manifest_names() else FileRules()
            self._rules[dataset] = rules, _grouped((_key(rules, path), path) for path in self._paths)
        rules, by_key = self._rules[dataset]
        return by_key.get(_key(rules, name), [])


def _key(rules: FileRules, path: str) -> str:
    name = (rules.canonical(path) if rules.pattern else None) or PurePosixPath(path).name
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in VIDEO_EXTENSIONS else name


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, path in pairs:
        groups[key].append(path)
    return groups
