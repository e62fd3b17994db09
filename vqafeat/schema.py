"""Tables of TOML and JSON files as dataclasses, checked key by key with pydantic."""

import json
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from vqafeat.errors import DatasetError, VqafeatError, suggestion

Kind = TypeVar("Kind")
# pydantic's types of problems
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
_MISSING_KEY = ("missing", "missing_argument")
_EMPTY = ("string_too_short", "too_short")


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


# Texts; a file may write a single one without brackets.
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
NonEmpty = Annotated[Kind, Field(min_length=1)]


_adapter = cache(TypeAdapter)  # building one takes milliseconds


def parse(
    kind: type[Kind], values: object, where: str, error_type: type[VqafeatError] = DatasetError
) -> Kind:
    """Return the values of a TOML or JSON table as the dataclass `kind`.

    A list becomes a tuple, and a whole number becomes a float; no other type is converted.

    An `error_type` is raised if a key is unknown or missing, or a value has the wrong type or is not allowed.
    Messages start with `where`: the file and the table.
    """
    try:
        text = json.dumps(values, default=str)
        return cast(Kind, _adapter(cast(Any, kind)).validate_json(text, strict=True, extra="forbid"))
    except ValidationError as error:
        raise error_type(_message(kind, error.errors(), where)) from error
    except VqafeatError as error:
        raise error_type(f"{where}: {error}") from error


def refuse_unknown(keys: Collection[str], known: Collection[str], where: str) -> None:
    """Refuse keys that are not known, and name the nearest known ones."""
    for key in keys:
        if key not in known:
            raise DatasetError(f"{where}: unknown key '{key}': {suggestion(key, known)}")


def _message(kind: type[Any], problems: list[ErrorDetails], where: str) -> str:
    # a mistyped key is both unknown and missing; the former message says more
    problem = next((item for item in problems if item["type"] in _UNKNOWN_KEY), problems[0])
    *tables, key = problem["loc"] or ("",)
    table, value = _place(where, tables), _place(where, [*tables, key])
    if problem["type"] in _UNKNOWN_KEY:
        return f"{table}: unknown key '{key}': {suggestion(str(key), _known_keys(kind, tables))}"
    if problem["type"] in _MISSING_KEY:
        missing = f"missing key '{key}'" if isinstance(key, str) else f"item {key + 1} is missing"
        return f"{table}: {missing}; add it."
    if problem["type"] in _EMPTY:
        return f"{value} is empty; name at least one."
    allowed = problem["msg"].removeprefix("Input should be ")
    allowed = allowed.replace("an object", "a table").replace("tuple", "array")
    return f"{value}: {problem['input']!r} must be {allowed}."


def _place(where: str, keys: list[int | str]) -> str:
    """Return `where` and the path of a value, for example `table 'x.toml': rows[2].name`."""
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).strip(".")
    return f"{where}: {path}" if path else where


def _known_keys(kind: Any, tables: list[int | str]) -> list[str]:
    """Return the keys of the table that is reached from `kind` by the keys and indices `tables`."""
    for table in tables:
        kind = get_type_hints(kind)[str(table)] if is_dataclass(kind) else get_args(kind)[0]
        if get_origin(kind) in (Union, UnionType):
            kind = next(part for part in get_args(kind) if part is not NoneType)
    return [item.name for item in fields(kind)] if is_dataclass(kind) else []
