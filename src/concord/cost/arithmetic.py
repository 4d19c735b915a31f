"""What convolutions, linear layers and element-wise layers cost, from their sizes alone.

Source: Merrikhi 2024, question 1; V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep
learning", 2016, arXiv:1603.07285, relationships 6 and 14.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from concord.cost.field import Field
from concord.cost.field_rules import transposed, window
from concord.cost.rules import Rule, in_sizes, substituted
from concord.cost.signs import Signs

Shape = tuple[int, ...]
Fields = tuple[
    Field | None, ...
]  # one per axis of a tensor; None where positions are mixed, or there are none

NAMES = {1: ("T",), 2: ("H", "W"), 3: ("D", "H", "W")}
INPUTS = {1: ("T_in",), 2: ("H_in", "W_in"), 3: ("D_in", "H_in", "W_in")}
KERNELS = {1: ("K_t",), 2: ("K_h", "K_w"), 3: ("K_d", "K_h", "K_w")}
POWERS = {1: "K", 2: "K²", 3: "K³"}


class Windows(NamedTuple):
    """The sizes of a convolution: one entry per axis over which it moves."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape


class Work(NamedTuple):
    """What one layer or operation did."""

    macs: int
    other: int
    rule: Rule
    parameters: int = 0  # as many as the rule says
    windows: Windows | None = None  # of a convolution
    signs: Signs | None = None  # of a binary layer


class Answer(NamedTuple):
    """What a layer that is known by its sizes did, and gave."""

    work: Work
    shape: Shape  # of the output
    fields: Fields


def owning(done: Work, owned: Sequence[Shape]) -> Work:
    """With the sizes of the parameters that are counted here, where the rule speaks of others or of none."""
    parameters = numbers(owned)
    if parameters in (0, done.parameters):
        return done
    return done._replace(rule=done.rule._replace(parameters=in_sizes(owned)), parameters=parameters)


def both_owning(first: Work, again: Work) -> Work:
    """Of two calls, the second of which brings parameters of its own."""
    sizes = [substituted(work.rule.parameters, work.rule.letters) for work in (first, again)]
    text = " + ".join(filter(None, sizes))
    return first._replace(
        rule=first.rule._replace(parameters=text), parameters=first.parameters + again.parameters
    )


