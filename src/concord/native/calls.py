"""One call of the kernel, or of what stands in for it: sizes checked, memory made, addresses handed over."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from concord.errors import DataError, ResourceError, ShapeError, UsageError
from concord.native import portable, records, words
from concord.native.epilogue import Cut, Scales
from concord.native.library import Loaded, library
from concord.native.sizes import Sizes

LAST = torch.channels_last
Optional = Tensor | None
Shape = tuple[int, ...]


class Plan(NamedTuple):
    """A layer on inputs of one shape."""

    sizes: Sizes
    geometry: bytes
    maps: Shape
    bits: Shape


class Inputs(NamedTuple):
    """What goes in, in the order of the kernel's record. x is floats (N, C, H, W) or bits."""

    x: Tensor
    weight: Tensor  # bits (O, KH KW, words)
    arranged: Tensor
    cut: Optional = None
    side: Optional = None
    kmap: Optional = None
    alpha: Optional = None
    bias: Optional = None
    factor: Optional = None
    shift: Optional = None
    shortcut: Optional = None


@lru_cache(maxsize=4096)
def plan(flat: Shape, shape: Shape, strides: Shape, dtype: torch.dtype, columns: int, threads: int) -> Plan:
    """ShapeError where the input is neither maps nor bits of this layer."""
    sizes = Sizes.of(flat)
    image = _image(sizes, shape, dtype)
    maps, bits = shapes(sizes, shape, dtype, columns)
    strides = (0, 0, 0, 0) if dtype == torch.int64 else strides
    return Plan(sizes, records.geometry(sizes, image, strides, columns, threads), maps, bits)


