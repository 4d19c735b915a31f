"""The cost of a network worked out by hand, step by step, as in question 1 of Merrikhi 2024."""

from collections.abc import Iterator, Mapping, Sequence

from concord.cost.arithmetic import INPUTS, NAMES
from concord.cost.field import Field
from concord.cost.record import Cost, Layer, Priced, times
from concord.cost.rules import worked
from concord.cost.signs import Signs
from concord.files.text import printable
from concord.report.cost_binary import bits_worked
from concord.report.cost_separable import if_separable, pairs
from concord.report.cost_tables import share, strides
from concord.report.cost_totals import LINEAR, linear_parameters, reservations


def worked_answer(priced: Priced) -> list[str]:
    """Lines: each layer with products, the sums, the share of fully connected layers, separable pairs."""
    lines = [f"{priced.name}, input {priced.given}", ""]
    for layer in priced.cost.layers:
        if layer.macs:
            lines += [*_layer(layer), ""]
    last = [f"{name:17}{text}" for name, text in reservations(priced.cost)]
    return [*lines, *_sums(priced.cost), *last]


def _layer(layer: Layer) -> Iterator[str]:
    rule, windows = layer.one_call.rule, layer.one_call.windows
    letters = rule.letters
    name, output = printable(layer.path) or "network", times(layer.output[1:])
    if windows is None:
        yield f"{name}: {layer.type}, to {output}"
    else:
        before = [letters[letter] for letter in ("M", *INPUTS[len(windows.kernel)])]
        how = f"stride {strides(windows.stride)}, padding {strides(windows.padding)}{_groups(letters)}"
        yield f"{name}: {times(windows.kernel)} convolution, {how}, {times(before)} -> {output}"
        yield from _sizes(layer)
    if layer.parameters:
        yield f"  parameters  {worked(rule.parameters, letters, layer.parameters)}"
    yield f"  MACs        {worked(rule.macs, letters, layer.one_call.macs)}"
    if layer.calls > 1:
        yield f"              {layer.calls} times: {layer.macs:,}"
    if signs := layer.one_call.signs:
        yield f"  bits        {bits_worked(layer, signs)}"
        yield f"  predicted   {_predicted(signs)}"
    yield from _fields(layer)
    yield from if_separable(layer)


def _predicted(signs: Signs) -> str:
    n, speed = signs.each, signs.predicted_speed
    ratio = f"memory 32·{n}/({n} + 32) = {signs.memory_ratio:.2f} times less"
    if not signs.scales:
        ratio = "memory 32 times less"
    return ratio if speed is None else f"{ratio}, S = 64·{n}/({n} + 64) = {speed:.2f} (operations, not time)"


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
    if not after.all_phases:  # a bound has no such sum
        return
    before = after.jump / s
    if after.period > 1 or before != int(before):  # after upsampling units see fields of several sizes
        return
    reach, size = d * (k - 1), after.unbounded
    yield (
        f"  field       R = {size - reach * before:g} + {reach}·{float(before):g} = {size}, "
        f"J = {s}·{float(before):g} = {float(after.jump):g}{', in the last call' if layer.calls > 1 else ''}"
    )


def _sums(cost: Cost) -> Iterator[str]:
    convolutions = [layer for layer in cost.layers if layer.one_call.windows is not None]
    if convolutions:
        parameters = sum(layer.parameters for layer in convolutions)
        macs = sum(layer.macs for layer in convolutions)
        yield f"convolutions     {_added(convolutions, 'parameters')}{parameters:,} parameters"
        yield f"                 {_added(convolutions, 'macs')}{macs:,} MACs"
    yield f"all              {cost.parameters:,} parameters, {cost.macs:,} MACs"
    if linear := linear_parameters(cost):
        yield (
            f"fully connected  {linear:,} / {cost.parameters:,} = {share(linear, cost.parameters)} % of the "
            f"parameters, {share(_linear_macs(cost), cost.macs)} % of the MACs"
        )
    yield from pairs(cost.layers)


def _added(layers: Sequence[Layer], figure: str) -> str:
    """``4,864 + 204,928 = ``; nothing for one layer alone."""
    numbers = [f"{getattr(layer, figure):,}" for layer in layers]
    terms = " + ".join(numbers if len(numbers) <= 8 else [*numbers[:3], "...", numbers[-1]])
    return f"{terms} = " if len(numbers) > 1 else ""


def _linear_macs(cost: Cost) -> int:
    return sum(layer.macs for layer in cost.layers if layer.type in LINEAR)
