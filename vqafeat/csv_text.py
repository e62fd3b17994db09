"""Text in CSV files that spreadsheets may open: never a formula, and read back as it was."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARK = "'"


def guarded(text: str) -> str:
    """Return text that no spreadsheet takes for a formula (OWASP, CSV injection): a quotation mark goes before it, or before its own."""
    return _MARK + text if text.startswith((*_FORMULA_STARTS, _MARK)) else text


def unguarded(text: str) -> str:
    """Return what `guarded` was given."""
    return text.removeprefix(_MARK)
