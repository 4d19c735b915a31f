"""A cost as plain data for a file, and back, equal to what it was.

Equal axes of receptive fields are written once, because most layers of a network share theirs. Reading trusts
nothing: every value has its type and every figure its limits, or ValueError is raised; what is read can be
shown by every table without another check.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, TypeVar

from concord.cost.arithmetic import INPUTS, KERNELS, NAMES, Fields, Windows, Work
from concord.cost.field import Field, Place
from concord.cost.record import Cost, Layer, Priced, ReceptiveField
from concord.cost.rules import LETTER, Rule
from concord.cost.signs import Signs

Data = dict[str, object]  # objects, lists, strings, whole numbers, floats, booleans and nulls: JSON
FIGURES = ("parameters", "buffers", "macs", "other_operations", "activations", "peak_activations")
AXES = {1, 2, 3}  # over which a convolution may move
FRACTION = re.compile(r"-?\d{1,40}(/\d{1,40})?", re.ASCII)  # Fraction("1e999999999") would fill the memory
T = TypeVar("T")


def to_data(priced: Priced) -> Data:
    """The record as plain data."""
    cost = priced.cost
    fields = [*(layer.fields for layer in cost.layers), *(seen.fields for seen in cost.receptive_fields)]
    local = [axis for axis in chain.from_iterable(fields) if axis is not None]
    axes = {axis: number for number, axis in enumerate(dict.fromkeys(local))}
    return {
        "name": priced.name,
        "inputs": [list(shape) for shape in priced.inputs],
        "figures": [getattr(cost, figure) for figure in FIGURES],
        "device": cost.device,
        "without_rule": list(cost.without_rule),
        "axes": [_axis_data(axis) for axis in axes],
        "layers": [_layer_data(layer, axes) for layer in cost.layers],
        "receptive_fields": [_seen_data(seen, axes) for seen in cost.receptive_fields],
    }


def _seen_data(seen: ReceptiveField, axes: Mapping[Field, int]) -> list[object]:
    per_axis = list(seen.size), list(seen.seen), list(seen.stride), list(seen.start)
    return [seen.input, seen.path, seen.type, *per_axis, _numbered(seen.fields, axes)]


def _axis_data(axis: Field) -> list[object]:
    low, high, shift, *ends, source, all_phases, tight = axis
    assert isinstance(source, tuple), "as local.of_input made it"
    return [
        [_place(p) for p in low],
        [_place(p) for p in high],
        _place(shift),
        *ends,
        list(source),
        all_phases,
        tight,
    ]


def _place(place: Place) -> object:
    return place if isinstance(place, int) else str(place)


def _numbered(fields: Fields, axes: Mapping[Field, int]) -> list[int | None]:
    return [None if f is None else axes[f] for f in fields]


def _layer_data(layer: Layer, axes: Mapping[Field, int]) -> list[object]:
    work = layer.one_call
    windows = None if work.windows is None else [list(sizes) for sizes in work.windows]
    rule = [dict(work.rule.letters), *work.rule[1:]]
    return [
        *(layer.path, layer.type, list(layer.output)),
        *(
            layer.parameters,
            layer.buffers,
            layer.macs,
            layer.other_operations,
            layer.activations,
            layer.calls,
        ),
        [work.macs, work.other, rule, work.parameters, windows, work.signs and list(work.signs)],
        _numbered(layer.fields, axes),
    ]


def from_data(data: Mapping[str, Any]) -> Priced:
    """The record of ``to_data``; ValueError for anything else."""
    try:
        return _priced(data)
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"not the cost of a network ({type(error).__name__}: {error})") from error


def _priced(data: Mapping[str, Any]) -> Priced:
    axes = [_axis(one) for one in _list(data["axes"])]
    inputs = tuple(_sizes(shape) for shape in _list(data["inputs"]))
    figures = dict(zip(FIGURES, map(_count, _list(data["figures"])), strict=True))
    layers = tuple(_layer(one, axes) for one in _list(data["layers"]))
    for figure in FIGURES[:-1]:
        _require(sum(getattr(layer, figure) for layer in layers) == figures[figure], f"sum of {figure}")
    cost = Cost(
        **figures,
        layers=layers,
        receptive_fields=tuple(_seen(one, axes, len(inputs)) for one in _list(data["receptive_fields"])),
        device=_is(str, data["device"]),
        without_rule=tuple(_is(str, name) for name in _list(data["without_rule"])),
    )
    return Priced(_is(str, data["name"]), inputs, cost)


def _axis(one: Sequence[Any]) -> Field:
    low, high, shift, units, *ends, source, all_phases, tight = _list(one)
    lows, highs = (tuple(_read_place(p) for p in _list(ends)) for ends in (low, high))
    _require(len(lows) == len(highs) > 0, "phases of a field")
    first, last, least, most, begin, end = (_is(int, end) for end in ends)
    number, axis = (_is(int, part) for part in _list(source))
    seen = _is(int, units), first, last, least, most, begin, end
    flags = _is(bool, all_phases), _is(bool, tight)
    return Field(lows, highs, _read_place(shift), *seen, (number, axis), *flags)


def _read_place(place: object) -> Place:
    if not isinstance(place, str):
        return _is(int, place)
    _require(FRACTION.fullmatch(place) is not None, f"a fraction, {place!r:.40}")
    return Fraction(place)


def _layer(one: Sequence[Any], axes: Sequence[Field]) -> Layer:
    path, kind, output, parameters, buffers, macs, other, activations, calls, work, fields = _list(one)
    shape, owned = _sizes(output), (_count(parameters), _count(buffers))
    done = _count(macs), _count(other), _count(activations), _count(calls)
    names = _is(str, path), _is(str, kind)
    return Layer(*names, shape, *owned, *done, _work(work, shape), _fields(fields, axes))


def _fields(numbers: Sequence[Any], axes: Sequence[Field]) -> Fields:
    return tuple(None if n is None else axes[_count(n)] for n in _list(numbers))


def _work(one: Sequence[Any], output: Sequence[int]) -> Work:
    macs, other, (letters, *formulas), parameters, windows, signs = _list(one)
    rule = Rule({_is(str, name): _count(n) for name, n in letters.items()}, *map(_formula, formulas))
    used = set(chain.from_iterable(map(LETTER.findall, rule[1:])))
    _require(used <= rule.letters.keys(), "letters of a rule")
    moved = None if windows is None else _windows(windows, rule.letters, len(output))
    made = None if signs is None else _signs(signs, _count(macs))
    return Work(_count(macs), _count(other), rule, _count(parameters), moved, made)


def _formula(text: object) -> str:
    return _is(str, text)


def _windows(sizes: Sequence[Any], letters: Mapping[str, int], axes_of_output: int) -> Windows:
    windows = Windows(*(_sizes(one) for one in _list(sizes)))
    n = len(windows.kernel)
    _require(n in AXES and axes_of_output == n + 2, "axes of a convolution")
    _require({*map(len, windows)} == {n} and min(*windows.kernel, *windows.stride) > 0, "sizes of a window")
    named = ("B", "M", "N", "G", "K", *NAMES[n], *INPUTS[n], *KERNELS[n])
    _require(min(letters[name] for name in named) > 0, "letters of a convolution")
    return windows


def _signs(numbers: Sequence[Any], macs: int) -> Signs:
    signs = Signs(*map(_count, _list(numbers)))
    _require(signs.weights > 0 and signs.products <= macs, "signs of a layer")
    return signs


def _seen(one: Sequence[Any], axes: Sequence[Field], inputs: int) -> ReceptiveField:
    number, path, kind, size, within, stride, start, fields = _list(one)
    _require(_count(number) < inputs, "input of a field")
    strides = tuple(_is(float, s) for s in _list(stride))
    starts = tuple(None if s is None else _is(float, s) for s in _list(start))
    seen = ReceptiveField(
        *(number, _is(str, path), _is(str, kind), _sizes(size), _sizes(within), strides, starts),
        _fields(fields, axes),
    )
    _require(0 < len(seen.size) == len(seen.seen) == len(seen.stride) == len(seen.start), "axes of a field")
    return seen


def _sizes(sizes: Iterable[object]) -> tuple[int, ...]:
    return tuple(_count(size) for size in _list(sizes))


def _count(number: object) -> int:
    _require(type(number) is int and number >= 0, f"a count, {number!r:.40}")
    return _is(int, number)


def _list(value: Any) -> list[Any]:
    return _is(list, value)


def _is(kind: type[T], value: object) -> T:
    """The value, if it has exactly this type: True is not a number here."""
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, got {value!r:.40}")
    return value


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"not the cost of a network ({what})")
