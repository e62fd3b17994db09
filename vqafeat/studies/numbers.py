"""How numbers are written in tables."""

from math import isfinite

NOTHING = "–"


def number(value: float, digits: int) -> str:
    """Return a number with its digits; a very small one by its power of ten, with a true minus sign."""
    if not isfinite(value):
        return NOTHING
    large = value == 0 or abs(value) >= 10**-digits or digits == 0
    return ("−" if value < 0 else "") + (f"{abs(value):.{digits}f}" if large else f"{abs(value):.2e}")


def signed(value: float, digits: int) -> str:
    """Return a number with its digits and its sign; zero has none."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)
