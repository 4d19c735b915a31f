"""The float layers at the edges of a binary network, each in one go.

They round otherwise than PyTorch's own layers do: sums run in another order.
"""

from functools import lru_cache
from math import inf, prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import ResourceError, ShapeError
from concord.native import records
from concord.native.checks import refuse_gradient
from concord.native.library import Loaded, library

LAST = torch.channels_last
BLOCK = 32  # filters that lie side by side: the kernel wants a multiple of these
INPUTS = 2048  # and at most this many numbers in a sum
PLACES = 2**31  # and fewer numbers in a padded image
Shape = tuple[int, ...]


class Folded(NamedTuple):
    """A float convolution with what follows it: max(conv(x) factor + shift, least)."""

    weight: Tensor  # (O, C, KH, KW)
    arranged: Tensor  # of it
    factor: Tensor
    shift: Tensor
    relu: bool


class Window(NamedTuple):
    """Height and width are alike in ``pool``: side (0: none), stride and padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    pool: tuple[int, int, int] = (0, 1, 0)


def size(length: int, kernel: int, stride: int, padding: int, up: bool = False) -> int:
    """Of the output along one axis; ``up`` rounds up, as ceil_mode does."""
    room = length + 2 * padding - kernel
    return -(-room // stride) + 1 if up else room // stride + 1


def first_shape(shape: Shape, filters: int, window: Window) -> tuple[Shape, Shape]:
    """Of the convolution, and of what is pooled from it. ShapeError where nothing comes out."""
    n, _, h, w = shape
    (kh, kw), (sy, sx), (py, px), (side, step, edge) = window
    oh, ow = size(h, kh, sy, py), size(w, kw, sx, px)
    pooled = (size(oh, side, step, edge), size(ow, side, step, edge)) if side else (oh, ow)
    if min(oh, ow, *pooled) < 1 or 2 * edge > side:
        raise ShapeError(
            f"an image of {h}x{w} is too small for a convolution of {kh}x{kw} with padding {window.padding},"
            f" then pooling of {side}x{side} with padding {edge}"
        )
    return (n, filters, oh, ow), (n, filters, *pooled)


def arranged(weight: Tensor) -> Tensor:
    """Filters side by side; empty unless 32 divides O. Shape: (O, C, KH, KW) -> (O / 32, C KH KW, 32)"""
    if len(weight) % BLOCK:
        return weight.new_empty(0)
    return weight.detach().flatten(1).unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()


def transformed(weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """G g G' of the even and the odd rows and columns, for kernel/winograd.h, where a path has it.

    Shape: (O, C, KH, KW) -> (O / 32, 13 13 C, 32), columns before rows; empty where it is of no use
    """
    filters, _, rows, columns = weight.shape
    loaded = library()
    if loaded is None or not loaded.functions.concord_winograd(loaded.path):
        return weight.new_empty(0)
    if filters % BLOCK or not _transformable((rows, columns), stride):
        return weight.new_empty(0)
    taps = F.pad(weight.detach().double(), (0, TAPS - columns, 0, TAPS - rows))
    points = torch.einsum("hx,vy,ocyx->ohvc", G, G, taps)
    whole = points.flatten(1).float()  # (O, 13 13 C)
    return whole.unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()


def _transformable(kernel: tuple[int, int], stride: tuple[int, int]) -> bool:
    return stride == (2, 2) and 5 <= min(kernel) <= max(kernel) <= TAPS


TAPS = 7  # of a side of the kernel: those that are even, and those that are odd
_POINTS = (0.0, 9 / 8, -9 / 8, 9 / 16, -9 / 16)  # infinity and 3 follow; odd taps do without 3
_LAST = 3.0


def _gain() -> list[list[float]]:
    """Rows of G for point and kind of tap, (even, odd) for each point."""
    rows = []
    for p in _POINTS:
        for start, own in ((0, (*_POINTS, _LAST)), (1, _POINTS)):
            scale = prod(p - other for other in own if other != p)
            rows.append([p ** (tap // 2) / scale if tap % 2 == start else 0.0 for tap in range(TAPS)])
    rows += [[float(tap == last) for tap in range(TAPS)] for last in (6, 5)]
    scale = prod(_LAST - other for other in _POINTS)
    rows.append([_LAST ** (tap // 2) / scale if tap % 2 == 0 else 0.0 for tap in range(TAPS)])
    return rows


G = torch.tensor(_gain(), dtype=torch.float64)  # (13, 7)
WIDEST = 224  # outputs in a row, for transformed weights


def first(x: Tensor, layer: Folded, transformed: Tensor, window: Window) -> Tensor:
    """Convolution of few channels, then maximum pooling; ``transformed`` may be empty.

    Raises ShapeError for tensors that do not fit, UsageError where a gradient is wanted.
    """
    _require_fitting(x, layer)
    filters = len(layer.weight)
    maps, pooled = first_shape(tuple(x.shape), filters, window)
    loaded = library()
    large = layer.weight[0].numel() > INPUTS or _padded(tuple(x.shape), window) >= PLACES
    if loaded is None or not x.is_cpu or filters % BLOCK or large:
        return _first_in_torch(x, layer, window)
    layer = _laid(layer)
    channels = layer.weight.shape[1]
    fast = (
        _readable(transformed, (filters // BLOCK, channels * len(G) ** 2, BLOCK))
        and _transformable(window.kernel, window.stride)
        and maps[3] <= WIDEST
        and loaded.functions.concord_winograd(loaded.path) > 0
    )
    out = torch.empty(pooled, dtype=torch.float32, memory_format=LAST)
    threads = torch.get_num_threads()
    geometry = _first_geometry(tuple(x.shape), x.stride(), maps, pooled, window, fast, threads)
    memory = _memory(loaded, x, layer._replace(arranged=transformed) if fast else layer, out)
    _check(loaded.functions.concord_first(loaded.path, geometry, memory))
    return out


def _require_fitting(x: Tensor, layer: Folded) -> None:
    """ShapeError unless all are float32 on one device, and fit each other; UsageError for a gradient."""
    refuse_gradient(x)
    filters, channels = layer.weight.shape[:2]
    if x.ndim != 4 or x.dtype is not torch.float32 or x.shape[1] != channels:
        raise ShapeError(
            f"a float layer of a packed network expects float32 (N, {channels}, H, W), got {x.dtype}"
            f" {tuple(x.shape)}"
        )
    for name, tensor, shape in (
        ("weight", layer.weight, layer.weight.shape),
        ("factor", layer.factor, (filters,)),
        ("shift", layer.shift, (filters,)),
    ):
        if tensor.dtype is not torch.float32 or tensor.shape != shape or tensor.device != x.device:
            raise ShapeError(
                f"{name} of a float layer must be float32 {tuple(shape)} on {x.device}, got {tensor.dtype}"
                f" {tuple(tensor.shape)} on {tensor.device}"
            )


def _padded(shape: Shape, window: Window) -> int:
    """Numbers of one image with its padding."""
    (py, px), (_, c, h, w) = window.padding, shape
    return c * (h + 2 * py) * (w + 2 * px)


def _laid(layer: Folded) -> Folded:
    """With numbers one after the other, and weights arranged where they are not."""
    filters, each = len(layer.weight), layer.weight[0].numel()
    own = layer.arranged
    if not _readable(own, (filters // BLOCK, each, BLOCK)):
        own = arranged(layer.weight)
    return layer._replace(arranged=own, factor=layer.factor.contiguous(), shift=layer.shift.contiguous())


def _readable(weight: Tensor, shape: Shape) -> bool:
    """Whether the kernel can read it as weights of this shape."""
    return (
        weight.shape == shape and weight.dtype is torch.float32 and weight.is_cpu and weight.is_contiguous()
    )


@lru_cache(maxsize=256)
def _first_geometry(
    shape: Shape, strides: Shape, maps: Shape, pooled: Shape, window: Window, fast: bool, threads: int
) -> bytes:
    kernel, stride, padding, pool = window
    return records.floating(
        *shape, *maps[1:], *kernel, *stride, *padding, *strides, *pool, *pooled[2:], fast, threads
    )


def _first_in_torch(x: Tensor, layer: Folded, window: Window) -> Tensor:
    y = F.conv2d(x, layer.weight, None, window.stride, window.padding)
    y = _followed(y, layer)
    side, step, edge = window.pool
    y = F.max_pool2d(y, side, step, edge) if side else y
    return y.contiguous(memory_format=LAST)


def _followed(y: Tensor, layer: Folded) -> Tensor:
    y = y * layer.factor[:, None, None] + layer.shift[:, None, None]
    return F.relu(y) if layer.relu else y


def halving_shape(shape: Shape, filters: int, side: int, up: bool) -> Shape:
    """ShapeError where nothing comes out."""
    n, _, h, w = shape
    oh, ow = size(h, side, side, 0, up), size(w, side, side, 0, up)
    if min(h, w, oh, ow) < 1:
        raise ShapeError(f"a map of {h}x{w} is smaller than a window of {side}x{side}")
    return n, filters, oh, ow


def halving(x: Tensor, layer: Folded, side: int, up: bool) -> Tensor:
    """Means of windows side x side, then a 1x1 convolution. ``up``: windows cut at the edge count too.

    Raises what ``first`` does.
    """
    _require_fitting(x, layer)
    filters, channels = layer.weight.shape[:2]
    shape = halving_shape(tuple(x.shape), filters, side, up)
    loaded = library()
    if loaded is None or not x.is_cpu or filters % BLOCK or channels > INPUTS:
        y = F.conv2d(F.avg_pool2d(x, side, ceil_mode=up), layer.weight)
        return _followed(y, layer).contiguous(memory_format=LAST)
    x, layer = x.contiguous(memory_format=LAST), _laid(layer)
    out = torch.empty(shape, dtype=torch.float32, memory_format=LAST)
    geometry = _halving_geometry(tuple(x.shape), x.stride(), shape, side, torch.get_num_threads())
    _check(loaded.functions.concord_halving(loaded.path, geometry, _memory(loaded, x, layer, out)))
    return out


@lru_cache(maxsize=256)
def _halving_geometry(shape: Shape, strides: Shape, made: Shape, side: int, threads: int) -> bytes:
    n, c, h, w = shape
    return records.floating(
        n, c, h, w, *made[1:], side, side, side, side, 0, 0, *strides, 0, 1, 0, *made[2:], 0, threads
    )


def _memory(loaded: Loaded, x: Tensor, layer: Folded, out: Tensor) -> bytes:
    tensors = (x, layer.arranged, layer.factor, layer.shift, out)
    if loaded.hold is not None:
        loaded.hold(tensors)
    return records.float_memory(tuple(t.data_ptr() for t in tensors), 0.0 if layer.relu else -inf)


def _check(status: int) -> None:
    if status != records.DONE:
        raise ResourceError("memory for the maps of one image was refused: a smaller image takes less")
