"""The label reader of a user's own CSV or TSV: its columns, and the names of videos that it lists by path."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqafeat.datasets.dataset import FileRules
from vqafeat.datasets.label_readers import (
    LABEL_READERS,
    LabelReader,
    LabelRow,
    LabelRows,
    Table,
    TableOptions,
    label_error,
    labelled_rows,
    read_table,
    text_of,
)
from vqafeat.errors import DatasetError
from vqafeat.io import summarize

# the preferred names first; capitals, spaces and punctuation do not count
_OWN_COLUMNS = {
    "video": ("video", "videoname", "filename", "name", "file", "path", "videopath", "filepath", "flickrid"),
    "mos": ("mos", "meanopinionscore", "mosscore", "score", "videoscore"),
    "content": ("content",),
    "split": ("split",),
}


@dataclass(frozen=True)
class OwnOptions:
    """The folder that paths such as `../a.mp4` start from; None refuses them, and absolute paths."""

    root: Path | None = None


def read_own(path: Path, options: OwnOptions) -> LabelRows:
    """Return the rows of a user's CSV: columns of videos and scores and, optionally, content and split.

    Columns are separated by commas, semicolons or tabs. Lines that begin with `#` are comments.
    """
    text, comments = re.subn(r"(?m)^#[^\r\n]*", "", text_of(path))
    delimiter = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    table = read_table(path, delimiter, text)
    columns = own_columns(path, table.header)
    names = {role: (columns[role],) if role in columns else () for role in _OWN_COLUMNS}
    decimal = "." if delimiter == "," else ","
    split, content = names["split"], names["content"]
    read = labelled_rows(
        table, path, TableOptions(names["video"], names["mos"], content, split, decimal=decimal)
    )
    rows = read.rows if options.root is None else _named_by_path(read.rows, options.root.absolute())
    return LabelRows(rows, note=_columns_note(path, table, columns, delimiter, comments))


def own_columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Return role → column of a user's CSV, for the roles that it has."""
    keys = [re.sub(r"[\W_]", "", name.casefold()) for name in header]
    columns = dict[str, str]()
    for role, names in _OWN_COLUMNS.items():
        key = next((name for name in names if name in keys), None)
        if key is not None and keys.count(key) > 1:
            same = ", ".join(name for name, own in zip(header, keys, strict=True) if own == key)
            raise label_error(path, f"several of its columns may be the {role}: {same}; keep one")
        if key is not None:
            columns[role] = header[keys.index(key)]
    if missing := [role for role in ("video", "mos") if role not in columns]:
        known = "; ".join(f"{role} may be called {', '.join(_OWN_COLUMNS[role])}" for role in missing)
        problem = f"'{path}' has the columns {','.join(header)}, but none for {' and '.join(missing)}"
        raise DatasetError(f"{problem}; {known}.")
    return columns


def _columns_note(path: Path, table: Table, columns: dict[str, str], delimiter: str, comments: int) -> str:
    words = {",": "", ";": "columns are separated by semicolons", "\t": "columns are separated by tabs"}
    unread = [name for name in table.header if name and name not in columns.values()]
    parts = [
        words[delimiter],
        f"not used: {summarize(unread, 8)}" if unread else "",
        f"{comments} comment line{'s' * (comments > 1)} skipped" if comments else "",
    ]
    if not any(parts) and all(role == name for role, name in columns.items()):
        return ""
    roles = ", ".join(f"{role} is the column '{name}'" for role, name in columns.items())
    return f"{path.name}: {'; '.join([roles, *filter(None, parts)])}."


def _named_by_path(rows: Sequence[LabelRow], root: Path) -> tuple[LabelRow, ...]:
    """Return the rows; an absolute path, or one with '..', becomes the row's `path`, and names the video."""
    paths, others = dict[str, Path](), set[str]()
    for row in rows:
        tidy = FileRules().canonical(row.raw_name) or ""
        if tidy.startswith("/") or ".." in tidy.split("/"):
            paths[row.raw_name] = root / re.sub("^/+", "/", tidy)
        else:
            others.add(tidy)
    names = _names_of(paths, root, others)
    return tuple(
        replace(row, raw_name=names[row.raw_name], path=paths[row.raw_name]) if row.raw_name in paths else row
        for row in rows
    )


def _names_of(paths: Mapping[str, Path], root: Path, others: Collection[str]) -> dict[str, str]:
    """Return the part of each path below the root; for files outside of it, below the folder that they share.

    Where a file outside would get the name of a video in the root, a parent of that folder is taken.
    """
    # only names leave out '..' this way: after a link it may lead elsewhere, so the file is opened as listed
    normal = {raw: Path(os.path.normpath(path)) for raw, path in paths.items()}
    root = Path(os.path.normpath(root))
    names = {raw: str(path.relative_to(root)) for raw, path in normal.items() if path.is_relative_to(root)}
    outside = {raw: path for raw, path in normal.items() if raw not in names}
    taken = {*others, *names.values()}
    shared = Path(os.path.commonpath([path.parent for path in outside.values()] or [root]))
    for folder in (shared, *shared.parents):
        new_names = {raw: str(path.relative_to(folder)) for raw, path in outside.items()}
        if taken.isdisjoint(new_names.values()):
            break
    return {**names, **new_names}


LABEL_READERS.add("own", LabelReader(OwnOptions, read_own))
