"""Which part of the input each axis of a tensor still stands for, through every operation of torch.

An axis keeps a field as long as the unit at position i sees an interval of the input that moves with i. What
mixes positions (a mean over the axis, a linear layer over it, attention, statistics of the whole map) ends
that: the axis gets None. Tensors that do not depend on the input (weights, constants) are passed over.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from concord.cost.arithmetic import Fields
from concord.cost.field import Field
from concord.cost.local_axes import AXES, Args, Known, Rule, broadcast
from concord.cost.local_windows import WINDOWS
from concord.cost.operations import elementwise

RULES: Mapping[str, Rule] = {**AXES, **WINDOWS}
PASSED_ON = (
    "_reshape_copy _to_copy alias clone contiguous copy detach expand fill_ lift_fresh native_dropout zero_"
)
SHAPE_ONLY = (
    "empty_like full_like ones_like rand_like randn_like zeros_like new_empty new_full new_ones new_zeros"
)


def of_input(number: int, x: Tensor, channels_last: bool = False) -> Fields:
    """All axes but those of the batch and of channels: H, W of (B, C, H, W), T of tokens (B, T).

    With ``channels_last`` those of a sequence (B, T, D): T.
    """
    tokens = x.ndim == 2 and not x.is_floating_point()
    places = range(1, x.ndim - 1) if channels_last and not tokens else range(1 if tokens else 2, x.ndim)
    return tuple(
        Field.of_input((number, axis), x.shape[axis]) if axis in places else None for axis in range(x.ndim)
    )


def input_of(field: Field) -> int:
    """Number of the input whose axis the field is a part of."""
    assert isinstance(field.source, tuple), "as of_input made it"
    return int(field.source[0])


def after(func: Any, args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields | None:
    """Fields of the output of one operation of aten; None if it does not depend on the input."""
    tensors = [x for x in flat(args) if isinstance(x, Tensor) and known(x) is not None]
    if not tensors:
        return None
    name = func.overloadpacket.__name__
    if name in SHAPE_ONLY.split():
        return None
    if name in RULES:
        fields = RULES[name](args, kwargs, out, known)
        return fields if len(fields) == out.ndim else (None,) * out.ndim
    if elementwise(func) or name in PASSED_ON.split():
        return broadcast([known(x) or () for x in tensors], tuple(out.shape))
    return (None,) * out.ndim


def flat(args: Args) -> list[Any]:
    """Arguments, and what stands in lists of them."""
    return [y for x in args for y in (x if isinstance(x, tuple | list) else [x])]
