"""From a name or a path to a checked data set."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vqafeat.datasets import LABEL_READERS, LabelRow, LabelRows, NoOptions
from vqafeat.datasets.dataset import (
    MOS_TOLERANCE,
    SPLIT_NAMES,
    Dataset,
    FileRules,
    Permutations,
    Video,
    dataset_digest,
    name_problem,
)
from vqafeat.datasets.manifest import LabelList, Manifest, load_manifest
from vqafeat.errors import DatasetError
from vqafeat.io import duplicates, read_text_limited, summarize


def check_rows(
    rows: Sequence[LabelRow], names: Sequence[str | None], mos_range: tuple[float, float] | None, where: str
) -> None:
    """Refuse rows that cannot be videos.

    Args:
        rows: of one or more lists.
        names: canonical name of each row; None where the listed one does not fit the manifest's pattern.
        mos_range: what labels may be; None where it is not known.
        where: the list, as the message names it.

    Raises:
        DatasetError: there are no rows, or rows are nameless, doubled, without a label, out of range, or in
            an unknown part.
    """
    if not rows:
        raise DatasetError(f"{where} holds no rows; it must name at least one video.")
    _refuse(
        [f"the one with label {row.mos:g}" for row in rows if not row.raw_name.strip()],
        where,
        "without a video name",
        "drop them or name the video",
    )
    strange = [row.raw_name for row, name in zip(rows, names, strict=True) if name is None]
    _refuse(
        strange,
        where,
        "with a name unlike those of this data set",
        "it is the label list of another data set, or the names were changed",
    )
    found = [name for name in names if name is not None]
    bad = [f"{name} ({problem})" for name in found if (problem := name_problem(name))]
    _refuse(
        bad,
        where,
        "with a name that is no path below the root",
        "write paths relative to the folder of videos, with '/'",
    )
    _refuse(duplicates(found), where, "with the video of an earlier row", "keep one row a video")
    _refuse(
        [row.raw_name for row in rows if not math.isfinite(row.mos)],
        where,
        "without a finite label (empty, NaN or infinite)",
        "drop or mend them",
    )
    if mos_range is not None:
        low, high = mos_range
        outside = [
            f"{row.raw_name} ({row.mos:g})"
            for row in rows
            if not low - MOS_TOLERANCE <= row.mos <= high + MOS_TOLERANCE
        ]
        _refuse(
            outside, where, f"with a label outside {low:g} to {high:g}", "mend them; the scale may be another"
        )
    unknown = [
        f"{row.raw_name} ('{row.split}')"
        for row in rows
        if row.split is not None and row.split not in SPLIT_NAMES
    ]
    _refuse(
        unknown,
        where,
        f"with a split other than {', '.join(SPLIT_NAMES)}",
        "use one of these, or leave the cell empty",
    )


def check_known(entry: LabelList, videos: Sequence[Video], where: str) -> None:
    """Refuse a list that does not show what it is known to hold.

    Raises:
        DatasetError: another number of rows or contents, or another range of labels.
    """
    if entry.videos is not None and len(videos) != entry.videos:
        fewer = entry.videos - len(videos)
        raise DatasetError(
            f"{where} holds {len(videos)} rows, known are {entry.videos} ({abs(fewer)} "
            f"{'missing' if fewer > 0 else 'too many'}, "
            f"last row {videos[-1].name}); fetch the list again, or give a part of a data set as a CSV "
            f"video,mos[,content,split]."
        )
    contents = len({video.content for video in videos})
    if entry.contents is not None and contents != entry.contents:
        raise DatasetError(
            f"{where} shows {contents} contents, known are {entry.contents}; the names were changed, or "
            f"[content] does not fit them."
        )
    if entry.mos_range is not None:
        low, high = min(video.mos for video in videos), max(video.mos for video in videos)
        if abs(low - entry.mos_range[0]) > MOS_TOLERANCE or abs(high - entry.mos_range[1]) > MOS_TOLERANCE:
            raise DatasetError(
                f"{where} has labels from {low:g} to {high:g}, known are {entry.mos_range[0]:g} to "
                f"{entry.mos_range[1]:g}; "
                "the list was rescaled or changed, fetch it again."
            )


def _refuse(bad: Sequence[str], where: str, what: str, next_step: str) -> None:
    if bad:
        raise DatasetError(
            f"{where}: {len(bad)} {'row' if len(bad) == 1 else 'rows'} {what}: {summarize(bad)}; {next_step}."
        )


DATA_VARIABLE = "VQAFEAT_DATA"
LABELS_FOLDER = "labels"
# A CSV with such a name says nothing of the data set; its folder does.
_GENERIC_STEMS = frozenset(
    {"mos", "label", "labels", "score", "scores", "data", "dataset", "metadata", "index", "list", "videos"}
)


def default_root(name_or_path: str) -> Path | None:
    """Return where a data set's videos lie unless one says otherwise: the folder of its CSV or TOML, or
    VQAFEAT_DATA/<name>.
    """
    if name_or_path.lower().endswith((".csv", ".toml")):
        return Path(name_or_path).parent
    data = os.environ.get(DATA_VARIABLE)
    return Path(data) / name_or_path if data else None


def load_dataset(
    name_or_path: str, root: Path | None = None, labels: Path | Sequence[Path] | None = None
) -> Dataset:
    """Return a data set with its labels; the videos themselves are not looked for.

    Args:
        name_or_path: name of a shipped manifest, path of a .toml manifest, or path of a .csv with
            video,mos[,content,split].
        root: folder of the data set, where label files are looked for; see `default_root`.
        labels: label file, or several that belong together, or a folder to look in instead of the root.

    Raises:
        UnknownNameError: no such data set is known.
        DatasetError: no label file is found, or its rows are not what they should be.
    """
    if name_or_path.lower().endswith(".csv"):
        return _load_own(Path(name_or_path), labels)
    if Path(name_or_path).is_dir() and ("/" in name_or_path or os.sep in name_or_path):
        raise DatasetError(
            f"data set '{name_or_path}' is a folder; give the path of its .csv (video,mos[,content,split]) "
            f"or .toml."
        )
    manifest = load_manifest(name_or_path)
    chosen = _chosen_lists(manifest, root or default_root(name_or_path), labels)
    pieces = [_read_list(manifest, entry, path) for entry, path in chosen]
    rows = [row for piece, _ in pieces for row in piece.rows]
    label_list = " + ".join(path.name for _, path in chosen)
    videos = tuple(video for _, videos in pieces for video in videos)
    check_rows(
        rows,
        [video.name for video in videos],
        manifest.mos_range,
        f"label list '{label_list}' of '{manifest.name}'",
    )
    permutations = pieces[0][0].permutations if len(pieces) == 1 else None
    return _finished(manifest, videos, label_list, permutations)


def _finished(
    manifest: Manifest, videos: tuple[Video, ...], label_list: str, permutations: Permutations | None
) -> Dataset:
    dataset = Dataset(
        name=manifest.name,
        title=manifest.title,
        score_name=manifest.score_name,
        mos_range=manifest.mos_range,
        videos=videos,
        label_list=label_list,
        digest="",
        raw=manifest.raw,
        stored_permutations=permutations,
        files=manifest.files,
        scale=manifest.scale,
    )
    return replace(dataset, digest=dataset_digest(dataset))


def _load_own(path: Path, labels: Path | Sequence[Path] | None) -> Dataset:
    if labels is not None:
        raise DatasetError(
            f"labels '{labels}' cannot be given beside the data set '{path}': the CSV itself holds the "
            f"labels; drop --labels."
        )
    if not path.is_file():
        raise DatasetError(
            f"data set '{path}' is not a file; give the path of a CSV with the columns "
            f"video,mos[,content,split]."
        )
    stem = path.stem.lower()
    name = path.resolve().parent.name if stem in _GENERIC_STEMS and path.resolve().parent.name else path.stem
    rows = LABEL_READERS.get("own").read(path, NoOptions()).rows
    names = [str(FileRules().canonical(row.raw_name)) for row in rows]
    check_rows(rows, names, None, f"'{path}'")
    scores = [row.mos for row in rows]
    videos = tuple(
        Video(name, row.mos, row.content or name, row.split) for name, row in zip(names, rows, strict=True)
    )
    dataset = Dataset(name, name, "MOS", (min(scores), max(scores)), videos, path.name, "")
    return replace(dataset, digest=dataset_digest(dataset))


# --- which lists
# --------------------------------------------------------------------------------------------------------------------


def _groups(manifest: Manifest) -> list[list[LabelList]]:
    """Return the lists that are read together, in the manifest's order."""
    groups: dict[str, list[LabelList]] = {}
    for number, entry in enumerate(manifest.labels):
        groups.setdefault(entry.join or f" {number}", []).append(entry)
    return list(groups.values())


