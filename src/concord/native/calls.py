"""One call of the kernel, or of what stands in for it: sizes checked, memory made, addresses handed over."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from concord.errors import ResourceError, ShapeError, UsageError
from concord.native import portable, records, words
from concord.native.checks import (
    Expected,
    Shape,
    cuts,
    fitting,
    refuse_gradient,
    require_finite,
    require_floats,
    require_weight,
    vectors_of,
)
from concord.native.epilogue import Cut, Scales
from concord.native.library import Loaded, library
from concord.native.sizes import Sizes

LAST = torch.channels_last
Optional = Tensor | None
LANES = 16  # the most filters that a path writes the bits of at once


class Plan(NamedTuple):
    """A layer on inputs of one shape."""

    sizes: Sizes
    geometry: bytes
    maps: Shape
    bits: Shape
    vectors: Expected
    aligned: bool  # filters of a group begin where the kernel can write their bits


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
    if columns < 0:
        raise ShapeError(f"bits have 0 or more columns of padding, got {columns}")
    maps, bits = shapes(sizes, shape, dtype, columns)
    strides = (0, 0, 0, 0) if dtype == torch.int64 else strides
    geometry = records.geometry(sizes, image, strides, columns, threads)
    aligned = sizes.groups == 1 or sizes.filters // sizes.groups % LANES == 0
    return Plan(sizes, geometry, maps, bits, vectors_of(sizes, maps), aligned)


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
    """The plan for this input. UsageError where a gradient is wanted."""
    refuse_gradient(x)
    return plan(tuple(flat), x.shape, x.stride(), x.dtype, columns, torch.get_num_threads())


def convolve(
    given: Inputs, how: Plan, columns: int, out: Optional, bits: Optional, cut: Optional, side: Optional
) -> None:
    """Fills ``out`` (channels last) and ``bits`` (negative where side y < cut), whichever is given.

    Raises ShapeError for tensors that do not fit the layer, DataError for values that are not finite,
    ResourceError where memory is short.
    """
    on_cpu = given.x.is_cpu
    vectors = fitting((*given[3:10], cut, side), how.vectors, on_cpu)
    if given.shortcut is not None:
        require_floats("shortcut", given.shortcut, how.maps, on_cpu)
    if (given.factor is None) is not (given.shift is None):
        raise UsageError("factor and shift of a binary layer belong together; give both or neither")
    loaded = library()
    if loaded is None or not on_cpu:
        _in_torch(given, how.sizes, columns, out, bits, Cut(cut, side))
    elif bits is not None and not how.aligned:
        maps = torch.empty(how.maps, dtype=torch.float32, memory_format=LAST) if out is None else out
        _in_kernel(loaded, given, how, vectors, maps, None)
        bits.copy_(words.from_maps(portable.negative(maps, Cut(cut, side)), columns))
    else:
        _in_kernel(loaded, given, how, vectors, out, bits)


def _in_kernel(
    loaded: Loaded, given: Inputs, how: Plan, vectors: list[Optional], out: Optional, bits: Optional
) -> None:
    status = _call(loaded, given, given.arranged, how, vectors, out, bits)
    if status == records.OTHER_LAYOUT:  # arranged on another machine, or for another path
        arranged = arrange(given.weight, how.sizes)
        status = _call(loaded, given, arranged, how, vectors, out, bits)
    _check(status)


def _call(
    loaded: Loaded,
    given: Inputs,
    arranged: Tensor,
    how: Plan,
    vectors: list[Optional],
    out: Optional,
    bits: Optional,
) -> int:
    x, shortcut = given.x, given.shortcut
    first = (None, x.contiguous()) if x.dtype is torch.int64 else (x, None)
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=LAST)
    tensors = (*first, *vectors[:7], shortcut, out, bits, *vectors[7:])
    if loaded.hold is not None:
        loaded.hold(tensors)
    fields = [0 if t is None else t.data_ptr() for t in tensors]
    fields[4:4] = (arranged.data_ptr(), arranged.nbytes) if arranged.is_cpu else (0, 0)
    return loaded.functions.concord_convolve(loaded.path, how.geometry, records.memory(*fields))


def _in_torch(given: Inputs, sizes: Sizes, columns: int, out: Optional, bits: Optional, cut: Cut) -> None:
    if given.x.dtype != torch.int64:
        require_finite(bool(given.x.isfinite().all()))
    require_weight(given.weight, sizes, given.x.is_cpu)
    y = portable.products(given.x, given.weight, sizes, Cut(given.cut, given.side))
    scales = Scales(given.alpha, given.bias, given.factor, given.shift, given.kmap)
    y = portable.scaled(y, scales, given.shortcut)
    if out is not None:
        out.copy_(y)
    if bits is not None:
        bits.copy_(words.from_maps(portable.negative(y, cut), columns))


def arrange(weight: Tensor, sizes: Sizes) -> Tensor:
    """Bits of weights (O, KH KW, words) as the path in use reads them; empty where PyTorch does the work.

    Raises ShapeError for bits of another layer.
    """
    require_weight(weight, sizes, weight.is_cpu)
    loaded = library()
    if loaded is None or not weight.is_cpu:
        return torch.empty(0, dtype=torch.uint8, device=weight.device)
    (dy, dx), (kh, kw) = sizes.dilation, sizes.kernel
    geometry = records.geometry(sizes, (1, dy * kh, dx * kw), (0, 0, 0, 0), 0, 1)  # one with an output
    size = loaded.functions.concord_arranged(loaded.path, geometry)
    made, weight = torch.empty(size, dtype=torch.uint8, device="cpu"), weight.contiguous()
    loaded.functions.concord_arrange(loaded.path, geometry, weight.data_ptr(), made.data_ptr())
    return made


def pack(x: Tensor, columns: int, cut: Optional, side: Optional, groups: int) -> Tensor:
    """Bits of maps. UsageError where a gradient is wanted, ShapeError for what are no maps."""
    refuse_gradient(x)
    out = x.new_empty(packed_shape(x, columns, groups), dtype=torch.int64)
    where = cuts(cut, side, x.shape[1], x.is_cpu)
    loaded = library()
    if loaded is None or not x.is_cpu:
        require_finite(bool(x.isfinite().all()))
        return words.from_maps(portable.negative(x, Cut(cut, side)), columns, groups)
    flat = tuple(Sizes(x.shape[1], groups, (1, 1), padding=(0, columns), groups=groups).flat())
    how = plan(flat, x.shape, x.stride(), x.dtype, 0, torch.get_num_threads())
    memory = records.memory(*(0 if t is None else t.data_ptr() for t in (x, None, *where)))
    _check(loaded.functions.concord_pack(loaded.path, how.geometry, memory, out.data_ptr()))
    return out


def packed_shape(x: Tensor, columns: int, groups: int) -> Shape:
    """ShapeError for what are no maps."""
    if x.ndim != 4 or x.dtype != torch.float32 or groups < 1 or x.shape[1] % groups or columns < 0:
        raise ShapeError(
            f"maps to pack must be float32 (N, C, H, W), with C a multiple of {groups} groups and"
            f" {columns} >= 0 columns of padding; got {x.dtype} {tuple(x.shape)}"
        )
    return x.shape[0], x.shape[2], x.shape[3] + 2 * columns, groups * -(-(x.shape[1] // groups) // 64)


def _check(status: int) -> None:
    require_finite(status != records.NOT_FINITE)
    if status == records.NO_MEMORY:
        raise ResourceError("memory for the bits of one image was refused: a smaller image takes less")
    if status != records.DONE:
        raise ShapeError("the arranged weights are those of another layer: pack the network again")
