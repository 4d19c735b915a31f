"""Tables of numbers and sizes as they are typed: ``"1 2; 3 4"``, channels between ``|``, ``2`` or ``2,1``."""

import re
from fractions import Fraction

from concord.errors import UsageError
from concord.plain.grids import Grid, Number, Size

NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})", re.ASCII)
SIZES = re.compile(r"(\d{1,6})(?:,(\d{1,6}))?", re.ASCII)
FORM = 'numbers with spaces between them and rows with ; between them, for example "1 2; 3 4"'


def read_grid(option: str, text: str) -> Grid:
    """``1 2; 3 4`` -> ((1, 2), (3, 4)); UsageError for anything but whole numbers and decimals."""
    rows = text.strip().removesuffix(";").split(";")
    return tuple(
        tuple(_number(option, word, place) for word in row.replace(",", " ").split())
        for place, row in enumerate(rows, 1)
    )


def read_channels(option: str, text: str) -> tuple[Grid, ...]:
    """``1 2; 3 4 | 5 6; 7 8`` -> two grids."""
    return tuple(read_grid(option, part) for part in text.split("|"))


def read_size(option: str, text: str) -> Size:
    """``2`` for both axes, ``2,1`` for down and across."""
    found = SIZES.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"{option} must be a whole number, or two with a comma between them (down, across), got {text!r}"
        )
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


def _number(option: str, word: str, row: int) -> Number:
    if not NUMBER.fullmatch(word):
        raise UsageError(f"{option}: {word!r} in row {row} is not a number; give {FORM}")
    exact = Fraction(word)
    return exact.numerator if exact.denominator == 1 else exact
