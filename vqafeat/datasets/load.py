"""Load a data set from its name, a manifest, or a CSV, and check its rows."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vqafeat.datasets.dataset import (
    MOS_TOLERANCE,
    SPLIT_NAMES,
    Dataset,
    FileRules,
    Video,
    in_range,
    name_problem,
    with_digest,
)
from vqafeat.datasets.label_readers import LABEL_READERS, LabelRow, LabelRows, NoOptions
from vqafeat.datasets.manifest import LabelList, Manifest, load_manifest
from vqafeat.errors import DatasetError
from vqafeat.io import duplicates, read_text_limited, summarize

DATA_VARIABLE = "VQAFEAT_DATA"
LABELS_FOLDER = "labels"
CSV_COLUMNS = "video,mos[,content,split]"
# A CSV with such a name is named after its folder.
_GENERIC_STEMS = frozenset(
    {"mos", "label", "labels", "score", "scores", "data", "dataset", "metadata", "index", "list", "videos"}
)
AnyPath = str | Path
_ListFile = tuple[LabelList, Path]


def default_root(name_or_path: AnyPath) -> Path | None:
    """Return the default folder of a data set's videos: that of its CSV or TOML, or VQAFEAT_DATA/<name>."""
    if str(name_or_path).lower().endswith((".csv", ".toml")):
        return Path(name_or_path).parent
    data = os.environ.get(DATA_VARIABLE)
    return Path(data) / name_or_path if data else None


def load_dataset(
    name_or_path: AnyPath, root: AnyPath | None = None, labels: AnyPath | Sequence[AnyPath] | None = None
) -> Dataset:
    """Return a data set with its labels; the videos themselves are not searched.

    Args:
        name_or_path: a shipped manifest's name, or the path of a .toml manifest or of a .csv with
            video,mos[,content,split].
        root: folder of the data set, in which label files and, by `extract`, videos are searched; see
            `default_root`.
        labels: a label file, several that belong together, or a folder to search instead of the root.

    Raises:
        UnknownNameError: no such data set is known.
        DatasetError: no label file is found, or its rows are wrong.
    """
    name = str(name_or_path)
    files: Path | list[Path] | None = None
    if labels is not None:
        files = Path(labels) if isinstance(labels, AnyPath) else [Path(path) for path in labels]
    folder = default_root(name) if root is None else Path(root)
    if name.lower().endswith(".csv"):
        return replace(_load_csv(Path(name), files), root=folder)
    is_path = isinstance(name_or_path, Path) or "/" in name or os.sep in name
    if is_path and Path(name).is_dir():
        next_step = f"give the path of its .csv ({CSV_COLUMNS}) or .toml"
        raise DatasetError(f"data set '{name}' is a folder; {next_step}.")
    manifest = load_manifest(name)
    lists = _select_lists(manifest, folder, files)
    pieces = [_read_list(manifest, entry, path) for entry, path in lists]
    rows = [row for piece, _ in pieces for row in piece.rows]
    videos = tuple(video for _, videos in pieces for video in videos)
    label_list = " + ".join(path.name for _, path in lists)
    where = f"label list '{label_list}' of '{manifest.name}'"
    check_rows(rows, [video.name for video in videos], manifest.mos_range, where)
    dataset = Dataset(
        name=manifest.name,
        title=manifest.title,
        score_name=manifest.score_name,
        mos_range=manifest.mos_range,
        videos=videos,
        label_list=label_list,
        digest="",
        raw=manifest.raw,
        stored_permutations=pieces[0][0].permutations if len(pieces) == 1 else None,
        files=manifest.files,
        scale=manifest.scale,
        root=folder,
    )
    return with_digest(dataset)


def _load_csv(path: Path, labels: Path | Sequence[Path] | None) -> Dataset:
    if labels is not None:
        raise DatasetError(
            f"labels '{labels}' cannot be given with the data set '{path}': the CSV itself holds the labels; "
            "drop --labels."
        )
    if not path.is_file():
        next_step = f"give the path of a CSV with the columns {CSV_COLUMNS}"
        raise DatasetError(f"data set '{path}' is not a file; {next_step}.")
    folder = path.resolve().parent.name
    name = folder if folder and path.stem.lower() in _GENERIC_STEMS else path.stem
    rows = LABEL_READERS.get("own").read(path, NoOptions()).rows
    names = [str(FileRules().canonical(row.raw_name)) for row in rows]
    check_rows(rows, names, None, f"'{path}'")
    scores = [row.mos for row in rows]
    pairs = zip(names, rows, strict=True)
    videos = tuple(Video(video, row.mos, row.content or video, row.split) for video, row in pairs)
    return with_digest(Dataset(name, name, "MOS", (min(scores), max(scores)), videos, path.name, ""))


