"""Maximum pooling of bits. ``kernel`` is height and width, stride, padding and dilation, as 8 numbers."""

from functools import lru_cache

from torch import Tensor

from concord.errors import ShapeError
from concord.native import portable, records
from concord.native.checks import Shape, require_pooled
from concord.native.library import library
from concord.native.sizes import Sizes


def pool(bits: Tensor, falling: Tensor, channels: int, kernel: list[int], columns: int) -> Tensor:
    """Bits of a maximum pooling. ShapeError for bits of other channels, and for padding that is too wide."""
    windows = _windows(channels, tuple(kernel))
    require_pooled(bits, falling, channels, windows)
    shape = pooled_shape(bits, channels, kernel, columns)
    loaded = library()
    if loaded is None or not bits.is_cpu:
        return portable.pooled(bits, falling, channels, kernel, columns)
    out = bits.new_empty(shape)
    n, h, w, _ = bits.shape
    geometry = records.geometry(windows, (n, h, w), (0, 0, 0, 0), columns, 1)
    bits, falling = bits.contiguous(), falling.contiguous()
    if loaded.hold is not None:
        loaded.hold((bits, falling, out))
    loaded.functions.concord_pool(geometry, bits.data_ptr(), falling.data_ptr(), out.data_ptr())
    return out


def pooled_shape(bits: Tensor, channels: int, kernel: list[int], columns: int) -> Shape:
    """Of the bits that come out."""
    n, h, w, count = bits.shape
    oh, ow = _windows(channels, tuple(kernel)).output(h, w)
    return n, oh, ow + 2 * columns, count


@lru_cache(maxsize=1024)
def _windows(channels: int, kernel: tuple[int, ...]) -> Sizes:
    if len(kernel) != 8:
        raise ShapeError(
            "a pooling has 8 integers, height and width of kernel, stride, padding and dilation; got"
            f" {[*kernel]}"
        )
    ky, kx, sy, sx, py, px, dy, dx = kernel
    return Sizes(channels, channels, (ky, kx), (sy, sx), (py, px), (dy, dx))
