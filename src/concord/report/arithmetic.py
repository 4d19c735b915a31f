"""Convolutions and poolings worked out by hand, as a student would write them on paper."""

from collections.abc import Iterator, Sequence

from concord.cost.rules import substituted, worked
from concord.plain.grids import Grid, Pair, Position, flat, shape
from concord.plain.worked_convolution import Convolved
from concord.plain.worked_pooling import Pooled
from concord.plain.worked_separable import Separable
from concord.plain.worked_transposed import Transposed
from concord.report.arithmetic_document import Worked, cost_of_steps
from concord.report.cost_separable import Two
from concord.report.grid_text import (
    axes_text,
    named,
    pair_text,
    place,
    signed,
    size_text,
    times_text,
    written,
)


def arithmetic_lines(steps: Worked) -> list[str]:
    """Every step of it, one sum on each line."""
    match steps:
        case Convolved():
            return list(_convolution(steps))
        case Transposed():
            return list(_transposed(steps))
        case Pooled():
            return list(_pooling(steps))
        case Separable():
            return list(_separable(steps))


def _convolution(c: Convolved) -> Iterator[str]:
    yield f"CONVOLUTION of {size_text(c.input)} with {size_text(c.kernel)}: {_settings(c)}"
    yield "As networks compute it, a cross-correlation: the kernel is not flipped."
    yield from _output_size(c.input, shape(c.kernel), c.stride, c.padding, c.dilation, c.output)
    yield from _slid(c)


def _slid(c: Convolved) -> Iterator[str]:
    """The input with its padding, the kernel, and every sum of products."""
    padding = "" if c.padding == (0, 0) else f" with padding {pair_text(c.padding)}"
    yield from named(f"Input x{padding}", c.framed)
    yield from named("Kernel w", c.kernel)
    if c.dilation != (1, 1):
        yield f"Dilation {pair_text(c.dilation)}: neighbours in w meet numbers of x that lie that far apart."
    yield "Every number of y is the sum of products of w with the numbers of x under it:"
    yield from _sums(c.positions, c.kernel, "y")
    yield from named("y", c.output)


def _transposed(t: Transposed) -> Iterator[str]:
    extra = "" if t.output_padding == (0, 0) else f", output padding {pair_text(t.output_padding)}"
    yield f"TRANSPOSED CONVOLUTION of {size_text(t.input)} with {size_text(t.kernel)}: {_settings(t)}{extra}"
    axes = zip(
        shape(t.input), t.stride, t.padding, t.dilation, shape(t.kernel), t.output_padding, strict=True
    )
    heights = [f"({n} - 1)*{s} - 2*{p} + {d}*({k} - 1) + {o} + 1" for n, s, p, d, k, o in axes]
    sizes = [f"{work} = {out}" for work, out in zip(heights, shape(t.output), strict=True)]
    yield from _sides("(H_in - 1) s - 2 p + d (k - 1) + o + 1", sizes)
    yield from named("Input x", t.input)
    yield from named("Kernel w", t.kernel)
    if t.stride == (1, 1):
        yield "1. Zeros between the elements of x: none, they are inserted for stride 2 and more."
    else:
        yield from named(f"1. Stride {pair_text(t.stride)}: s - 1 zeros between the elements of x", t.spread)
    yield from named(f"2. {_frame(t)}", t.framed)
    yield from named("3. The kernel flipped, upside down and left to right", t.flipped)
    yield "4. The flipped kernel moves over step 2 one position at a time; every number is a sum of products:"
    yield from _sums(t.positions, t.flipped, "y")
    yield from named("y", t.output)
    if t.sums:
        x, w, y = (written(number) for number in (t.sums.input, t.sums.kernel, t.sums.output))
        yield f"Check: the sum of y, {y}, is the sum of x times the sum of w, {x} * {w}."


def _pooling(p: Pooled) -> Iterator[str]:
    settings = f"stride {pair_text(p.stride)}, padding {pair_text(p.padding)}"
    yield f"{p.kind.upper()} POOLING of {size_text(p.input)}, window {times_text(p.window)}: {settings}"
    yield from _output_size(p.input, p.window, p.stride, p.padding, (1, 1), p.output)
    yield from named("Input x", p.input)
    if p.padding != (0, 0):
        yield {"max": "Padding is left out.", "mean": "Padding is zeros, which count."}[p.kind]
    for position in p.positions:
        numbers = flat(position.under)
        if p.kind == "max":
            work = f"max({', '.join(map(written, numbers))})"
        else:
            work = f"({' + '.join(map(signed, numbers))})/{len(numbers)}"
        yield f"  {place('y', position)} = {work} = {written(position.value)}"
    yield from named("y", p.output)