def check_rows(
    rows: Sequence[LabelRow], names: Sequence[str | None], mos_range: tuple[float, float] | None, where: str
) -> None:
    """Refuse rows that cannot be videos.

    Args:
        rows: of one or more lists.
        names: canonical name of each row; None if the listed one does not fit the manifest's pattern.
        mos_range: allowed labels; None if unknown.
        where: the list, for messages.
    """
    if not rows:
        raise DatasetError(f"{where} holds no rows; it must name at least one video.")
    nameless = [f"the one with label {row.mos:g}" for row in rows if not row.raw_name.strip()]
    _refuse(nameless, where, "without a video name", "drop them or name the video")
    strange = [row.raw_name for row, name in zip(rows, names, strict=True) if name is None]
    next_step = "it is the label list of another data set, or the names were changed"
    _refuse(strange, where, "with a name unlike those of this data set", next_step)
    known = [name for name in names if name is not None]
    no_paths = [f"{name} ({problem})" for name in known if (problem := name_problem(name))]
    next_step = "write paths relative to the folder of videos, with '/'"
    _refuse(no_paths, where, "with a name that is no path below the root", next_step)
    _refuse(duplicates(known), where, "with the video of an earlier row", "keep one row a video")
    unlabelled = [row.raw_name for row in rows if not math.isfinite(row.mos)]
    _refuse(unlabelled, where, "without a finite label (empty, NaN or infinite)", "drop or correct them")
    if mos_range is not None:
        outside = [f"{row.raw_name} ({row.mos:g})" for row in rows if not in_range(row.mos, mos_range)]
        problem = f"with a label outside {mos_range[0]:g} to {mos_range[1]:g}"
        _refuse(outside, where, problem, "correct them; the scale may be another")
    unknown = [f"{row.raw_name} ('{row.split}')" for row in rows if row.split not in (None, *SPLIT_NAMES)]
    problem = f"with a split other than {', '.join(SPLIT_NAMES)}"
    _refuse(unknown, where, problem, "use one of these, or leave the cell empty")


def _refuse(bad: Sequence[str], where: str, problem: str, next_step: str) -> None:
    if bad:
        count = "1 row" if len(bad) == 1 else f"{len(bad)} rows"
        raise DatasetError(f"{where}: {count} {problem}: {summarize(bad)}; {next_step}.")


def check_known(entry: LabelList, videos: Sequence[Video], where: str) -> None:
    """Refuse a list with another number of rows or contents, or other extreme labels, than is known."""
    if entry.videos is not None and len(videos) != entry.videos:
        fewer = entry.videos - len(videos)
        difference = f"{fewer} missing" if fewer > 0 else f"{-fewer} too many"
        raise DatasetError(
            f"{where} holds {len(videos)} rows, known are {entry.videos} ({difference}, last row "
            f"{videos[-1].name}); fetch the list again, or give a part of a data set as a CSV "
            "video,mos[,content,split]."
        )
    contents = len({video.content for video in videos})
    if entry.contents is not None and contents != entry.contents:
        raise DatasetError(
            f"{where} shows {contents} contents, known are {entry.contents}; the names were changed, or "
            "[content] does not fit them."
        )
    if entry.mos_range is not None:
        scores = [video.mos for video in videos]
        bounds = (min(scores), max(scores))
        if any(abs(a - b) > MOS_TOLERANCE for a, b in zip(bounds, entry.mos_range, strict=True)):
            low, high = entry.mos_range
            raise DatasetError(
                f"{where} has labels from {bounds[0]:g} to {bounds[1]:g}, known are {low:g} to {high:g}; the "
                "list was rescaled or changed, fetch it again."
            )


