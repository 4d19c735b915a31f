"""Convolutions in two steps, worked out: each map by itself (K x K), then each position by itself (1 x 1).

    parameters  K² M + M + M N + N        MACs  H W M (K² + N)

instead of K² M N + N and H W K² M N. Of the MACs that is 1/N + 1/K².

Source: Merrikhi 2024, question 1, part 3.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

from concord.cost.arithmetic import INPUTS, NAMES, POWERS
from concord.cost.record import Layer
from concord.cost.rules import substituted, worked
from concord.files.text import printable


class Two(NamedTuple):
    """A convolution of M maps to N in two steps, and in one."""

    letters: Mapping[str, int]  # M, N, K and the sizes of the output
    axes: int
    biases: tuple[bool, bool]  # of the first and of the second step

    @property
    def area(self) -> str:
        return POWERS[self.axes]

    @property
    def each(self) -> tuple[int, int, int]:
        """K², M and N as numbers."""
        return self.letters["K"] ** self.axes, self.letters["M"], self.letters["N"]

    @property
    def positions(self) -> int:
        return prod(self.letters[name] for name in ("B", *NAMES[self.axes]))

    @property
    def parameters(self) -> int:
        (area, m, n), (first, second) = self.each, self.biases
        return area * m + first * m + m * n + second * n

    @property
    def macs(self) -> int:
        area, m, n = self.each
        return self.positions * m * (area + n)

    @property
    def in_one(self) -> tuple[int, int]:
        """Parameters and MACs of the convolution in one step."""
        area, m, n = self.each
        return area * m * n + any(self.biases) * n, self.positions * area * m * n

    @property
    def parameters_worked(self) -> str:
        first, second = (bias * f" + {letter}" for bias, letter in zip(self.biases, "MN", strict=True))
        return worked(f"{self.area}·M{first} + M·N{second}", self.letters, self.parameters)

    @property
    def macs_worked(self) -> str:
        names = [*(["B"] if self.letters["B"] > 1 else []), *NAMES[self.axes]]
        return worked(f"{'·'.join(names)}·M·({self.area} + N)", self.letters, self.macs)


def if_separable(layer: Layer) -> Iterator[str]:
    """What a convolution of all maps would cost in two steps; nothing where that saves nothing."""
    rule, windows = layer.one_call.rule, layer.one_call.windows
    if windows is None or len(set(windows.kernel)) > 1 or rule.letters["G"] > 1 or layer.one_call.signs:
        return
    bias = rule.parameters.endswith(" + N")
    two = Two(rule.letters, len(windows.kernel), (bias, bias))
    parameters, macs = two.in_one
    if two.macs >= macs or two.parameters >= parameters:
        return
    less = f"{two.parameters / parameters:.4f} and {two.macs / macs:.4f} of that"
    yield f"  separable   {two.parameters_worked} parameters and"
    yield f"              {two.macs_worked} MACs would be {less}"


def pairs(layers: Sequence[Layer]) -> Iterator[str]:
    """What each depthwise and pointwise pair costs and saves."""
    rows = [layer for layer in layers if layer.one_call.windows is not None]
    for depthwise, pointwise in pairwise(rows):
        if _separable(depthwise, pointwise):
            yield from _pair(depthwise, pointwise)


def _pair(depthwise: Layer, pointwise: Layer) -> Iterator[str]:
    d, p = depthwise.one_call, pointwise.one_call
    letters = {**d.rule.letters, "N": p.rule.letters["N"]}
    biases = d.rule.parameters.endswith(" + M"), p.rule.parameters.endswith(" + N")
    two = Two(letters, len(depthwise.output) - 2, biases)
    parameters, macs = two.in_one
    yield f"separable        {printable(depthwise.path)} + {printable(pointwise.path)}"
    if depthwise.parameters + pointwise.parameters == two.parameters:
        yield f"  parameters     {two.parameters_worked}"
        yield f"                 {_saved(two.parameters, parameters)}"
    yield f"  MACs           {two.macs_worked}"
    ratio = f"1/N + 1/{two.area}"
    yield f"                 {_saved(two.macs, macs)}"
    yield f"                 {ratio} = {substituted(ratio, letters)} = {two.macs / macs:.4f}"


def _saved(two: int, one: int) -> str:
    return f"{two:,} / {one:,} = {two / one:.4f} of one convolution, {one / two:.2f} times fewer"


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
