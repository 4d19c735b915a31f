"""The records of the kernel's C interface: 64-bit integers one after the other, as in kernel/api.h."""

import struct

from concord.native.sizes import Sizes

_GEOMETRY = struct.Struct("23q")
_MEMORY = struct.Struct("16Q")
_FLOATING = struct.Struct("24q")
_FLOAT_MEMORY = struct.Struct("5Qf4x")
# as the library reports its own
BYTES = (_GEOMETRY.size * 1000 + _MEMORY.size) * 1000 + _FLOATING.size + _FLOAT_MEMORY.size
DONE, NOT_FINITE, NO_MEMORY, OTHER_LAYOUT, OTHER_LAYER = range(5)


def geometry(
    sizes: Sizes, image: tuple[int, int, int], strides: tuple[int, ...], columns: int, threads: int
) -> bytes:
    """A layer on images (N, H, W) whose floats have these strides; ``columns`` pads its bits."""
    n, h, w = image
    oh, ow = sizes.output(h, w)
    return _GEOMETRY.pack(
        n, sizes.channels, h, w, sizes.filters, oh, ow, *sizes.kernel, *sizes.stride, *sizes.padding,
        *sizes.dilation, sizes.groups, sizes.ones, *strides, columns, threads,
    )  # fmt: skip


def memory(*fields: int) -> bytes:
    """Addresses, and the bytes of the weights behind theirs, in the order of the record; 0 is left out.

    Fields that are not given are 0.
    """
    missing = 16 - len(fields)
    return _MEMORY.pack(*fields, *(0,) * missing) if missing else _MEMORY.pack(*fields)


def floating(*numbers: int) -> bytes:
    """A float layer, in the order of the record."""
    return _FLOATING.pack(*numbers)


def float_memory(addresses: tuple[int, ...], least: float) -> bytes:
    """Addresses of the input, weight, factor, shift and output, and the least value that is kept."""
    return _FLOAT_MEMORY.pack(*addresses, least)
