"""Whether the tensors of a layer fit each other and its input, as far as sizes and types tell."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from concord.cost.arithmetic import Answer, Fields

Leaf = Callable[[Any, Tensor, Fields], Answer | None]  # the rule of one layer


class Doubt(TypeError):
    """The tensors of a layer fit neither each other nor its input: only numbers can tell what torch does."""


def typed(held: Tensor | None, x: Tensor) -> bool:
    return held is None or held.dtype == x.dtype


def shaped(held: Tensor | None, length: int) -> bool:
    return held is None or tuple(held.shape) == (length,)


def require(fits: bool) -> None:
    if not fits:
        raise Doubt("the tensors of the layer do not fit each other or the type of its input")
