"""From a TOML table to a frozen dataclass: unknown keys, missing keys and wrong types are refused by name."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vqafeat.errors import DatasetError

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
        DatasetError: a key is unknown or missing, a value has the wrong type, or the dataclass itself refuses the values.
    """
    members: list[Any] = list(fields(cast(Any, kind)))
    hints = get_type_hints(kind)
    refuse_unknown(table, [member.name for member in members], where)
    lacking = [m.name for m in members if m.name not in table and m.default is MISSING and m.default_factory is MISSING]
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
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
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