def _select_lists(
    manifest: Manifest, root: Path | None, labels: Path | Sequence[Path] | None
) -> list[_ListFile]:
    if labels is None:
        return _search(manifest, root, "")
    if isinstance(labels, Path):
        return _search(manifest, labels, "--labels ") if labels.is_dir() else [_list_of(manifest, labels)]
    if not labels:
        raise DatasetError(
            f"data set '{manifest.name}': an empty list of label files was given; name one, or none at all "
            "to search for it."
        )
    return [_list_of(manifest, path) for path in labels]


def _list_of(manifest: Manifest, path: Path) -> _ListFile:
    """Return the entry for a label file: one of the manifest, or for a CSV with the column `video`."""
    where = f"data set '{manifest.name}'"
    if not path.is_file():
        next_step = "give the path of a file with --labels"
        raise DatasetError(f"{where}: the label file '{path}' does not exist; {next_step}.")
    for entry in manifest.labels:
        if path.name in [Path(file).name for file in entry.file]:
            return entry, path
    if path.suffix.lower() == ".csv":
        header = read_text_limited(path, "utf-8-sig", "replace").split("\n", 1)[0]
        if "video" in header.strip().split(","):
            return LabelList((path.name,), "own", NoOptions()), path
    raise DatasetError(
        f"{where} does not know the label file '{path.name}'; known are {', '.join(_file_names(manifest))}, "
        "or a CSV with the columns video,mos[,content,split]."
    )


def _search(manifest: Manifest, root: Path | None, option: str) -> list[_ListFile]:
    """Return the first list that exists, or the first group of lists that exists as a whole."""
    groups: dict[str, list[LabelList]] = {}
    for number, entry in enumerate(manifest.labels):
        groups.setdefault(entry.join or f" {number}", []).append(entry)
    folders = [] if root is None else [root, root / LABELS_FOLDER]
    partial: list[str] = []
    for group in groups.values():
        files = [(entry, path) for entry in group if (path := _find(entry, folders)) is not None]
        if len(files) == len(group):
            return files
        partial += [str(path) for _, path in files]
    raise DatasetError(_not_found(manifest, root, folders, option, partial))


def _find(entry: LabelList, folders: Sequence[Path]) -> Path | None:
    for path in (folder / file for folder in folders for file in entry.file):
        # Compared with the folder's listing, since some file systems take 'MOS.csv' for 'mos.csv'.
        if path.parent.is_dir() and path.name in {item.name for item in path.parent.iterdir()}:
            return path
    return None


def _not_found(
    manifest: Manifest, root: Path | None, folders: Sequence[Path], option: str, partial: Sequence[str]
) -> str:
    name = manifest.name
    if root is None:
        where = f"no folder is given and {DATA_VARIABLE} is not set"
    elif not root.is_dir():
        where = f"the folder {option}'{root}' does not exist"
    else:
        where = f"there is none in {option}{' or '.join(repr(str(folder)) for folder in folders)}"
    message = (
        f"data set '{name}' needs a label file, but {where}; looked for {', '.join(_file_names(manifest))}. "
        f"Put videos and label file under {DATA_VARIABLE}/{name}, or name their folder with --root DIR, or "
        "the file with --labels FILE."
    )
    if partial:
        message += f" Only parts of a list exist: {summarize(partial)}; name them with --labels to use them."
    return message


def _file_names(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(Path(file).name for entry in manifest.labels for file in entry.file))


def _read_list(manifest: Manifest, entry: LabelList, path: Path) -> tuple[LabelRows, tuple[Video, ...]]:
    where = f"label list '{path.name}' of '{manifest.name}'"
    read = LABEL_READERS.get(entry.reader).read(path, entry.options)
    names = [manifest.files.canonical(row.raw_name) for row in read.rows]
    check_rows(read.rows, names, manifest.mos_range, where)
    rows = zip(read.rows, names, strict=True)
    videos = tuple(_video(manifest, entry, row, str(name), where) for row, name in rows)
    check_known(entry, videos, where)
    return read, videos


def _video(manifest: Manifest, entry: LabelList, row: LabelRow, name: str, where: str) -> Video:
    content = row.content or (manifest.content.content_of(name) if manifest.content else name)
    if content is None:
        raise DatasetError(f"{where}: '{name}' has no content; the [content] pattern does not match it.")
    return Video(name, row.mos, content, row.split or entry.split, raw=manifest.raw_of(name))
