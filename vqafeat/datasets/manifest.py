"""The manifest file: one TOML a data set, checked key by key.

title, score_name, mos_range = [low, high]            required
scale, homepage, citation                             texts
class_pattern                                         regular expression whose group in a canonical name is
the content class [files]      folders, extensions, pattern, name, exact_paths_only [content]    pattern,
fold_case                       groups the canonical names; without it each video is its own content [raw]
width, height, pixel_format, frame_rate_hz [[raw.where]]  pattern and any of the above           overrides for
canonical names that the pattern is found in [[labels]]   file, reader, videos, contents, mos_range, split,
join, and the reader's own options
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.resources import files as package_files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vqafeat.datasets import LABEL_READERS
from vqafeat.datasets.dataset import SPLIT_NAMES, FileRules, RawGeometry
from vqafeat.errors import DatasetError, UnknownNameError
from vqafeat.io import read_text_limited

Kind = TypeVar("Kind")


def refuse_unknown(table: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Refuse keys that are not known.

    Raises:
        DatasetError: there is one; the nearest known keys are named.
    """
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(known)}."
            raise DatasetError(f"{where}: unknown key '{key}': {hint}")


def build(kind: type[Kind], table: Mapping[str, object], where: str) -> Kind:
    """Return the dataclass `kind` made of a TOML table.

    Lists become tuples, one text stands for a list of one, whole numbers do for real ones.

    Raises:
        DatasetError: a key is unknown or missing, a value has the wrong type, or the dataclass itself refuses
            the values.
    """
    members: list[Any] = list(fields(cast(Any, kind)))
    hints = get_type_hints(kind)
    refuse_unknown(table, [member.name for member in members], where)
    lacking = [
        m.name
        for m in members
        if m.name not in table and m.default is MISSING and m.default_factory is MISSING
    ]
    if lacking:
        raise DatasetError(f"{where}: missing key '{lacking[0]}'; add it.")
    values = {key: convert(value, hints[key], f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error


def convert(value: object, hint: Any, where: str) -> Any:
    """Return `value` as the type that `hint` names.

    Raises:
        DatasetError: it is of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return convert(value, next(part for part in arguments if part is not NoneType), where)
    if origin is tuple:
        return _tuple(value, arguments, where)
    if origin is not None and isinstance(value, dict) and issubclass(origin, Mapping):
        return {str(key): convert(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and not (isinstance(value, bool) and hint is not bool)
    ):
        return value
    raise DatasetError(f"{where}: {value!r} must be {getattr(hint, '__name__', str(hint))}.")


def _tuple(value: object, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise DatasetError(f"{where}: {value!r} must be a list.")
    if arguments[-1] is Ellipsis:
        return tuple(convert(item, arguments[0], where) for item in items)
    if len(items) != len(arguments):
        raise DatasetError(f"{where}: {value!r} must have {len(arguments)} items.")
    return tuple(convert(item, part, where) for item, part in zip(items, arguments, strict=True))


@dataclass(frozen=True)
class ContentRule:
    """How a canonical name tells its content.

    Attributes:
        pattern: regular expression; its groups, joined, are the content.
        fold_case: letters' case does not tell contents apart.
    """

    pattern: str
    fold_case: bool = False

    def __post_init__(self) -> None:
        if _compiled(self.pattern, "content").groups < 1:
            raise DatasetError(
                f"content: pattern '{self.pattern}' has no group; put the part that names the content in "
                f"parentheses."
            )

    def content_of(self, name: str) -> str | None:
        """Return the content of a canonical name, or None where the pattern does not match."""
        match = re.search(self.pattern, name)
        if match is None:
            return None
        content = "_".join(part for part in match.groups() if part)
        return content.casefold() if self.fold_case else content


@dataclass(frozen=True)
class RawException:
    """Geometry of the videos whose canonical name holds `pattern`; what is None stays as it is."""

    pattern: str
    width: int | None = None
    height: int | None = None
    pixel_format: str | None = None
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        _compiled(self.pattern, "raw.where")


@dataclass(frozen=True)
class LabelList:
    """One label file that a data set's labels can be read from.

    Attributes:
        file: names that the file goes by, below the root or its folder `labels`.
        reader: name of the label reader.
        options: the reader's options.
        videos: how many rows it is known to hold; None where that could not be verified.
        contents: how many contents it is known to show.
        mos_range: its smallest and largest label; None where only the data set's range is known.
        split: the official part that all its rows belong to.
        join: lists with the same word make up one data set together.
    """

    file: tuple[str, ...]
    reader: str
    options: Any
    videos: int | None = None
    contents: int | None = None
    mos_range: tuple[float, float] | None = None
    split: str | None = None
    join: str | None = None

    def __post_init__(self) -> None:
        if not self.file:
            raise DatasetError("labels: file is empty; name the label file.")
        if self.split is not None and self.split not in SPLIT_NAMES:
            raise DatasetError(
                f"labels: split '{self.split}' is unknown; allowed are {', '.join(SPLIT_NAMES)}."
            )


@dataclass(frozen=True)
class Manifest:
    """What is known of a data set before any of its files is opened.

    Attributes:
        name: the file's stem, as people type it.
        title: how papers write it.
        score_name: what a label is.
        mos_range: smallest and largest label of the published range.
        labels: the label lists that are understood, those to be preferred first.
        scale: what the labels mean, in words.
        homepage: where the data set is to be had.
        citation: the paper that describes it.
        files: how names become canonical, and how files are found.
        content: how a canonical name tells its content; None where each video is its own.
        raw: how headerless files are read.
        raw_where: exceptions to `raw` by canonical name.
        class_pattern: regular expression whose first group in a canonical name is the content class, such as
            "Animation"; empty where names do not hold it.

    Raises:
        DatasetError: the range is empty, there are no label lists, or the pattern is no regular expression
            with a group.
    """

    name: str
    title: str
    score_name: str
    mos_range: tuple[float, float]
    labels: tuple[LabelList, ...]
    scale: str = ""
    homepage: str = ""
    citation: str = ""
    files: FileRules = field(default_factory=FileRules)
    content: ContentRule | None = None
    raw: RawGeometry | None = None
    raw_where: tuple[RawException, ...] = ()
    class_pattern: str = ""

    def __post_init__(self) -> None:
        if not self.mos_range[0] < self.mos_range[1]:
            raise DatasetError(f"mos_range {list(self.mos_range)} must be [smallest, largest].")
        if not self.labels:
            raise DatasetError("no [[labels]]; name at least one label list.")
        if self.class_pattern and _compiled(self.class_pattern, "class_pattern").groups < 1:
            raise DatasetError(
                f"class_pattern '{self.class_pattern}' has no group; put the part that names the class in "
                f"parentheses."
            )

    def class_of(self, name: str) -> str | None:
        """Return the content class that a canonical name holds, or None where it holds none."""
        match = re.search(self.class_pattern, name) if self.class_pattern else None
        return match[1] if match else None

    def raw_of(self, name: str) -> RawGeometry | None:
        """Return the geometry of a video where it differs from the data set's, else None."""
        geometry = self.raw
        for exception in self.raw_where:
            if geometry is not None and re.search(exception.pattern, name):
                changes = {
                    key: value
                    for key, value in vars(exception).items()
                    if key != "pattern" and value is not None
                }
                geometry = replace(geometry, **changes)
        return geometry if geometry != self.raw else None


def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DatasetError(
            f"{where}: pattern '{pattern}' is no regular expression ({error}); mend it."
        ) from error


def manifest_folder() -> Path:
    """Return the folder of the shipped manifests: inside the installed package, else beside the package in
    the source tree.
    """
    inside = Path(str(package_files("vqafeat"))) / "manifests"
    return inside if inside.is_dir() else inside.parents[1] / "manifests"


def manifest_names() -> list[str]:
    """Return the names of the shipped manifests, sorted."""
    return sorted(path.stem for path in manifest_folder().glob("*.toml"))


def load_manifest(name_or_path: str) -> Manifest:
    """Return a shipped manifest by name, or one of one's own by the path of its .toml.

    Raises:
        UnknownNameError: no manifest of that name is shipped; the nearest names are given.
        DatasetError: the file is missing, no TOML, or not as the schema says.
    """
    if name_or_path.lower().endswith(".toml"):
        return _read(Path(name_or_path))
    if name_or_path not in manifest_names():
        raise UnknownNameError(_unknown_name(name_or_path))
    return _read(manifest_folder() / f"{name_or_path}.toml")


def _unknown_name(name: str) -> str:
    near = get_close_matches(name.lower(), manifest_names(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(manifest_names())}."
    return f"unknown data set '{name}': {hint} One's own is the path of a .csv (video,mos[,content,split]) or of a .toml manifest."


def _read(path: Path) -> Manifest:
    try:
        table = tomllib.loads(read_text_limited(path))
    except OSError as error:
        raise DatasetError(
            f"manifest '{path}' cannot be read ({error.strerror}); give the path of a .toml file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"manifest '{path}' is no TOML: {error}.") from error
    return _manifest(table, path.stem, f"manifest '{path.name}'")


def _manifest(table: dict[str, Any], name: str, where: str) -> Manifest:
    refuse_unknown(
        table, [member.name for member in fields(Manifest) if member.name not in ("name", "raw_where")], where
    )
    ready: dict[str, Any] = {
        key: value for key, value in table.items() if key not in ("files", "content", "raw", "labels")
    }
    for key, kind in (("files", FileRules), ("content", ContentRule)):
        if key in table:
            ready[key] = build(kind, _mapping(table[key], f"{where}, [{key}]"), f"{where}, [{key}]")
    if "raw" in table:
        raw = dict(_mapping(table["raw"], f"{where}, [raw]"))
        exceptions = _list(raw.pop("where", []), f"{where}, [[raw.where]]")
        ready["raw"] = build(RawGeometry, raw, f"{where}, [raw]")
        ready["raw_where"] = [
            build(RawException, _mapping(item, where), f"{where}, [[raw.where]]") for item in exceptions
        ]
    ready["labels"] = [
        _label_list(_mapping(item, where), where) for item in _list(table.get("labels", []), where)
    ]
    return build(Manifest, {"name": name, **ready}, where)


def _label_list(table: Mapping[str, object], where: str) -> LabelList:
    shown = table.get("file", "?")
    here = f"{where}, [[labels]] {shown if isinstance(shown, str) else ' or '.join(map(str, _list(shown, where)))}"
    reader = convert(table.get("reader", ""), str, f"{here}: reader")
    kind = LABEL_READERS.get(reader).options
    common = [member.name for member in fields(LabelList) if member.name != "options"]
    own = [member.name for member in fields(kind)]
    refuse_unknown(table, [*common, *own], here)
    options = build(kind, {key: value for key, value in table.items() if key in own}, here)
    return build(
        LabelList, {**{key: value for key, value in table.items() if key in common}, "options": options}, here
    )


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: {value!r} must be a table.")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise DatasetError(f"{where}: {value!r} must be a list.")
    return value