def numbers(shapes: Sequence[Shape]) -> int:
    """In tensors of these shapes."""
    return sum(map(prod, shapes))


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1"""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def per_axis(n: int, sizes: Sequence[int]) -> Shape:
    """One number may stand for all n axes."""
    return tuple(sizes) if len(sizes) == n else tuple(sizes) * n


def convolution(
    shape: Shape, fields: Fields, filters: int, windows: Windows, *, groups: int, bias: bool
) -> Answer | None:
    """H·W·K²·M·N/G products for each sample; None where no window fits.

    Shape: (B, M, H, W) -> (B, N, H, W) with any number of axes
    """
    n = len(windows.kernel)
    steps = list(zip(shape[-n:], *windows, strict=True))
    sizes = tuple(output_size(*step) for step in steps)
    if min(sizes) < 1:
        return None
    seen = tuple(
        old and window(old, k, s, p, d, units=size)
        for old, (_, k, s, p, d), size in zip(fields[-n:], steps, sizes, strict=True)
    )
    letters = _letters(shape, sizes, windows.kernel, filters, groups)
    weights = _weights(windows.kernel, shape[1], filters, groups)
    outputs = shape[0] * prod(sizes)
    rule = Rule(
        letters,
        _with_bias(weights, letters, bias),
        _times(shape[0], NAMES[n], weights),
        _times(shape[0], NAMES[n], "N") if bias else "",
    )
    each = prod(windows.kernel) * shape[1] * filters // groups
    done = Work(outputs * each, bias * outputs * filters, rule, each + bias * filters, windows)
    return Answer(done, (shape[0], filters, *sizes), (None, None, *seen))


def transposed_convolution(
    shape: Shape,
    fields: Fields,
    filters: int,
    windows: Windows,
    output_padding: Shape,
    *,
    groups: int,
    bias: bool,
) -> Answer:
    """K²·M·N/G products for every position of the input.

    Shape: (B, M, H_in, W_in) -> (B, N, H, W) with any number of axes
    """
    n = len(windows.kernel)
    steps = list(zip(shape[-n:], *windows, output_padding, strict=True))
    sizes = tuple((size - 1) * s - 2 * p + d * (k - 1) + extra + 1 for size, k, s, p, d, extra in steps)
    seen = tuple(
        old and transposed(old, k, s, p, d, units=size)
        for old, (_, k, s, p, d, _), size in zip(fields[-n:], steps, sizes, strict=True)
    )
    letters = _letters(shape, sizes, windows.kernel, filters, groups)
    weights = _weights(windows.kernel, shape[1], filters, groups)
    rule = Rule(
        letters,
        _with_bias(weights, letters, bias),
        _times(shape[0], INPUTS[n], weights),
        _times(shape[0], NAMES[n], "N") if bias else "",
    )
    each = prod(windows.kernel) * shape[1] * filters // groups
    macs = shape[0] * prod(shape[-n:]) * each
    other = bias * shape[0] * prod(sizes) * filters
    done = Work(macs, other, rule, each + bias * filters)
    return Answer(done, (shape[0], filters, *sizes), (None, None, *seen))


def _letters(shape: Shape, sizes: Shape, kernel: Shape, filters: int, groups: int) -> dict[str, int]:
    """Every letter that a formula may use: of kernels with unequal sides, each side has one."""
    n = len(sizes)
    letters = {"B": shape[0], "M": shape[1], "N": filters, "G": groups, "K": kernel[0]}
    letters.update(zip(NAMES[n], sizes, strict=True))
    letters.update(zip(INPUTS[n], shape[-n:], strict=True))
    letters.update(zip(KERNELS[n], kernel, strict=True))
    return letters


def _weights(kernel: Shape, channels: int, filters: int, groups: int) -> str:
    """K²·M·N/G, and K²·M for one filter per channel."""
    square = len(set(kernel)) == 1
    area = POWERS[len(kernel)] if square else "·".join(KERNELS[len(kernel)])
    if groups == 1:
        return f"{area}·M·N"
    return f"{area}·M" if groups == channels == filters else f"{area}·M·N/G"


def _with_bias(weights: str, letters: dict[str, int], bias: bool) -> str:
    one_per_channel = weights.endswith("·M")
    return f"{weights} + {'M' if one_per_channel else 'N'}" if bias else weights


def _times(batch: int, names: tuple[str, ...], rest: str) -> str:
    return "·".join(([] if batch == 1 else ["B"]) + [*names, rest])


def linear(shape: Shape, fields: Fields, filters: int, *, bias: bool) -> Answer:
    """D·N products for each of the P vectors that go in. Shape: (..., D) -> (..., N)"""
    vectors = prod(shape[:-1])
    letters = {"D": shape[-1], "N": filters, "P": vectors}
    many = "" if vectors == 1 else "P·"
    rule = Rule(letters, "D·N + N" if bias else "D·N", f"{many}D·N", f"{many}N" if bias else "")
    out = (*shape[:-1], filters)
    each = shape[-1] * filters
    done = Work(vectors * each, bias * vectors * filters, rule, each + bias * filters)
    return Answer(done, out, (*fields[:-1], None))


def per_element(shape: Shape, fields: Fields, each: int, per_channel: int = 0) -> Answer:
    """So many operations for each of the E elements, and parameters for each of the C channels.

    Shape: any -> the same
    """
    elements, channels = prod(shape), shape[1] if len(shape) > 1 else 1
    other = "" if each == 0 else _many(each, "E")
    rule = Rule({"E": elements, "C": channels}, _many(per_channel, "C") if per_channel else "", "", other)
    return Answer(Work(0, each * elements, rule, per_channel * channels), shape, fields)


def _many(number: int, letter: str) -> str:
    return letter if number == 1 else f"{number}·{letter}"
