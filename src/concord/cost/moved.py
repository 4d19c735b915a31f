"""Bytes that an operation reads and writes, if none is fused with another and no cache holds anything.

Every tensor that goes in is read once and every tensor that comes out is written once, each number that it
has: one that was expanded has those of before. What is changed in place is read and written, what is filled
only written. A look-up reads as many numbers as it gives, and the backward pass of a convolution reads what
the gradients need that are wanted. Views move nothing, and neither does memory that is only set aside.
"""

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

FILLED = ("bernoulli_", "copy_", "exponential_", "fill_", "normal_", "random_", "uniform_", "zero_")
SET_ASIDE = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
LOOKED_UP = ("embedding", "gather", "index", "index_select", "take")
GRADIENTS = torch.ops.aten.convolution_backward


def moved_bytes(func: Any, args: Sequence[Any], given: Sequence[Tensor], made: Sequence[Tensor]) -> int:
    """Of one operation, with the tensors among its arguments and those that it gave."""
    name = func.overloadpacket.__name__
    if func.is_view or name in SET_ASIDE:
        return 0
    storages = {x.untyped_storage()._cdata for x in given}
    new = [x for x in made if x.untyped_storage()._cdata not in storages]
    changed = [x for place in _written(func) if place < len(args) for x in _tensors(args[place])]
    if not new and not changed:  # it gave what it got
        return 0
    written = sum(map(size, new)) + sum(map(size, changed))
    if func.overloadpacket is GRADIENTS:
        gradient, x, weight = given[:3]
        into_x, into_weight, _ = args[-1]
        return written + size(gradient) + into_x * size(weight) + into_weight * size(x)
    if name in LOOKED_UP:
        return written + sum(map(size, given[1:])) + sum(x.numel() * x.element_size() for x in new)
    filled = {id(x) for x in changed} if name in FILLED else set()
    return written + sum(size(x) for x in given if id(x) not in filled)


def size(x: Tensor) -> int:
    """Bytes of the numbers that it has; axes along which it was expanded repeat them."""
    steps = zip(x.shape, x.stride(), strict=True)
    return prod(length for length, step in steps if step or not length) * x.element_size()


def _tensors(given: Any) -> list[Tensor]:
    return [x for x in (given if isinstance(given, list | tuple) else [given]) if isinstance(x, Tensor)]


@cache
def _written(func: Any) -> tuple[int, ...]:
    """Which arguments it changes."""
    return tuple(
        number
        for number, one in enumerate(func._schema.arguments)
        if one.alias_info is not None and one.alias_info.is_write
    )
