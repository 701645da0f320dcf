"""How numbers are written: entropies and losses in nats, shares in per cent, intervals in brackets.

Every number of the page and of the terminal passes through here, so that one quantity looks the
same everywhere. What cannot be computed (no such token, too few prompts) is a dash, never "nan".
"""

import math
import re

from stopping.support import tables
from stopping.support.statistics import Interval

NONE = tables.NONE
GAP = "\u00a0"
"""No line is broken within a number, its unit and its interval."""
_SIGNS = (("<=", "≤"), (">=", "≥"), (" - ", " − "), ("V^", "V̂"), ("eps_max", "ε_max"))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """Fixed number of digits after the point, with a true minus sign; zero carries no sign."""
    if value is None or not math.isfinite(value):
        return NONE
    return tables.number(value, f"{'+' if signed else ''}.{digits}f")


def general(value: float) -> str:
    """Four significant digits; rounding errors as a power of ten."""
    return maths(f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}")


def percent(value: float | None, digits: int = 1, signed: bool = False) -> str:
    """Write a share, as a number of per cent with the sign of per cent."""
    if value is None or not math.isfinite(value):
        return NONE
    return number(100.0 * value, digits, signed) + f"{GAP}%"


def interval(of: Interval, digits: int = 2, signed: bool = False) -> str:
    """Write `estimate [low, high]`, or the estimate alone where it has no interval."""
    return _bracketed(of, 1.0, digits, signed, "")


def percent_interval(of: Interval, digits: int = 1, signed: bool = False) -> str:
    """Write `estimate [low, high] %`."""
    return _bracketed(of, 100.0, digits, signed, f"{GAP}%")


def quantity(of: Interval, unit: str, signed: bool = False) -> str:
    """Write an interval in its unit: shares in per cent, differences of shares in points."""
    if unit == "share":
        return percent_interval(of, signed=signed)
    if unit == "points":
        return points(of)
    return interval(of, signed=signed)


def points(of: Interval, unit: bool = True) -> str:
    """Write the difference of two shares, `estimate [low, high] points` of per cent."""
    return _bracketed(of, 100.0, 1, True, f"{GAP}points" if unit else "")


def plain_quantity(value: float | None, unit: str) -> str:
    """Write a bare number in the way `quantity` does."""
    return percent(value) if unit == "share" else number(value)


def count(value: int) -> str:
    """Whole number with its digits in groups of three."""
    return f"{value:,}"


def level(value: float) -> str:
    """Confidence level, with as many digits as tell it from 100 %."""
    percentage = 100.0 * value
    for digits in range(5):
        text = f"{percentage:.{digits}f}"
        if abs(float(text) - percentage) <= 0.05 * (100.0 - percentage):
            break
    return f"{text}{GAP}%"


def sentence(text: str) -> str:
    """Capital at the start, full stop at the end, `spaced` between."""
    return spaced(text[:1].upper() + text[1:] + ("" if text.endswith(".") else "."))


def spaced(text: str) -> str:
    """True minus signs, and an unbroken space before per cent, in a text of other hands."""
    return re.sub(r"(?<=\d) ?%", f"{GAP}%", re.sub(r"(?<![\w.)])-(?=\d)", "−", text))


def maths(text: str) -> str:
    """Write a claim's ASCII signs as the mathematical ones."""
    for ascii_sign, sign in _SIGNS:
        text = text.replace(ascii_sign, sign)
    text = re.sub(r"(?<=\d)e([+-]\d+)", lambda power: f" × 10{_raised(power[1])}", text)
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _raised(exponent: str) -> str:
    return str(int(exponent)).translate(_RAISED)


def _bracketed(of: Interval, scale: float, digits: int, signed: bool, unit: str) -> str:
    if not math.isfinite(of.estimate):
        return NONE
    centre = number(scale * of.estimate, digits, signed)
    if not (math.isfinite(of.low) and math.isfinite(of.high)):
        return centre + unit
    low, high = (number(scale * end, digits, signed) for end in (of.low, of.high))
    return f"{centre}{GAP}[{low},{GAP}{high}]{unit}"
