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
    return json.dumps(without_nan(values), indent=2, ensure_ascii=False, allow_nan=False)


def without_nan(value: Any) -> Any:
    """Return lists, mappings and numbers with None in the place of NaN."""
    if isinstance(value, float):
        return None if isnan(value) else value
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