def _separable(s: Separable) -> Iterator[str]:
    first, two = s.depthwise[0], cost_of_steps(s)
    maps, filters = two.letters["M"], two.letters["N"]
    sizes = f"{maps} x {size_text(first.input)} to {filters} x {size_text(s.output[0])}"
    yield f"SEPARABLE CONVOLUTION of {sizes}, kernels {size_text(first.kernel)}: {_settings(first)}"
    yield from _output_size(
        first.input, shape(first.kernel), first.stride, first.padding, first.dilation, first.output
    )
    for number, step in enumerate(s.depthwise, 1):
        yield f"DEPTHWISE, channel {number} by itself"
        yield from _slid(step)
    yield f"POINTWISE: every map mixes the {maps} results y of the same position, with a row of v"
    yield from named("Weights v", s.weights)
    for number, (weights, positions) in enumerate(zip(s.weights, s.positions, strict=True), 1):
        yield from _sums(positions, (weights,), f"z{number}")
        yield from named(f"z{number}", s.output[number - 1])
    yield from _prices(two)


def _prices(two: Two) -> Iterator[str]:
    (parameters, macs), ratio = two.in_one, "1/N + 1/K²"
    yield "COST: K kernel, M channels, N maps, H x W numbers of a map; without biases"
    yield f"  separable    {two.parameters_worked} weights"
    yield f"               {two.macs_worked} multiplications"
    yield f"  convolution  {worked('K²·M·N', two.letters, parameters)} weights"
    yield f"               {worked('H·W·K²·M·N', two.letters, macs)} multiplications"
    yield f"  ratio        {ratio} = {substituted(ratio, two.letters)} = {two.macs / macs:.4f}"


def _output_size(
    x: Grid, window: Pair, stride: Pair, padding: Pair, dilation: Pair, y: Grid
) -> Iterator[str]:
    axes = zip(shape(x), padding, dilation, window, stride, shape(y), strict=True)
    lines = [f"floor(({n} + 2*{p} - {d}*({k} - 1) - 1)/{s}) + 1 = {out}" for n, p, d, k, s, out in axes]
    yield from _sides("floor((H_in + 2 p - d (k - 1) - 1)/s) + 1", lines)


def _sides(formula: str, sizes: Sequence[str]) -> Iterator[str]:
    """One line where both axes agree."""
    if sizes[0] == sizes[1]:
        yield f"H = W = {formula} = {sizes[0]}"
    else:
        yield f"H = {formula} = {sizes[0]}"
        yield f"W, in the same way: {sizes[1]}"


def _frame(t: Transposed) -> str:
    """What stands around the elements, or is cut off from them."""
    before = [d * (k - 1) - p for d, k, p in zip(t.dilation, shape(t.kernel), t.padding, strict=True)]
    widths = [f"{d}*({k} - 1) - {p}" for d, k, p in zip(t.dilation, shape(t.kernel), t.padding, strict=True)]
    more = t.output_padding
    extra = "" if more == (0, 0) else f"; o = {pair_text(more)} more below and on the right"
    cut = "" if min(before) >= 0 else " (below 0: as many rows or columns are cut off)"
    width = axes_text([f"{work} = {n}" for work, n in zip(widths, before, strict=True)])
    return f"Zeros on every side, d (k - 1) - p = {width}{cut}{extra}"


def _sums(positions: Sequence[Position], kernel: Grid, name: str) -> Iterator[str]:
    weights = flat(kernel)
    for position in positions:
        terms = zip(flat(position.under), weights, strict=True)
        work = " + ".join(f"{signed(x)}*{signed(w)}" for x, w in terms)
        yield f"  {place(name, position)} = {work} = {written(position.value)}"


def _settings(steps: Convolved | Transposed) -> str:
    names = {"stride": steps.stride, "padding": steps.padding, "dilation": steps.dilation}
    return ", ".join(f"{name} {pair_text(size)}" for name, size in names.items())
