"""Loading of a data set by its name, manifest or CSV, with checks of its rows."""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vqafeat.datasets.dataset import MOS_TOLERANCE, Dataset, Video, with_digest
from vqafeat.datasets.label_readers import LABEL_READERS, LabelRow
from vqafeat.datasets.locate import is_video_source, load_videos
from vqafeat.datasets.manifest import LabelList, Manifest, load_manifest
from vqafeat.datasets.own_table import OwnOptions
from vqafeat.errors import DatasetError
from vqafeat.io import summarize

DATA_VARIABLE = "VQAFEAT_DATA"
LABELS_FOLDER = "labels"
CSV_COLUMNS = "video,mos[,content,split]"
TABLE_ENDINGS = (".csv", ".tsv")
# the data set of a CSV with such a name is named after its folder
_GENERIC_STEMS = frozenset(
    {"mos", "label", "labels", "score", "scores", "data", "dataset", "metadata", "index", "list", "videos"}
)
AnyPath = str | Path
_ListFile = tuple[LabelList, Path]  # the file of a label list


def default_root(name_or_path: AnyPath) -> Path | None:
    """Return the default folder of a data set: that of its CSV or TOML, or VQAFEAT_DATA/<name>."""
    if str(name_or_path).lower().endswith((*TABLE_ENDINGS, ".toml")):
        return Path(name_or_path).parent
    data = os.environ.get(DATA_VARIABLE)
    return Path(data) / name_or_path if data else None


def load_dataset(
    name_or_path: AnyPath, root: AnyPath | None = None, labels: AnyPath | Sequence[AnyPath] | None = None
) -> Dataset:
    """Return a data set with its labels; `extract` looks for its videos below `root`.

    Args:
        name_or_path: a name of `vqafeat list datasets`, or the path of a .toml manifest or of a .csv with
            video,mos[,content,split]; for videos without labels, a folder ("./clips"), a glob or an address.
        root: folder of the label files and the videos; by default `$VQAFEAT_DATA/<name>`, or the folder of
            the .csv or .toml.
        labels: a label file, several that belong together, the name of a list of the manifest, or a folder
            to search instead of the root.

    Raises:
        UnknownNameError: no such data set is known.
        DatasetError: no label file is found, or its rows are wrong.
    """
    name = str(name_or_path)
    folder = default_root(name) if root is None else Path(root)
    if name.lower().endswith(TABLE_ENDINGS):
        if labels is not None:
            raise DatasetError(f"data set '{name}' is a CSV that holds the labels itself; drop --labels.")
        return with_digest(_load_csv(Path(name), folder or Path()))
    if is_video_source(name) or (isinstance(name_or_path, Path) and name_or_path.is_dir()):
        if labels is not None:
            next_step = f"for videos with labels, give the path of a .csv ({CSV_COLUMNS}) or .toml"
            raise DatasetError(f"data set '{name}' is a folder of videos, so no labels apply; {next_step}.")
        return load_videos([name_or_path])
    manifest = load_manifest(name)
    if labels is None:
        return with_digest(_read_lists(manifest, _search(manifest, folder), folder))
    files = [Path(path) for path in ([labels] if isinstance(labels, AnyPath) else labels)]
    if not files:
        problem = f"data set '{manifest.name}': labels is empty"
        raise DatasetError(f"{problem}; name a label file, or leave labels out to search for it.")
    if named := tuple(entry for entry in manifest.labels if entry.name and [Path(entry.name)] == files):
        return with_digest(_read_lists(manifest, _search(replace(manifest, labels=named), folder), folder))
    is_folder = len(files) == 1 and files[0].is_dir()
    lists = _search(manifest, files[0]) if is_folder else [_list_of(manifest, path) for path in files]
    return with_digest(_read_lists(manifest, lists, folder))


def _load_csv(path: Path, root: Path) -> Dataset:
    if not path.is_file():
        next_step = f"give the path of a CSV with the columns {CSV_COLUMNS}"
        problem = "is not a file" if path.exists() else "does not exist"
        raise DatasetError(f"data set '{path}' {problem}; {next_step}.")
    folder = path.resolve().parent.name
    name = folder if folder and path.stem.lower() in _GENERIC_STEMS else path.stem
    entry = LabelList((path.name,), "own", OwnOptions(root.absolute()))
    manifest = Manifest(name, name, "MOS", (-math.inf, math.inf), (entry,))
    dataset = _read_lists(manifest, [(entry, path)], root)
    scores = [video.mos for video in dataset.videos]
    return replace(dataset, mos_range=(min(scores), max(scores)))


def _read_lists(manifest: Manifest, lists: Sequence[_ListFile], root: Path | None) -> Dataset:
    """Return the data set of label lists that belong together; its digest is left empty."""
    read = [LABEL_READERS.get(entry.reader).read(path, entry.options) for entry, path in lists]
    wheres = [f"label list '{_list_name(*one)}' of '{manifest.name}'" for one in lists]
    parts = [
        _videos_of(manifest, entry, rows.rows, where)
        for (entry, _), rows, where in zip(lists, read, wheres, strict=True)
    ]
    dataset = Dataset(
        name=manifest.name,
        title=manifest.title,
        score_name=manifest.score_name,
        mos_range=manifest.mos_range,
        videos=tuple(video for videos in parts for video in videos),
        label_list=" + ".join(_list_name(entry, path) for entry, path in lists),
        digest="",
        raw=manifest.raw,
        stored_permutations=read[0].permutations if len(read) == 1 else None,
        files=manifest.files,
        scale=manifest.scale,
        root=root,
        note=" ".join(filter(None, (rows.note for rows in read))),
    )
    for (entry, _), videos, where in zip(lists, parts, wheres, strict=True):
        _check_known(entry, videos, where)
    return dataset


