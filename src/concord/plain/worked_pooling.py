"""Max and mean pooling, position by position.

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285,
chapter 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from concord.plain.grids import (
    Grid,
    Number,
    Pair,
    Position,
    Rows,
    Size,
    flat,
    framed,
    grid,
    output_shape,
    pair,
    shape,
    table,
    windows,
)


@dataclass(frozen=True)
class Pooled:
    """A pooling with every step. Under a window that hangs over the border, max leaves the padding out."""

    kind: str
    input: Grid
    window: Pair
    stride: Pair
    padding: Pair
    positions: tuple[Position, ...]
    output: Grid


def pooled(
    x: Rows, window: Size, *, kind: str = "max", stride: Size | None = None, padding: Size = 0
) -> Pooled:
    """The largest number, or the mean of all numbers, of every window; windows lie side by side by default.

    The padding of max is never the largest; that of mean is zeros, which count, as in PyTorch.

    Shape: (H, W) -> (H_out, W_out), with H_out = floor((H + 2 p - k) / s) + 1.
    Raises ValueError for rows of unequal length, sizes out of range, another kind, a window that does not
    fit, and padding of more than half the window, which would leave windows with nothing but padding.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind!r}")
    x, k = grid(x, "the input"), pair(window, "the window", 1)
    s = pair(k if stride is None else stride, "stride", 1)
    p = pair(padding, "padding", 0)
    if any(2 * around > side for around, side in zip(p, k, strict=True)):
        raise ValueError(
            f"padding must be at most half of the window of {k[0]}x{k[1]}, got {p[0]}x{p[1]}; "
            "windows would hold nothing but padding"
        )
    out = output_shape(shape(x), k, s, p, (1, 1))
    steps = []
    for i, j, under in windows(framed(x, p, p), k, s, (1, 1), out):
        seen = _inside(under, (i * s[0] - p[0], j * s[1] - p[1]), shape(x)) if kind == "max" else under
        steps.append(Position(i, j, seen, KINDS[kind](flat(seen))))
    return Pooled(kind, x, k, s, p, tuple(steps), table(steps, out[1]))


def mean(numbers: Sequence[Number]) -> Number:
    """Sum / count: exact of whole numbers and fractions, and a whole number where it is one."""
    total = sum(numbers)
    if isinstance(total, float):
        return total / len(numbers)
    exact = Fraction(total) / len(numbers)
    return exact.numerator if exact.denominator == 1 else exact


def _inside(under: Grid, corner: Pair, size: Pair) -> Grid:
    """Without the rows and columns of a window at ``corner`` that lie in the padding."""
    rows, columns = (
        slice(max(0, -first), max(0, length - first)) for first, length in zip(corner, size, strict=True)
    )
    return tuple(row[columns] for row in under[rows])


KINDS: dict[str, Callable[[Sequence[Number]], Number]] = {"max": max, "mean": mean}
