"""Manifests: one TOML file per data set.

title, score_name, mos_range = [low, high]    required
scale, homepage, citation                     texts
class_pattern                                 its group is the content class, searched in canonical names
[files]        folders, extensions, pattern, name, exact_paths_only
[content]      pattern, fold_case: the content in a canonical name; without it, each video is a content
[raw]          width, height, pixel_format, frame_rate_hz
[[raw.where]]  pattern and any key of [raw]: other values for canonical names that the pattern matches
[[labels]]     file, reader, name, videos, contents, mos_range, split, join, and the reader's options
"""

import re
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from vqafeat.datasets.dataset import FileRules, RawGeometry, SplitName, check_pattern
from vqafeat.datasets.label_readers import LABEL_READERS, NoOptions
from vqafeat.errors import DatasetError, UnknownNameError, suggestion
from vqafeat.io import read_toml
from vqafeat.schema import NonEmpty, Texts, parse, refuse_unknown


@dataclass(frozen=True)
class ContentRule:
    """How the content of a video is read from its canonical name: the groups of a pattern, joined."""

    pattern: str
    fold_case: bool = False

    def __post_init__(self) -> None:
        check_pattern(self.pattern, "content", groups=1)

    def content_of(self, name: str) -> str | None:
        """Return the content of a canonical name, or None if the pattern does not match."""
        match = re.search(self.pattern, name)
        if match is None:
            return None
        content = "_".join(part for part in match.groups() if part)
        return content.casefold() if self.fold_case else content


@dataclass(frozen=True)
class RawException:
    """The geometry of videos whose canonical name matches `pattern`; None keeps the data set's value."""

    pattern: str
    width: int | None = None
    height: int | None = None
    pixel_format: str | None = None
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        check_pattern(self.pattern, "raw.where")


@dataclass(frozen=True)
class LabelList:
    """One label file from which a data set's labels can be read."""

    file: NonEmpty[Texts]  # the names that it may have, below the root or the root's folder `labels`
    reader: str
    options: Any = field(default_factory=NoOptions)
    name: str = ""  # what `--labels` calls it, where another list reads the same file
    # videos, contents, mos_range: known counts, and smallest and largest label; None if unverified
    videos: int | None = None
    contents: int | None = None
    mos_range: tuple[float, float] | None = None
    split: SplitName | None = None  # official part of all its rows
    join: str | None = None  # lists with the same word here are read together


def _label_list(table: object) -> LabelList:
    """Return the list that one of the [[labels]] describes; the reader's options are in the same table."""
    if not isinstance(table, dict):
        raise DatasetError(f"[[labels]]: {table!r} must be a table.")
    where = f"[[labels]] {table.get('file', '?')}"
    options = LABEL_READERS.get(str(table.get("reader", ""))).options
    own_keys = [item.name for item in fields(LabelList) if item.name != "options"]
    option_keys = [item.name for item in fields(options)]
    refuse_unknown(table, [*own_keys, *option_keys], where)
    entry = parse(LabelList, {key: table[key] for key in table if key in own_keys}, where)
    values = {key: table[key] for key in table if key in option_keys}
    return replace(entry, options=parse(options, values, where))


@dataclass(frozen=True)
class Manifest:
    """Description of a data set's labels and files; see also `Dataset`."""

    name: str  # stem of the manifest's file
    title: str
    score_name: str
    mos_range: tuple[float, float]
    # the lists that can be read, the preferred ones first
    labels: NonEmpty[tuple[Annotated[LabelList, PlainValidator(_label_list)], ...]]
    scale: str = ""
    homepage: str = ""
    citation: str = ""
    files: FileRules = field(default_factory=FileRules)
    content: ContentRule | None = None  # None if each video is a content
    raw: RawGeometry | None = None
    raw_where: tuple[RawException, ...] = ()
    class_pattern: str = ""  # its first group in a canonical name is the content class; may be empty

    def __post_init__(self) -> None:
        if not self.mos_range[0] < self.mos_range[1]:
            raise DatasetError(f"mos_range {list(self.mos_range)} must be [smallest, largest].")
        if self.class_pattern:
            check_pattern(self.class_pattern, "class_pattern", groups=1)

    def class_of(self, name: str) -> str | None:
        """Return the content class that a canonical name contains, or None."""
        match = re.search(self.class_pattern, name) if self.class_pattern else None
        return match[1] if match else None

    def raw_of(self, name: str) -> RawGeometry | None:
        """Return the geometry of a video if it differs from the data set's."""
        geometry = self.raw
        for exception in self.raw_where:
            if geometry is not None and re.search(exception.pattern, name):
                values = vars(exception).items()
                geometry = replace(geometry, **{k: v for k, v in values if k != "pattern" and v is not None})
        return geometry if geometry != self.raw else None


def manifest_folder() -> Path:
    """Return the folder of the shipped manifests: in an installed package, or next to it in a checkout."""
    inside = Path(str(package_files("vqafeat"))) / "manifests"
    return inside if inside.is_dir() else inside.parents[1] / "manifests"


def manifest_names() -> list[str]:
    """Return the names of the shipped manifests, sorted."""
    return sorted(path.stem for path in manifest_folder().glob("*.toml"))


def load_manifest(name_or_path: str) -> Manifest:
    """Return a shipped manifest by its name, or a user's by the path of its .toml."""
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        if name_or_path not in (names := manifest_names()):
            hint = suggestion(name_or_path.lower(), names)
            own = "For your own, give the path of a .csv (video,mos[,content,split]) or of a .toml manifest."
            if path.is_dir():
                own += f" For the videos in this folder, without labels, write './{name_or_path}'."
            raise UnknownNameError(f"unknown data set '{name_or_path}': {hint} {own}")
        path = manifest_folder() / f"{name_or_path}.toml"
    table, where = read_toml(path, "manifest"), f"manifest '{path.name}'"
    keys = [item.name for item in fields(Manifest) if item.name not in ("name", "raw_where")]
    refuse_unknown(table, keys, where)
    values: dict[str, Any] = {"name": path.stem, **table}
    if isinstance(table.get("raw"), dict):
        values["raw"] = dict(table["raw"])
        values["raw_where"] = values["raw"].pop("where", [])
    return parse(Manifest, values, where)