def _list_name(entry: LabelList, path: Path) -> str:
    return f"{path.name}, list {entry.name}" if entry.name else path.name


def _videos_of(
    manifest: Manifest, entry: LabelList, rows: Sequence[LabelRow], where: str
) -> tuple[Video, ...]:
    if not rows:
        raise DatasetError(f"{where} holds no rows; it must name at least one video.")
    videos, problems = list[Video](), list[str]()
    for row in rows:
        try:
            videos.append(_video(manifest, entry, row))
        except DatasetError as error:
            problems.append(str(error).removesuffix("."))
    if problems:
        problem = f"{len(problems)} of {len(rows)} rows are wrong: {summarize(problems, 3, '. ')}"
        raise DatasetError(f"{where}: {problem}. Correct or drop them, or give the list of this data set.")
    return tuple(videos)


def _video(manifest: Manifest, entry: LabelList, row: LabelRow) -> Video:
    name = manifest.files.canonical(row.raw_name)
    if not name:
        raise DatasetError(f"'{row.raw_name}' (label {row.mos:g}) is not a name of this data set's videos.")
    content = row.content or (manifest.content.content_of(name) if manifest.content else name)
    if content is None:
        raise DatasetError(f"'{name}' has no content; the [content] pattern does not match it.")
    split, raw = row.split or entry.split, manifest.raw_of(name)
    return Video(name, row.mos, content, split, raw=raw, listed_path=row.path)


def _check_known(entry: LabelList, videos: Sequence[Video], where: str) -> None:
    """Refuse a list whose number of rows or contents, or whose extreme labels, differ from the known ones."""
    if entry.videos not in (None, len(videos)):
        counts = f"{len(videos)} rows instead of {entry.videos}; the last one is {videos[-1].name}"
        next_step = f"Fetch the list again, or give a part of a data set as a CSV {CSV_COLUMNS}"
        raise DatasetError(f"{where} has {counts}. {next_step}.")
    contents = len({video.content for video in videos})
    if entry.contents not in (None, contents):
        counts = f"{contents} contents instead of {entry.contents}"
        raise DatasetError(f"{where} has {counts}; the names were changed, or [content] does not fit them.")
    if entry.mos_range is not None:
        low, high = entry.mos_range
        lowest, highest = min(video.mos for video in videos), max(video.mos for video in videos)
        if abs(lowest - low) > MOS_TOLERANCE or abs(highest - high) > MOS_TOLERANCE:
            labels = f"labels from {lowest:g} to {highest:g} instead of {low:g} to {high:g}"
            raise DatasetError(f"{where} has {labels}; it was rescaled or changed: fetch it again.")


def _list_of(manifest: Manifest, path: Path) -> _ListFile:
    """Return the manifest's entry for a label file, or a new one for a CSV or TSV of the user."""
    where = f"data set '{manifest.name}'"
    if not path.is_file():
        next_step = "give the path of a file with --labels"
        raise DatasetError(f"{where}: the label file '{path}' does not exist; {next_step}.")
    for entry in manifest.labels:
        if path.name in [Path(file).name for file in entry.file]:
            return entry, path
    if path.suffix.lower() in TABLE_ENDINGS:
        return LabelList((path.name,), "own", OwnOptions()), path
    known = f"known are {', '.join(_file_names(manifest))}, or a CSV with the columns {CSV_COLUMNS}"
    raise DatasetError(f"{where} does not know the label file '{path.name}'; {known}.")


def _search(manifest: Manifest, root: Path | None) -> list[_ListFile]:
    """Return the first list that exists, or the first group of lists that exists as a whole."""
    groups = defaultdict[str, list[LabelList]](list)
    for number, entry in enumerate(manifest.labels):
        groups[entry.join or f" {number}"].append(entry)
    folders = [] if root is None else [root, root / LABELS_FOLDER]
    partial = list[str]()
    for group in groups.values():
        files = [(entry, path) for entry in group if (path := _find(entry, folders)) is not None]
        if len(files) == len(group):
            return files
        partial += [str(path) for _, path in files]
    if root is None:
        problem = f"no folder is given and {DATA_VARIABLE} is not set"
    elif not root.is_dir():
        problem = f"the folder '{root}' does not exist"
    else:
        problem = f"there is none in '{root}' or '{root / LABELS_FOLDER}'"
    message = (
        f"data set '{manifest.name}' needs a label file, but {problem}; looked for "
        f"{', '.join(_file_names(manifest))}. Put videos and label file under {DATA_VARIABLE}/"
        f"{manifest.name}, or name their folder with --root DIR, or the file with --labels FILE."
    )
    if partial:
        message += f" Only parts of a list exist: {summarize(partial)}; name them with --labels to use them."
    raise DatasetError(message)


def _find(entry: LabelList, folders: Sequence[Path]) -> Path | None:
    for path in (folder / file for folder in folders for file in entry.file):
        # the folder's listing decides, since some file systems take 'MOS.csv' for 'mos.csv'
        if path.parent.is_dir() and path in path.parent.iterdir():
            return path
    return None


def _file_names(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(Path(file).name for entry in manifest.labels for file in entry.file))
