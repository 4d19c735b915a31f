"""Binary layers, answered from the sizes of their tensors.

What a network computes that is finished: signs and scales of the weights are at hand.

  * MACs: the products with the weights, one for each pair of numbers as in a float layer. Of XNOR layers they
    are products of signs and signs. BWN and BinaryConnect layers add and subtract floats; an addition costs
    a processor as much as a multiply-accumulate, so these stay MACs.
  * The scales K of inputs take K² more products of floats for each place and group.
  * Other operations: 1 per input of an XNOR layer for its sign, 2 more for K (modulus, sum over channels); 1
    per output for each of alpha, K and bias.
"""

from math import prod
from typing import Any

from torch import Tensor, nn

from concord.cost.arithmetic import NAMES, Answer, Fields, Shape, Windows, convolution, linear
from concord.cost.field_rules import padded
from concord.cost.fitting import Leaf, require, shaped, typed
from concord.cost.signs import Signs
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear, XNORLinear


def _convolution(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    if x.ndim != 4 or x.shape[1] != m.in_channels or 0 in x.shape:
        return None
    _require_fitting(m, x)
    moved = m.windows()
    shape, seen = tuple(x.shape), fields
    for axis in (0, 1):  # padding "same" of an even kernel: places that one end has more than the other
        shape, seen = _longer(shape, seen, axis - 2, moved.after[axis] - moved.before[axis])
    windows = Windows(moved.kernel, moved.stride, moved.before, moved.dilation)
    known = convolution(shape, seen, len(m.weight), windows, groups=m.groups, bias=m.bias is not None)
    if known is None:
        return None
    places = prod(known.shape[2:]) * len(x) * m.groups * prod(moved.kernel)
    return _binary(m, x, known, NAMES[2], places)


def _require_fitting(m: Any, x: Tensor) -> None:
    """Doubt unless weight and bias are of the type of x, and each filter has a bias or none has."""
    require(typed(m.weight, x) and typed(m.bias, x) and shaped(m.bias, len(m.weight)))


def _longer(shape: Shape, fields: Fields, axis: int, extra: int) -> tuple[Shape, Fields]:
    """With ``extra`` zeros behind one axis."""
    sizes, seen, field = list(shape), list(fields), fields[axis]
    sizes[axis] += extra
    seen[axis] = padded(field, 0, units=sizes[axis]) if field and extra else field
    return tuple(sizes), tuple(seen)


def _linear(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    if x.ndim < 1 or x.shape[-1] != m.in_features:
        return None
    _require_fitting(m, x)
    known = linear(tuple(x.shape), fields, len(m.weight), bias=m.bias is not None)
    return _binary(m, x, known, ("P",), 0)


def _binary(m: Any, x: Tensor, known: Answer, places: tuple[str, ...], box: int) -> Answer:
    """The answer of the float layer, with signs; ``box`` products of floats make the scales of inputs."""
    done, outputs, filters = known.work, prod(known.shape), len(m.weight)
    of_signs, scaled = isinstance(m, XNORConv2d | XNORLinear), not isinstance(m, UNSCALED)
    k = of_signs and m.scale_inputs
    each_input, each_output = of_signs + 2 * k, scaled + k + (m.bias is not None)
    letters = {**done.rule.letters, "E": x.numel()}
    many = ("B",) if letters.get("B", 1) > 1 else ()
    out = "·".join([*many, *(name for name in places if name != "P" or letters["P"] > 1), "N"])
    terms = [_times(each_input, "E"), _times(each_output, out)]
    macs = done.rule.macs
    if k and box:
        area = "K²" if len(set(m.kernel_size)) == 1 else "K_h·K_w"
        macs += " + " + "·".join([*many, *places, area, *(["G"] if m.groups > 1 else [])])
    rule = done.rule._replace(letters=letters, macs=macs, other=" + ".join(filter(None, terms)))
    signs = Signs(m.weight[0].numel(), filters, scaled * filters, of_signs * done.macs)
    work = done._replace(
        macs=done.macs + k * box,
        other=each_input * x.numel() + each_output * outputs,
        rule=rule,
        signs=signs,
    )
    return known._replace(work=work)


def _times(number: int, letters: str) -> str:
    return "" if number == 0 else letters if number == 1 else f"{number}·{letters}"


UNSCALED = (BinaryConnectConv2d, BinaryConnectLinear)
BINARY: dict[type[nn.Module], Leaf] = {
    **dict.fromkeys((BinaryConnectConv2d, BWNConv2d, XNORConv2d), _convolution),
    **dict.fromkeys((BinaryConnectLinear, BWNLinear, XNORLinear), _linear),
}
