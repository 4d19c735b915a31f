"""Fields of the units that a layer writes, from the units that it reads.

Unit i of phase r = i mod R reads the old units taps[r] + (i div R) Q.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor, gcd

from concord.cost.field import NOTHING, Field, Place, lines, listed, whole

EDGE = 32  # units beyond either end of a map that are listed with it: as far as padding reaches


def read(field: Field, taps: Sequence[range], advance: int, units: int) -> Field:
    """The field of a map of R phases that advances by Q = ``advance`` old units every R units.

    Phases are listed until those of the old map come round too. Where these are too many, every unit of the
    map is listed as a phase of its own, and where even units are too many, two lines enclose them.
    """
    step, period = Fraction(advance, len(taps)), field.period
    phases = range(len(taps) * (period // gcd(period, advance)))
    if not listed(len(phases)):
        phases = range(-EDGE, units + EDGE)
    if not listed(len(phases)):
        ends = [(t[0] - r * step, t[-1] - r * step) for r, t in enumerate(taps) if t]
        return enclosed(field, min(a for a, _ in ends), max(b for _, b in ends), step, units)
    shift = whole(step * field.jump * len(phases))
    seen = [_moved(taps[i % len(taps)], i // len(taps) * advance) for i in phases]
    zero = -phases[0]
    lows, highs = [_lowest(field, t) for t in seen], [_highest(field, t) for t in seen]
    low = (*lows[zero:], *[end + shift for end in lows[:zero]])
    high = (*highs[zero:], *[end + shift for end in highs[:zero]])
    first, last = _live(field, taps, advance, units)
    live = range(first, last + 1)
    return Field(
        low,
        high,
        shift,
        units,
        # what only reads units between live ones that see nothing sees nothing either
        next((i for i in live[: len(low)] if low[i % len(low)] <= high[i % len(low)]), NOTHING),
        next((i for i in live[: -len(low) - 1 : -1] if low[i % len(low)] <= high[i % len(low)]), -NOTHING),
        *_let_through(field),
        *_uncut(field, taps, advance, units),
        field.source,
        field.all_phases,
        field.tight and _sees_the_end(field, taps, advance, units),
    )


def _uncut(field: Field, taps: Sequence[range], advance: int, units: int) -> tuple[int, int]:
    """First and last unit of those that read uncut units alone."""
    begin, end, turn = 0, units - 1, len(taps)
    for phase, read in enumerate(taps):
        if read and advance:
            begin = max(begin, phase + turn * -((read[0] - field.begin) // advance) - turn + 1)
            end = min(end, phase + turn * ((field.end - read[-1]) // advance) + turn - 1)
        elif read and not field.begin <= read[0] <= read[-1] <= field.end:
            return NOTHING, -NOTHING
    return begin, end


def _sees_the_end(field: Field, taps: Sequence[range], advance: int, units: int) -> bool:
    """Whether what units read, cut to the positions of the input, is what they see.

    A window that hangs over an end of the old map sees as far as any does if it reads every unit up to the
    end, and no unit sees farther than those at the end. Units between live ones that see nothing, because
    all that they would see was cut off, must not stand for what lies between them.
    """
    if not field.rising and not _no_gaps(field):
        return False
    rows = (*range(min(len(taps), units)), *range(max(0, units - len(taps)), units))
    reads = [t for t in (_moved(taps[i % len(taps)], i // len(taps) * advance) for i in rows) if t]
    if all(field.first <= t[0] <= t[-1] <= field.last for t in reads):
        return True
    return field.rising and all(len(t) == t[-1] - t[0] + 1 for t in reads)


def _no_gaps(field: Field) -> bool:
    """Whether each live unit sees something, or nothing wherever maps end."""
    live = range(field.first, field.last + 1)
    if not listed(len(live)):
        return False
    return all(field.region(unit) is not None or lo > hi for unit in live for lo, hi in [field.ends(unit)])


def enclosed(field: Field, first: Fraction, last: Fraction, step: Fraction, units: int) -> Field:
    """Two lines around a map whose unit i reads no old unit outside i step + first ... i step + last."""
    low, high = lines(field)
    begin, end = max(0, ceil((field.first - last) / step)), min(units - 1, floor((field.last - first) / step))
    if begin > end:  # only padding is read
        begin, end = NOTHING, -NOTHING
    return Field(
        (low + first * field.jump,),
        (high + last * field.jump,),
        field.jump * step,
        units,
        begin,
        end,
        *_let_through(field),
        *(NOTHING, -NOTHING),
        field.source,
        False,
    )


def _moved(taps: range, by: int) -> range:
    return range(taps.start + by, taps.stop + by, taps.step)


def _lowest(field: Field, read: range) -> Place:
    """Least lo of these units. After one period the same phases come again, further on."""
    lows, shift, period = field.low, field.shift, len(field.low)
    return min([lows[j % period] + j // period * shift for j in read[:period]], default=NOTHING)


def _highest(field: Field, read: range) -> Place:
    """Largest hi of these units: within one period of the last."""
    highs, shift, period = field.high, field.shift, len(field.low)
    return max([highs[j % period] + j // period * shift for j in read[-period:]], default=-NOTHING)


def _let_through(field: Field) -> tuple[int, int]:
    """First and last position that the live units see."""
    live = range(field.first, field.last + 1)
    if not live:
        return field.least, field.most
    return max(field.least, ceil(_lowest(field, live))), min(field.most, floor(_highest(field, live)))


def _live(field: Field, taps: Sequence[range], advance: int, units: int) -> tuple[int, int]:
    """First and last unit whose window meets a live unit of the old map."""
    met = []
    for phase, read in enumerate(taps):
        turns = _turns(field, read, advance, -(-(units - phase) // len(taps)))
        met += [phase + turn * len(taps) for turn in (*turns[:1], *turns[-1:])]
    return min(met, default=NOTHING), max(met, default=-NOTHING)


def _turns(field: Field, read: range, advance: int, turns: int) -> range:
    """Turns after which these units, moved on by ``advance`` each time, meet a live one."""
    if not read or field.first > field.last:
        return range(0)
    if advance == 0:
        return range(turns if read[0] <= field.last and read[-1] >= field.first else 0)
    begin, end = -((read[-1] - field.first) // advance), (field.last - read[0]) // advance
    return range(max(0, begin), min(turns, end + 1))
