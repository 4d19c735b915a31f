"""Strings that people read: names and numbers made short."""

from concord.files.text import printable

MISSING = "-"


def short(text: str, limit: int) -> str:
    """``printable``, cut in its middle to ``limit`` characters: both ends of a file name tell something."""
    text = printable(text)
    if len(text) <= limit:
        return text
    left = (limit - 1) // 2
    return text[:left] + "…" + text[len(text) - (limit - 1 - left) :]


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.0054 -> ``0.54``, without the sign: the header of the table has it."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f}"


def share(fraction: float) -> str:
    """0.14 -> ``14 %``, 0.0042 -> ``0.42 %``: two digits are enough, and a small part is not nothing."""
    if 0 < fraction < 0.0001:
        return "less than 0.01 %"
    digits = 0 if fraction >= 0.0995 else 1 if fraction >= 0.00995 else 2
    return f"{100 * fraction:.{digits}f} %"


def points(fraction: float | None, digits: int = 2) -> str:
    """A difference of two fractions, in percentage points with its sign: -0.0012 -> ``-0.12``."""
    return MISSING if fraction is None else f"{round(100 * fraction, digits) + 0.0:+.{digits}f}"  # no "-0.00"


def whole(number: int | None) -> str:
    """44730 -> ``44,730``."""
    return MISSING if number is None else f"{number:,}"


def decimal(number: float | None, digits: int = 4) -> str:
    return MISSING if number is None else f"{number:.{digits}f}"


def probability(p: float | None) -> str:
    """A p-value with two digits, or a bound where two digits would be zero."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def setting_label(cost: str, weight: float) -> str:
    """``l2 0.01``; a cost of weight 0 is its name alone."""
    return f"{cost} {weight:g}" if weight else cost
