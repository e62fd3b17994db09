"""Atomic writes; TOML, JSON with null for NaN, CSV without spreadsheet formulas; lists in messages."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import file_digest
from math import isnan
from pathlib import Path
from typing import Any

from vqafeat.errors import DatasetError


def json_text(values: Any) -> str:
    """Return values as indented JSON text; an infinite value is a ValueError."""
    return json.dumps(without_nan(values), indent=2, ensure_ascii=False, allow_nan=False)


def without_nan(value: Any) -> Any:
    """Return lists, mappings and numbers with None for NaN."""
    if isinstance(value, float):
        return None if isnan(value) else value
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


LARGEST_BYTES = 256 * 2**20


def escape_formula(text: str) -> str:
    """Return text with a ' before it if a spreadsheet would take it for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def unescape_formula(text: str) -> str:
    """Return the argument of `escape_formula`."""
    return text.removeprefix("'")


def read_text_limited(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a label file, manifest or table; a file of more than `LARGEST_BYTES` is refused."""
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        limit = f"label files, manifests and tables of at most {LARGEST_BYTES >> 20} MiB are read"
        hint = "Give another file, or split the data set"
        raise DatasetError(f"'{path}' has {size / 2**20:.0f} MiB; {limit}. {hint}.")
    return path.read_text(encoding)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the table in a TOML file; `what` names its kind in messages, for example "manifest"."""
    import tomllib

    try:
        return tomllib.loads(read_text_limited(path))
    except OSError as error:
        next_step = "give the path of a .toml file"
        problem = f"cannot be read ({error.strerror})" if path.exists() else "does not exist"
        raise DatasetError(f"{what} '{path}' {problem}; {next_step}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{what} '{path}' is not valid TOML: {error}.") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and (not path.is_file() or path.parent == Path("/dev")):  # a pipe, a device, /dev/stdout
        path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:  # it names the partial file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, with null for NaN."""
    write_bytes(path, (json_text(values) + "\n").encode())


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV with the shortest digits that give the same float64, and an empty cell for NaN."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the text of `csv_text` in UTF-8; what cannot be encoded, as in a path, is escaped."""
    write_bytes(path, csv_text(header, rows).encode(errors="backslashreplace"))


def summarize(items: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """Return the first `limit` items in one line, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return separator.join(items[:limit]) + more


def duplicates(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if isnan(value) else repr(float(value))
    return escape_formula(value) if isinstance(value, str) else value
