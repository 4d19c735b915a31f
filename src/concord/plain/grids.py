"""Tables of numbers for arithmetic by hand: whole numbers and fractions stay exact.

A grid is a tuple of rows. A size such as a stride is one number for both axes, or a pair (down, across).

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TypeAlias

Number: TypeAlias = int | float | Fraction
Rows: TypeAlias = Sequence[Sequence[Number]]
Grid: TypeAlias = tuple[tuple[Number, ...], ...]
Pair: TypeAlias = tuple[int, int]  # down, across
Size: TypeAlias = int | Pair

LARGEST = 10_000  # numbers of a grid, and products of a result, that are worked out one by one


@dataclass(frozen=True)
class Position:
    """One number of a result: the numbers that lay under the window there, and what they gave."""

    row: int
    column: int
    under: Grid
    value: Number


def grid(rows: Rows, name: str) -> Grid:
    """The rows as a grid; ValueError unless there is a number and all rows are equally long."""
    found = tuple(tuple(row) for row in rows)
    if not found or not found[0]:
        raise ValueError(f"{name} is empty; give at least one number")
    for number, row in enumerate(found, 1):
        if len(row) != len(found[0]):
            raise ValueError(
                f"row {number} of {name} has length {len(row)} and row 1 has length {len(found[0])}; "
                "all rows must be equally long"
            )
    return found


def shape(numbers: Grid) -> Pair:
    """Height and width."""
    return len(numbers), len(numbers[0])


def pair(size: Size, name: str, least: int) -> Pair:
    """The size along both axes; ValueError if either is below ``least``."""
    down, across = (size, size) if isinstance(size, int) else size
    if min(down, across) < least:
        raise ValueError(f"{name} must be at least {least}, got {min(down, across)}")
    return down, across


def framed(numbers: Grid, before: Pair, after: Pair) -> Grid:
    """Zeros above and left of (``before``) and below and right of (``after``) the grid; below 0 it is cut.

    Shape: (H, W) -> (H + before + after, W + before + after)
    """
    (height, width), (top, left), (bottom, right) = shape(numbers), before, after
    bounded((height + top + bottom) * (width + left + right))
    rows = range(-top, height + bottom), range(-left, width + right)
    return tuple(
        tuple(numbers[i][j] if 0 <= i < height and 0 <= j < width else 0 for j in rows[1]) for i in rows[0]
    )


def bounded(count: int) -> None:
    """ValueError for more numbers than anybody follows by hand."""
    if count > LARGEST:
        raise ValueError(
            f"{count:,} numbers would have to be written down, at most {LARGEST:,} are; "
            "give smaller sizes or a smaller input"
        )


def output_size(size: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """floor((H + 2 p - d (k - 1) - 1) / s) + 1 along one axis.

    ValueError where the window does not fit once.
    """
    reach, room = dilation * (window - 1) + 1, size + 2 * padding
    if reach > room:
        spread = f" (dilation {dilation}: {reach})" if dilation > 1 else ""
        around = f" ({room} with padding {padding})" if padding else ""
        raise ValueError(
            f"a window of {window}{spread} does not fit into {size}{around}; "
            "give a larger input, more padding or a smaller window"
        )
    return (room - reach) // stride + 1


def output_shape(size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """``output_size`` of both axes."""
    down, across = (output_size(*axis) for axis in zip(size, window, stride, padding, dilation, strict=True))
    return down, across


def windows(
    numbers: Grid, window: Pair, stride: Pair, dilation: Pair, out: Pair
) -> Iterator[tuple[int, int, Grid]]:
    """Row and column of each of the ``out`` positions with the numbers that lie under the window there."""
    bounded(prod(out) * prod(window))
    for i in range(out[0]):
        for j in range(out[1]):
            rows = [i * stride[0] + u * dilation[0] for u in range(window[0])]
            columns = [j * stride[1] + v * dilation[1] for v in range(window[1])]
            yield i, j, tuple(tuple(numbers[r][c] for c in columns) for r in rows)


def products(under: Grid, kernel: Grid) -> Number:
    """The sum of products of equal places."""
    pairs = zip(flat(under), flat(kernel), strict=True)
    return sum(x * w for x, w in pairs)


def flat(numbers: Grid) -> tuple[Number, ...]:
    """In reading order."""
    return tuple(number for row in numbers for number in row)


def table(positions: Iterable[Position], width: int) -> Grid:
    """The values of the positions, which come in reading order, as a grid of that width."""
    values = [position.value for position in positions]
    return tuple(tuple(values[start : start + width]) for start in range(0, len(values), width))
