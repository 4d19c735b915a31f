"""The cost of a network worked out by hand, step by step, as source 001 asks for it in its question 1."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from concord.cost.arithmetic import INPUTS, NAMES, POWERS
from concord.cost.field import Field
from concord.cost.record import Cost, Layer
from concord.cost.rules import worked
from concord.report.cost_tables import Priced, linear_parameters, share, strides, times
from concord.report.text import visible

LINEAR = ("Linear", "addmm")


def worked_answer(priced: Priced) -> list[str]:
    """Lines: each layer with parameters, then the sums, then what the fully connected layers take of them."""
    lines = [f"{priced.name}, input {priced.given}", ""]
    for layer in priced.cost.layers:
        if layer.macs:
            lines += [*_layer(layer), ""]
    return [*lines, *_sums(priced.cost)]


def _layer(layer: Layer) -> Iterator[str]:
    rule, windows = layer.one_call.rule, layer.one_call.windows
    letters = rule.letters
    name, output = visible(layer.path) or "network", times(layer.output[1:])
    if windows is None:
        yield f"{name}: {layer.type}, to {output}"
    else:
        before = [letters[letter] for letter in ("M", *INPUTS[len(windows.kernel)])]
        how = f"stride {strides(windows.stride)}, padding {strides(windows.padding)}{_groups(letters)}"
        yield f"{name}: {times(windows.kernel)} convolution, {how}, {times(before)} -> {output}"
        yield from _sizes(layer)
    if layer.parameters and layer.owns_all:
        yield f"  parameters  {worked(rule.parameters, letters, layer.parameters)}"
    yield f"  MACs        {worked(rule.macs, letters, layer.one_call.macs)}"
    if layer.calls > 1:
        yield f"              {layer.calls} times: {layer.macs:,}"
    yield from _fields(layer)


def _groups(letters: Mapping[str, int]) -> str:
    groups = letters["G"]
    return "" if groups == 1 else ", one filter per map" if groups == letters["M"] else f", {groups} groups"


def _sizes(layer: Layer) -> Iterator[str]:
    """floor((H + 2 P - D (K - 1) - 1) / S) + 1, one line where all axes agree."""
    windows = layer.one_call.windows
    assert windows is not None, "only for convolutions"
    n = len(windows.kernel)
    before = [layer.one_call.rule.letters[letter] for letter in INPUTS[n]]
    lines = [
        f"floor(({size} + 2·{p} - {d}·({k} - 1) - 1)/{s}) + 1 = {out}"
        for size, out, k, s, p, d in zip(before, layer.output[-n:], *windows, strict=True)
    ]
    if len(set(lines)) == 1:
        yield f"  {' = '.join(NAMES[n]):11} {lines[0]}"
    else:
        yield from (f"  {name:11} {line}" for name, line in zip(NAMES[n], lines, strict=True))


def _fields(layer: Layer) -> Iterator[str]:
    """R = R_before + (K - 1) J_before, J = S J_before."""
    windows = layer.one_call.windows
    local: list[Field] = [f for f in layer.fields if f is not None]
    if windows is None or len(local) != len(windows.kernel) or len(set(zip(*windows, strict=True))) > 1:
        return
    after, (k, s, _, d) = local[0], (sizes[0] for sizes in windows)
    before = after.jump / s
    if after.period > 1 or before != int(before):  # after upsampling units see fields of several sizes
        return
    reach = d * (k - 1)
    yield (
        f"  field       R = {after.size - reach * before:g} + {reach}·{float(before):g} = {after.size}, "
        f"J = {s}·{float(before):g} = {float(after.jump):g}"
    )


def _sums(cost: Cost) -> Iterator[str]:
    convolutions = [layer for layer in cost.layers if layer.one_call.windows is not None]
    if convolutions:
        parameters = sum(layer.parameters for layer in convolutions)
        macs = sum(layer.macs for layer in convolutions)
        yield f"convolutions     {_added(convolutions, 'parameters')} = {parameters:,} parameters"
        yield f"                 {_added(convolutions, 'macs')} = {macs:,} MACs"
    yield f"all              {cost.parameters:,} parameters, {cost.macs:,} MACs"
    if linear := linear_parameters(cost):
        yield (
            f"fully connected  {linear:,} / {cost.parameters:,} = {share(linear, cost.parameters)} % of the "
            f"parameters, {share(_linear_macs(cost), cost.macs)} % of the MACs"
        )
    yield from _pairs(cost)


def _added(layers: Sequence[Layer], figure: str) -> str:
    numbers = [f"{getattr(layer, figure):,}" for layer in layers]
    return " + ".join(numbers if len(numbers) <= 8 else [*numbers[:3], "...", numbers[-1]])


def _linear_macs(cost: Cost) -> int:
    return sum(layer.macs for layer in cost.layers if layer.type in LINEAR)


def _pairs(cost: Cost) -> Iterator[str]:
    """What each depthwise and pointwise pair saves: (K² + N) M / (K² M N) = 1/N + 1/K²."""
    rows = [layer for layer in cost.layers if layer.one_call.windows is not None]
    for depthwise, pointwise in pairwise(rows):
        if not _separable(depthwise, pointwise):
            continue
        d, p = depthwise.one_call, pointwise.one_call
        k, n = d.rule.letters["K"], p.rule.letters["N"]
        area = POWERS[len(depthwise.output) - 2]
        standard = d.macs * n
        saved = (d.macs + p.macs) / standard
        yield (
            f"separable        {visible(depthwise.path)} + {visible(pointwise.path)}: "
            f"1/N + 1/{area} = 1/{n} + 1/{area.replace('K', str(k))} = {saved:.4f} of the {standard:,} MACs "
            f"of one convolution, {1 / saved:.2f} times fewer"
        )


def _separable(first: Layer, second: Layer) -> bool:
    """One square filter per map, then a convolution of single positions over what that gave."""
    one, two = first.one_call, second.one_call
    assert one.windows is not None, "only for convolutions"
    assert two.windows is not None, "only for convolutions"
    depth, point = one.rule.letters, two.rule.letters
    given = (point["M"], *(point[letter] for letter in INPUTS[len(two.windows.kernel)]))
    return (
        1 < depth["G"] == depth["M"] == depth["N"]
        and len(set(one.windows.kernel)) == 1
        and point["G"] == 1
        and {*two.windows.kernel, *two.windows.stride} == {1}
        and given == first.output[1:]
    )
