"""Convolution as networks compute it, position by position: a cross-correlation, the kernel is not flipped.

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285,
chapter 2 and section 5.1 (dilation).
"""

from dataclasses import dataclass

from concord.plain.grids import (
    Grid,
    Pair,
    Position,
    Rows,
    Size,
    framed,
    grid,
    output_shape,
    pair,
    products,
    shape,
    table,
    windows,
)


@dataclass(frozen=True)
class Convolved:
    """A convolution with every step; ``framed`` is the input with its padding."""

    input: Grid
    kernel: Grid
    stride: Pair
    padding: Pair
    dilation: Pair
    framed: Grid
    positions: tuple[Position, ...]
    output: Grid


def convolved(x: Rows, kernel: Rows, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Convolved:
    """y[i, j] = sum_{u, v} x[i s + u d - p, j s + v d - p] w[u, v], zero outside of x.

    Shape: (H, W), (K_h, K_w) -> (H_out, W_out), with H_out = floor((H + 2 p - d (K_h - 1) - 1) / s) + 1.
    Raises ValueError for rows of unequal length, sizes out of range, and a kernel that does not fit.
    """
    x, w = grid(x, "the input"), grid(kernel, "the kernel")
    s, p, d = pair(stride, "stride", 1), pair(padding, "padding", 0), pair(dilation, "dilation", 1)
    out = output_shape(shape(x), shape(w), s, p, d)
    bordered = framed(x, p, p)
    steps = tuple(
        Position(i, j, under, products(under, w)) for i, j, under in windows(bordered, shape(w), s, d, out)
    )
    return Convolved(x, w, s, p, d, bordered, steps, table(steps, out[1]))