def _chosen_lists(
    manifest: Manifest, root: Path | None, labels: Path | Sequence[Path] | None
) -> list[tuple[LabelList, Path]]:
    if labels is None:
        return _searched(manifest, root, "")
    if isinstance(labels, Path):
        return _searched(manifest, labels, "--labels ") if labels.is_dir() else [_named(manifest, labels)]
    if not labels:
        raise DatasetError(
            f"data set '{manifest.name}': an empty list of label files was given; name one, or none at all "
            f"to have it looked for."
        )
    return [_named(manifest, path) for path in labels]


def _named(manifest: Manifest, path: Path) -> tuple[LabelList, Path]:
    """Return the entry for a file that was named; a CSV of one's own is understood as well."""
    if not path.is_file():
        raise DatasetError(
            f"data set '{manifest.name}': the label file '{path}' does not exist; give the path of a file "
            f"with --labels."
        )
    for entry in manifest.labels:
        if path.name in [Path(file).name for file in entry.file]:
            return entry, path
    if path.suffix.lower() == ".csv" and "video" in read_text_limited(path, "utf-8-sig", "replace").split(
        "\n", 1
    )[0].strip().split(","):
        return LabelList((path.name,), "own", NoOptions()), path
    raise DatasetError(
        f"data set '{manifest.name}' does not know the label file '{path.name}'; known are "
        f"{', '.join(_file_names(manifest))}, "
        "or a CSV with the columns video,mos[,content,split]."
    )


