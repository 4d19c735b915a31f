"""Operators of torch for the float layers at the edges of a binary network: see ``concord.native.floats``."""

import torch
from torch import Tensor

from concord.errors import ShapeError
from concord.native import floats
from concord.native.register import operator, shape_of


@operator
def float_first(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    transformed: Tensor,
    factor: Tensor,
    shift: Tensor,
    relu: bool,
    stride: list[int],
    padding: list[int],
    pool: list[int],
) -> Tensor:
    """max(conv(x) factor + shift, 0 if ``relu``), then maximum pooling (side, 0 for none; stride; padding).

    ``arranged`` and ``transformed`` are made of ``weight`` (O, C, KH, KW) by the functions of that name.
    Shape: (N, C, H, W) -> (N, O, H', W')
    """
    layer = floats.Folded(weight, arranged, factor, shift, relu)
    return floats.first(x, layer, transformed, _window(weight, stride, padding, pool))


@operator
def float_halving(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    factor: Tensor,
    shift: Tensor,
    relu: bool,
    side: int,
    ceil_mode: bool,
) -> Tensor:
    """Means of windows side x side, then a 1x1 convolution, factor and shift.

    Shape: (N, C, H, W) -> (N, O, H / side, W / side)
    """
    return floats.halving(x, floats.Folded(weight, arranged, factor, shift, relu), side, ceil_mode)


def _window(weight: Tensor, stride: list[int], padding: list[int], pool: list[int]) -> floats.Window:
    if (weight.ndim, len(stride), len(padding), len(pool)) != (4, 2, 2, 3) or min(*stride, pool[1]) < 1:
        raise ShapeError(
            "a first layer has weights (O, C, KH, KW), two strides of at least 1, two paddings, and side,"
            f" stride and padding of its pooling; got {tuple(weight.shape)}, {stride}, {padding}, {pool}"
        )
    kernel = (weight.shape[2], weight.shape[3])
    return floats.Window(
        kernel, (stride[0], stride[1]), (padding[0], padding[1]), (pool[0], pool[1], pool[2])
    )


@shape_of("float_first")
def _(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    transformed: Tensor,
    factor: Tensor,
    shift: Tensor,
    relu: bool,
    *window: list[int],
) -> Tensor:
    shape = floats.first_shape(tuple(x.shape), len(weight), _window(weight, *window))[1]
    return torch.empty(shape, dtype=torch.float32, device=x.device, memory_format=floats.LAST)


@shape_of("float_halving")
def _(
    x: Tensor,
    weight: Tensor,
    arranged: Tensor,
    factor: Tensor,
    shift: Tensor,
    relu: bool,
    side: int,
    ceil_mode: bool,
) -> Tensor:
    shape = floats.halving_shape(tuple(x.shape), len(weight), side, ceil_mode)
    return torch.empty(shape, dtype=torch.float32, device=x.device, memory_format=floats.LAST)