def shapes(sizes: Sizes, shape: Shape, dtype: torch.dtype, columns: int) -> tuple[Shape, Shape]:
    """Of the maps and of the bits that come out."""
    n, h, w = _image(sizes, shape, dtype)
    oh, ow = sizes.output(h, w)
    return (n, sizes.filters, oh, ow), (n, oh, ow + 2 * columns, -(-sizes.filters // 64))


def _image(sizes: Sizes, shape: Shape, dtype: torch.dtype) -> tuple[int, int, int]:
    """Images, height and width."""
    if len(shape) == 4 and dtype == torch.float32 and shape[1] == sizes.channels:
        return shape[0], shape[2], shape[3]
    side, pixel = sizes.padding[1], sizes.groups * sizes.words
    if len(shape) == 4 and dtype == torch.int64 and shape[3] == pixel and shape[2] > 2 * side:
        return shape[0], shape[1], shape[2] - 2 * side
    raise ShapeError(
        f"a binary layer expects float32 (N, {sizes.channels}, H, W), or bits of it as int64 (N, H,"
        f" W + 2 x {side}, {pixel}); got {dtype} {tuple(shape)}"
    )


def planned(x: Tensor, flat: list[int], columns: int) -> Plan:
    """UsageError where a gradient is wanted."""
    if x.requires_grad and torch.is_grad_enabled():
        raise UsageError(
            "signs have no gradient: a packed network is for use, not for training. Call it under"
            " torch.no_grad(), or train the network that it was packed from"
        )
    return plan(tuple(flat), x.shape, x.stride(), x.dtype, columns, torch.get_num_threads())


def convolve(
    given: Inputs, how: Plan, columns: int, out: Optional, bits: Optional, cut: Optional, side: Optional
) -> None:
    """Fills ``out`` (channels last) and ``bits`` (negative where side y < cut), whichever is given."""
    loaded = library()
    if loaded is None or not given.x.is_cpu:
        _in_torch(given, how.sizes, columns, out, bits, Cut(cut, side))
        return
    status = _call(loaded, how, given, given.arranged, (out, bits, cut, side))
    if status == records.OTHER_LAYOUT:  # arranged on another machine, or for another path
        status = _call(loaded, how, given, arrange(given.weight, how.sizes), (out, bits, cut, side))
    _check(status)


def _call(loaded: Loaded, how: Plan, given: Inputs, arranged: Tensor, kept: tuple[Optional, ...]) -> int:
    x, _, _, in_cut, in_side, kmap, alpha, bias, factor, shift, shortcut = given
    first = (None, x.contiguous()) if x.dtype == torch.int64 else (x, None)
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=LAST)
    tensors = (*first, in_cut, in_side, arranged, kmap, alpha, bias, factor, shift, shortcut, *kept)
    addresses = [0 if t is None else t.data_ptr() for t in tensors]
    return loaded.functions.concord_convolve(loaded.path, how.geometry, records.memory(*addresses))


def _in_torch(given: Inputs, sizes: Sizes, columns: int, out: Optional, bits: Optional, cut: Cut) -> None:
    if given.x.dtype != torch.int64:
        require_finite(bool(given.x.isfinite().all()))
    y = portable.products(given.x, given.weight, sizes, Cut(given.cut, given.side))
    scales = Scales(given.alpha, given.bias, given.factor, given.shift, given.kmap)
    y = portable.scaled(y, scales, given.shortcut)
    if out is not None:
        out.copy_(y)
    if bits is not None:
        bits.copy_(words.from_maps(portable.negative(y, cut), columns))


def arrange(weight: Tensor, sizes: Sizes) -> Tensor:
    """Bits of weights (O, KH KW, words) as the path in use reads them; empty where PyTorch does the work."""
    loaded = library()
    if loaded is None or not weight.is_cpu:
        return torch.empty(0, dtype=torch.uint8, device=weight.device)
    geometry = records.geometry(sizes, (1, 1 << 20, 1 << 20), (0, 0, 0, 0), 0, 1)
    made = torch.empty(loaded.functions.concord_arranged(loaded.path, geometry), dtype=torch.uint8)
    weight = weight.contiguous()
    loaded.functions.concord_arrange(loaded.path, geometry, weight.data_ptr(), made.data_ptr())
    return made


def pack(x: Tensor, columns: int, cut: Optional, side: Optional, groups: int) -> Tensor:
    """Bits of maps, whose shape ``packed_shape`` has checked."""
    out = x.new_empty(packed_shape(x, columns, groups), dtype=torch.int64)
    loaded = library()
    if loaded is None or not x.is_cpu:
        require_finite(bool(x.isfinite().all()))
        return words.from_maps(portable.negative(x, Cut(cut, side)), columns, groups)
    flat = tuple(Sizes(x.shape[1], 1, (1, 1), padding=(0, columns), groups=groups).flat())
    how = plan(flat, x.shape, x.stride(), x.dtype, 0, torch.get_num_threads())
    addresses = [0 if t is None else t.data_ptr() for t in (x, None, cut, side)] + [0] * 11
    functions, memory = loaded.functions, records.memory(*addresses)
    _check(functions.concord_pack(loaded.path, how.geometry, memory, out.data_ptr()))
    return out


def packed_shape(x: Tensor, columns: int, groups: int) -> Shape:
    """ShapeError for what are no maps."""
    if x.ndim != 4 or x.dtype != torch.float32 or x.shape[1] % groups:
        raise ShapeError(
            f"maps to pack must be float32 (N, C, H, W), with C a multiple of {groups}; got {x.dtype}"
            f" {tuple(x.shape)}"
        )
    return x.shape[0], x.shape[2], x.shape[3] + 2 * columns, groups * -(-(x.shape[1] // groups) // 64)


def pool(bits: Tensor, falling: Tensor, channels: int, kernel: list[int], columns: int) -> Tensor:
    """Bits of a maximum pooling."""
    loaded = library()
    if loaded is None or not bits.is_cpu:
        return portable.pooled(bits, falling, channels, kernel, columns)
    out = bits.new_empty(pooled_shape(bits, channels, kernel, columns))
    n, h, w, _ = bits.shape
    geometry = records.geometry(_pooling(channels, kernel), (n, h, w), (0, 0, 0, 0), columns, 1)
    bits, falling = bits.contiguous(), falling.contiguous()
    loaded.functions.concord_pool(geometry, bits.data_ptr(), falling.data_ptr(), out.data_ptr())
    return out


def _pooling(channels: int, kernel: list[int]) -> Sizes:
    ky, kx, sy, sx, py, px, dy, dx = kernel
    return Sizes(channels, channels, (ky, kx), (sy, sx), (py, px), (dy, dx))


def pooled_shape(bits: Tensor, channels: int, kernel: list[int], columns: int) -> Shape:
    n, h, w, count = bits.shape
    oh, ow = _pooling(channels, kernel).output(h, w)
    return n, oh, ow + 2 * columns, count


def _check(status: int) -> None:
    require_finite(status != records.NOT_FINITE)
    if status == records.NO_MEMORY:
        raise ResourceError("memory for the bits of one image was refused: a smaller image takes less")
    if status != records.DONE:
        raise ShapeError("the arranged weights are those of another layer: pack the network again")


def require_finite(finite: bool) -> None:
    """DataError: a sign cannot stand for it."""
    if not finite:
        raise DataError(
            "the input of a binary layer has a value that is infinite or no number, which no sign can stand"
            " for; look at the inputs of the network, and at the layers before this one"
        )
