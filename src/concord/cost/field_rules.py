"""How each layer carries a receptive field from the map that it reads to the map that it writes.

Letters: i is a unit of the new map, j one of the old, k kernel, s stride, p padding at the beginning,
d dilation. ``units`` is the length of the new map; it settles rounding, padding at the end and output
padding. Sizes are checked by the network that runs; refused here is only what would give nonsense
(UsageError).

All but a window over a map of period 1 goes through ``read``: a layer is the list of the units j that each
of its R phases reads, and advances by Q units j every R units i.

What flips an axis, wraps round it, sorts it or mixes all of it has no rule: the field is None from there on.
"""

from array import array
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, gcd, lcm

from concord.cost.field import NOTHING, Field, listed
from concord.cost.field_reads import enclosed, read
from concord.errors import UsageError

CHECKED = 1 << 15  # units of the longest map of which every unit is tried
FINEST = 4096  # scale factors are taken as fractions with denominators up to this
BELOW_ONE = "kernel, stride and dilation must be at least 1, got {}, {} and {}"


def window(
    field: Field, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, units: int
) -> Field:
    """Convolution and pooling: i reads j = i s - p, i s - p + d, ..., i s - p + (k - 1) d."""
    if kernel < 1 or stride < 1 or dilation < 1:
        raise UsageError(BELOW_ONE.format(kernel, stride, dilation))
    end = (kernel - 1) * dilation - padding
    if field.period > 1:
        return read(field, (range(-padding, end + 1, dilation),), stride, units)
    (low,), (high,), shift, _, first, last, least, most, begin, stop, source, all_phases, tight = field
    # what hangs over an end of the old map sees no farther than the last live unit there
    least, most = max(least, ceil(low + first * shift)), min(most, floor(high + last * shift))
    hangs = (-padding < first, (units - 1) * stride + end > last)
    if tight and dilation > 1 and kernel > 1 and any(hangs):  # does the nearest tap see as far?
        near, far = low + (first + dilation - 1) * shift, high + (last - dilation + 1) * shift
        tight = (
            last - first >= dilation - 1 and (near <= least or not hangs[0]) and (far >= most or not hangs[1])
        )
    first, last = max(0, -((end - first) // stride)), min(units - 1, (last + padding) // stride)
    if first > last:  # only padding is read
        first, last = NOTHING, -NOTHING
    begin, stop = max(0, -((-begin - padding) // stride)), min(units - 1, (stop - end) // stride)
    ends, cut = ((low - padding * shift,), (high + end * shift,)), (first, last, least, most)
    return Field(*ends, shift * stride, units, *cut, begin, stop, source, all_phases, tight)


def transposed(
    field: Field, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, units: int
) -> Field:
    """Transposed convolution: i reads j where i = j s - p + t d for a t in 0 ... k - 1.

    Without dilation these are j = ceil((i + p - k + 1) / s) ... floor((i + p) / s). Units that no t fits,
    such as every third for k = 2 and s = 3, see nothing. A period P becomes s P.
    """
    if kernel < 1 or stride < 1 or dilation < 1:
        raise UsageError(BELOW_ONE.format(kernel, stride, dilation))
    step = dilation // gcd(dilation, stride)
    taps = []
    for phase in range(padding, padding + stride):
        hits = [
            (phase - t * dilation) // stride for t in range(kernel) if (phase - t * dilation) % stride == 0
        ]
        taps.append(range(hits[-1], hits[0] + 1, step) if hits else range(0))
    return read(field, taps, 1, units)


def sliced(field: Field, start: int = 0, step: int = 1, *, units: int) -> Field:
    """map[start::step], cut to ``units``: crops, and strided slices. i reads j = start + i step."""
    return window(field, 1, step, -start, units=units)


def padded(field: Field, before: int, *, units: int) -> Field:
    """``before`` zeros in front of the map; less than 0 crops. i reads j = i - before."""
    return window(field, 1, 1, before, units=units)


def reflected(field: Field, before: int, *, units: int) -> Field:
    """Reflecting padding: i reads j = |i - before|, counted from the other end behind the last unit."""
    last = field.units - 1
    return _repeated(field, lambda i: last - abs(last - abs(i - before)), before, units)


def replicated(field: Field, before: int, *, units: int) -> Field:
    """Replicating padding: i reads the unit of the map next to i - before. Circular padding has no rule.

    Where units see one position each, as on the input itself, the padding needs no phases: positions beyond
    the outermost ones stand for these.
    """
    live = (field.first, field.last) == (0, field.units - 1)
    if field.tight and live and field.low == field.high and field.period == 1:
        return padded(field, before, units=units)._replace(first=0, last=units - 1)
    return _repeated(field, lambda i: min(max(0, i - before), field.units - 1), before, units)


def _repeated(field: Field, place: Callable[[int], int], before: int, units: int) -> Field:
    """Every unit is a phase; on a long map none lies farther from i - before than padding is long."""
    if listed(units):
        return read(field, [range(j, j + 1) for j in map(place, range(units))], units, units)
    after = max(0, units - field.units - before)
    return enclosed(field, Fraction(-before - 2 * after), Fraction(abs(before)), Fraction(1), units)


def nearest(field: Field, *, units: int, scale: float | None = None, exact: bool = False) -> Field:
    """Nearest neighbour to ``units``: i reads j = floor(i / scale), or floor((i + 1/2) / scale) if ``exact``.

    ``scale`` is new length / old length where it is not given. For some odd ratios, such as 2 to 82, torch's
    32-bit rounding makes a unit read a neighbour of j: then the field is a bound.
    """
    if not exact and units in (field.units, 2 * field.units):  # torch then leaves the scale out of account
        scale = None
    step = _step(field, units, scale)
    offset = step / 2 if exact else Fraction(0)
    if not _as_in_32_bits(field.units, units, scale, step, offset):
        return enclosed(field, offset - 2, offset + 1, step, units)
    if not listed(step.denominator):
        return enclosed(field, offset - 1 + _grain(step, offset), offset, step, units)
    taps = [floor(i * step + offset) for i in range(step.denominator)]
    return read(field, [range(j, j + 1) for j in taps], step.numerator, units)


def _as_in_32_bits(old: int, units: int, scale: float | None, step: Fraction, offset: Fraction) -> bool:
    """Whether torch, which multiplies in 32 bits, reads the units above; long maps are not tried."""
    factor = array("f", [old / units if scale is None else 1 / scale])[0]
    if Fraction(factor) == step and step.numerator * units < 1 << 23:  # no product is rounded
        return True
    if units > CHECKED:
        return False
    half = 0.5 if offset else 0.0
    products = array("f", [(i + half) * factor for i in range(units)])
    top, bottom = 2 * step.numerator, 2 * step.denominator
    middle = step.numerator if offset else 0
    return all(min(int(x), old - 1) == (i * top + middle) // bottom for i, x in enumerate(products))


def interpolated(
    field: Field,
    *,
    units: int,
    reach: int = 1,
    align_corners: bool = False,
    antialias: bool = False,
    scale: float | None = None,
) -> Field:
    """Linear (reach 1) or cubic (reach 2) interpolation to ``units``, of any axis of a bi- or trilinear one.

    i reads the units nearer than ``reach`` to the place x, if x is whole unit x alone:

        x = (i + 1/2) / scale - 1/2        corners aligned: x = i (old length - 1) / (new length - 1)

    With ``antialias`` a smaller map is read as far as reach / scale around x.
    """
    aligned = Fraction(field.units - 1, max(1, units - 1))
    step = aligned if align_corners else _step(field, units, scale)
    offset = Fraction(0) if align_corners else (step - 1) / 2
    wide = reach * max(step, Fraction(1)) if antialias else Fraction(reach)
    if not listed(step.denominator):
        within = wide - _grain(step, offset, wide)
        return enclosed(field, offset - within, offset + within, step, units)
    taps = [_nearer(i * step + offset, wide, reach) for i in range(step.denominator)]
    return read(field, taps, step.numerator, units)


def adaptive_pool(field: Field, *, units: int) -> Field | None:
    """Adaptive pooling of n to ``units`` m: i reads j = floor(i n / m) ... ceil((i + 1) n / m) - 1.

    A window of n / m where m divides n. Pooling to one unit sees all there is and is not local: None.
    """
    if units == field.units:
        return field
    if units == 1:
        return None
    step = Fraction(field.units, units)
    if not listed(step.denominator):
        return enclosed(field, _grain(step) - 1, step - _grain(step), step, units)
    taps = [range(floor(i * step), ceil((i + 1) * step)) for i in range(step.denominator)]
    return read(field, taps, step.numerator, units)


def _step(field: Field, units: int, scale: float | None) -> Fraction:
    """Old units per new unit."""
    if scale is None:
        return Fraction(field.units, units)
    if not scale > 0:
        raise UsageError(f"scale must be above 0, got {scale}")
    return 1 / Fraction(scale).limit_denominator(FINEST)


def _grain(*numbers: Fraction) -> Fraction:
    """Sums of multiples of these numbers are at least so far apart, unless they are equal."""
    return Fraction(1, lcm(*[number.denominator for number in numbers]))


def _nearer(x: Fraction, wide: Fraction, reach: int) -> range:
    """The units nearer than ``wide`` to x that have a weight."""
    if wide == reach and x.denominator == 1:
        return range(int(x), int(x) + 1)  # both kernels are zero at every other whole distance
    return range(floor(x - wide) + 1, ceil(x + wide))
