"""JSON as others read it: indented, and NaN, which JSON does not have, as null."""

import json
from collections.abc import Mapping
from math import isnan
from typing import Any


def json_text(values: Any) -> str:
    """Return values as JSON text.

    Raises:
        ValueError: a value is infinite.
    """
    return json.dumps(_without_nan(values), indent=2, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
