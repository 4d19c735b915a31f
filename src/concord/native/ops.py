"""Operators of torch for binary convolutions: they work under torch.compile and torch.export.

Bits are int64 (N, H, W + 2 px, words): 1 where a value is negative, columns of padding 0. Maps of floats may
have any strides; those that come out are channels last where what came in was so, or was bits. Nothing has a
gradient: these are for networks in use, ``concord.layers.binary`` is for those in training.
"""

import torch
from torch import Tensor

from concord.native.calls import (
    LAST,
    Inputs,
    convolve,
    pack,
    packed_shape,
    planned,
    shapes,
)
from concord.native.checks import Shape
from concord.native.pooling import pool, pooled_shape
from concord.native.register import operator, shape_of
from concord.native.sizes import Sizes


@operator
def binary_conv(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    sizes: list[int],
    alpha: Tensor | None = None,
    bias: Tensor | None = None,
    factor: Tensor | None = None,
    shift: Tensor | None = None,
    kmap: Tensor | None = None,
    shortcut: Tensor | None = None,
    cut: Tensor | None = None,
    side: Tensor | None = None,
) -> Tensor:
    """Convolution of signs, scaled: (dot K alpha + bias) factor + shift + shortcut.

    Each step is rounded, but for the product with ``factor``, which is rounded with its sum, as in batch
    normalisation on a processor with fused multiply-add.

    x: floats (N, C, H, W), negative where side x < cut, or bits. ``weight``: bits (O, KH KW, words).
    ``sizes``: ``Sizes.flat``. Shape: -> (N, O, OH, OW) float32

    Raises ShapeError for other shapes, DataError for values that are infinite or no numbers.
    """
    how = planned(x, sizes, 0)
    out = _empty(how.maps, x)
    given = Inputs(x, weight, arranged, cut, side, kmap, alpha, bias, factor, shift, shortcut)
    convolve(given, how, 0, out, None, None, None)
    return _formed(out, x)


@operator
def binary_conv_bits(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    sizes: list[int],
    columns: int,
    alpha: Tensor | None = None,
    bias: Tensor | None = None,
    factor: Tensor | None = None,
    shift: Tensor | None = None,
    cut: Tensor | None = None,
    side: Tensor | None = None,
    out_cut: Tensor | None = None,
    out_side: Tensor | None = None,
) -> Tensor:
    """The same, of which only the bits are kept: 1 where out_side y < out_cut.

    ``columns`` of 0 at both sides are the padding of the layer after it. Shape: -> (N, OH, OW + 2 columns,
    ceil(O / 64)) int64
    """
    how = planned(x, sizes, columns)
    bits = x.new_empty(how.bits, dtype=torch.int64)
    given = Inputs(x, weight, arranged, cut, side, None, alpha, bias, factor, shift)
    convolve(given, how, columns, None, bits, out_cut, out_side)
    return bits


@operator
def binary_conv_both(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    sizes: list[int],
    columns: int,
    alpha: Tensor | None = None,
    bias: Tensor | None = None,
    factor: Tensor | None = None,
    shift: Tensor | None = None,
    shortcut: Tensor | None = None,
    cut: Tensor | None = None,
    side: Tensor | None = None,
    out_cut: Tensor | None = None,
    out_side: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Both the maps, channels last, and their bits."""
    how = planned(x, sizes, columns)
    out = _empty(how.maps, x)
    bits = x.new_empty(how.bits, dtype=torch.int64)
    given = Inputs(x, weight, arranged, cut, side, None, alpha, bias, factor, shift, shortcut)
    convolve(given, how, columns, out, bits, out_cut, out_side)
    return out, bits


@operator
def binary_pack(
    x: Tensor, columns: int, cut: Tensor | None = None, side: Tensor | None = None, groups: int = 1
) -> Tensor:
    """Bits of maps. Shape: (N, C, H, W) -> (N, H, W + 2 columns, G ceil(C / G / 64)) int64

    Raises DataError for values that are infinite or no numbers.
    """
    return pack(x, columns, cut, side, groups)


@operator
def binary_max_pool(bits: Tensor, falling: Tensor, channels: int, kernel: list[int], columns: int) -> Tensor:
    """Bits of the maximum: negative where all are, and in channels of ``falling`` where one is.

    ``kernel`` is height and width, stride, padding and dilation. Shape: (N, H, W, words) -> (N, OH, OW + 2
    columns, words)
    """
    return pool(bits, falling, channels, kernel, columns)


def _empty(maps: Shape, x: Tensor) -> Tensor:
    return torch.empty(maps, dtype=torch.float32, device=x.device, memory_format=LAST)


def _formed(made: Tensor, x: Tensor) -> Tensor:
    """The maps in the memory format of the input."""
    if x.dtype == torch.int64 or x.is_contiguous(memory_format=LAST):
        return made
    return made.contiguous()


def _shapes(x: Tensor, sizes: list[int], columns: int) -> tuple[Shape, Shape]:
    return shapes(Sizes.of(sizes), tuple(x.shape), x.dtype, columns)


@shape_of("binary_conv")
def _(x: Tensor, weight: Tensor, arranged: Tensor, sizes: list[int], *_: Tensor | None) -> Tensor:
    maps = _shapes(x, sizes, 0)[0]
    return _formed(_empty(maps, x), x)


@shape_of("binary_conv_bits")
def _(
    x: Tensor, weight: Tensor, arranged: Tensor, sizes: list[int], columns: int, *_: Tensor | None
) -> Tensor:
    return x.new_empty(_shapes(x, sizes, columns)[1], dtype=torch.int64)


@shape_of("binary_conv_both")
def _(
    x: Tensor, weight: Tensor, arranged: Tensor, sizes: list[int], columns: int, *_: Tensor | None
) -> tuple[Tensor, Tensor]:
    maps, bits = _shapes(x, sizes, columns)
    out = _empty(maps, x)
    return out, x.new_empty(bits, dtype=torch.int64)


@shape_of("binary_pack")
def _(
    x: Tensor, columns: int, cut: Tensor | None = None, side: Tensor | None = None, groups: int = 1
) -> Tensor:
    return x.new_empty(packed_shape(x, columns, groups), dtype=torch.int64)


@shape_of("binary_max_pool")
def _(bits: Tensor, falling: Tensor, channels: int, kernel: list[int], columns: int) -> Tensor:
    return bits.new_empty(pooled_shape(bits, channels, kernel, columns))