def _searched(manifest: Manifest, root: Path | None, option: str) -> list[tuple[LabelList, Path]]:
    """Return the first group of lists that is there as a whole."""
    places = [] if root is None else [root, root / LABELS_FOLDER]
    partial: list[str] = []
    for group in _groups(manifest):
        found = [(entry, path) for entry in group if (path := _find(entry, places)) is not None]
        if len(found) == len(group):
            return found
        partial += [str(path) for _, path in found]
    raise DatasetError(_not_found(manifest, root, places, option, partial))


def _find(entry: LabelList, places: Sequence[Path]) -> Path | None:
    for place in places:
        for file in entry.file:
            path = place / file
            # Names are compared with the folder's own listing, for some file systems take 'MOS.csv' for
            # 'mos.csv'.
            if path.parent.is_dir() and path.name in {item.name for item in path.parent.iterdir()}:
                return path
    return None


def _not_found(
    manifest: Manifest, root: Path | None, places: Sequence[Path], option: str, partial: Sequence[str]
) -> str:
    name = manifest.name
    if root is None:
        where = f"no folder is given and {DATA_VARIABLE} is not set"
    elif not root.is_dir():
        where = f"the folder {option}'{root}' does not exist"
    else:
        where = f"there is none in {option}{' or '.join(repr(str(place)) for place in places)}"
    also = (
        f" Found were only parts of a list: {summarize(partial)}; name them with --labels to use them alone."
        if partial
        else ""
    )
    return (
        f"data set '{name}' needs a label file, but {where}; looked for {', '.join(_file_names(manifest))}. "
        f"Put videos and label file under {DATA_VARIABLE}/{name}, or name their folder with --root DIR, "
        f"or the file with --labels FILE.{also}"
    )


def _file_names(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(Path(file).name for entry in manifest.labels for file in entry.file))


# --- from rows to videos
# ------------------------------------------------------------------------------------------------------------


def _read_list(manifest: Manifest, entry: LabelList, path: Path) -> tuple[LabelRows, tuple[Video, ...]]:
    where = f"label list '{path.name}' of '{manifest.name}'"
    read = LABEL_READERS.get(entry.reader).read(path, entry.options)
    names = [manifest.files.canonical(row.raw_name) for row in read.rows]
    check_rows(read.rows, names, manifest.mos_range, where)
    videos = tuple(
        _video(manifest, entry, row, str(name), where) for row, name in zip(read.rows, names, strict=True)
    )
    check_known(entry, videos, where)
    return read, videos


def _video(manifest: Manifest, entry: LabelList, row: LabelRow, name: str, where: str) -> Video:
    content = row.content or (manifest.content.content_of(name) if manifest.content else name)
    if content is None:
        raise DatasetError(
            f"{where}: the content of '{name}' cannot be told; [content] pattern does not match it."
        )
    return Video(name, row.mos, content, row.split or entry.split, raw=manifest.raw_of(name))
