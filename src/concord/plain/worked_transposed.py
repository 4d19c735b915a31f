"""Transposed convolution, step by step: the matrix product A^T x, where A is the matrix of the convolution.

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285,
chapter 4.

Departures: dilation, which the source leaves out here; the frame of zeros is then d (k - 1) - p wide.
"""

from dataclasses import dataclass

from concord.plain.grids import (
    Grid,
    Number,
    Pair,
    Position,
    Rows,
    Size,
    bounded,
    flat,
    framed,
    grid,
    pair,
    products,
    shape,
    table,
    windows,
)


@dataclass(frozen=True)
class Sums:
    """Sums of all numbers. Without padding every x meets every w once: output = input * kernel."""

    input: Number
    kernel: Number
    output: Number


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution with every step."""

    input: Grid
    kernel: Grid
    stride: Pair
    padding: Pair
    output_padding: Pair
    dilation: Pair
    spread: Grid  # the input with s - 1 zeros between its elements
    framed: Grid  # with d (k - 1) - p zeros around, and the output padding below and on the right
    flipped: Grid  # the kernel turned by half a circle
    positions: tuple[Position, ...]
    output: Grid

    @property
    def sums(self) -> Sums | None:
        """The check; None where padding cuts off a part of the result."""
        if self.padding != (0, 0):
            return None
        return Sums(*(sum(flat(numbers)) for numbers in (self.input, self.kernel, self.output)))


def transposed(
    x: Rows,
    kernel: Rows,
    *,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> Transposed:
    """y[i s + u d - p, j s + v d - p] += x[i, j] w[u, v] for every i, j, u and v.

    Computed as the source does it: zeros between the elements of x if s > 1, a frame of zeros around them,
    and a convolution of stride 1 with the flipped kernel.

    Shape: (H, W), (K_h, K_w) -> (H_out, W_out), with H_out = (H - 1) s - 2 p + d (K_h - 1) + o + 1.
    Raises ValueError for rows of unequal length, sizes out of range, an output padding of at least
    max(stride, dilation), and padding that leaves nothing.
    """
    x, w = grid(x, "the input"), grid(kernel, "the kernel")
    s, p, d = pair(stride, "stride", 1), pair(padding, "padding", 0), pair(dilation, "dilation", 1)
    extra = _output_padding(output_padding, s, d)
    down, across = (_output_size(*axis) for axis in zip(shape(x), shape(w), s, p, d, extra, strict=True))
    apart = spread(x, s)
    top, left = (d * (k - 1) - p for k, p, d in zip(shape(w), p, d, strict=True))
    bordered = framed(apart, (top, left), (top + extra[0], left + extra[1]))
    turned = tuple(row[::-1] for row in w[::-1])
    steps = tuple(
        Position(i, j, under, products(under, turned))
        for i, j, under in windows(bordered, shape(w), (1, 1), d, (down, across))
    )
    return Transposed(x, w, s, p, extra, d, apart, bordered, turned, steps, table(steps, across))


def spread(numbers: Grid, stride: Pair) -> Grid:
    """s - 1 zeros between neighbours. Shape: (H, W) -> ((H - 1) s + 1, (W - 1) s + 1)"""
    (height, width), (down, across) = shape(numbers), stride
    tall, wide = (height - 1) * down + 1, (width - 1) * across + 1
    bounded(tall * wide)
    return tuple(
        tuple(0 if i % down or j % across else numbers[i // down][j // across] for j in range(wide))
        for i in range(tall)
    )


def _output_padding(size: Size, stride: Pair, dilation: Pair) -> Pair:
    extra = pair(size, "output padding", 0)
    for o, s, d in zip(extra, stride, dilation, strict=True):
        if o >= max(s, d):
            raise ValueError(
                f"output padding must be below the larger of stride and dilation, {max(s, d)}, got {o}; "
                f"give at most {max(s, d) - 1}"
            )
    return extra


def _output_size(size: int, window: int, stride: int, padding: int, dilation: int, extra: int) -> int:
    whole = (size - 1) * stride + dilation * (window - 1) + extra + 1
    if whole - 2 * padding < 1:
        raise ValueError(
            f"padding {padding} cuts off {2 * padding} of {whole} rows or columns; "
            f"give at most {(whole - 1) // 2}"
        )
    return whole - 2 * padding
