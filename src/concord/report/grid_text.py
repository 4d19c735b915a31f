"""Grids, sizes and exact numbers as text."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from concord.plain.grids import Grid, Number, Pair, Position, shape

MOST_DIGITS = 40  # behind the point; other fractions are written as such


def named(name: str, numbers: Grid) -> Iterator[str]:
    """The name with the size, and the rows below it."""
    texts = [[written(number) for number in row] for row in numbers]
    width = max(len(text) for row in texts for text in row)
    yield f"{name} ({size_text(numbers)}):"
    for row in texts:
        yield "  [ " + "  ".join(f"{text:>{width}}" for text in row) + " ]"


def size_text(numbers: Grid) -> str:
    """``2x3``"""
    return times_text(shape(numbers))


def times_text(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def pair_text(size: Pair) -> str:
    """``2``; ``2 down, 1 across`` where the axes differ."""
    return axes_text([str(size[0]), str(size[1])])


def axes_text(sizes: Sequence[str]) -> str:
    return sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]} down, {sizes[1]} across"


def signed(number: Number) -> str:
    """As a factor or a term: in brackets below zero."""
    return f"({written(number)})" if number < 0 else written(number)


def written(number: Number) -> str:
    """Whole numbers and decimals as they are, other fractions as such: 3, 0.25, 7/3."""
    if not isinstance(number, Fraction):
        return str(number)
    digits = next((d for d in range(MOST_DIGITS) if 10**d % number.denominator == 0), None)
    if digits is None:
        return str(number)
    whole, rest = divmod(abs(number.numerator) * 10**digits // number.denominator, 10**digits)
    return f"{'-' if number < 0 else ''}{whole}{f'.{rest:0{digits}}' if digits else ''}"


def place(name: str, position: Position) -> str:
    """``y[1,2]``, counted from 1."""
    return f"{name}[{position.row + 1},{position.column + 1}]"
