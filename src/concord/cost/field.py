"""The receptive field of a map along one axis: which positions of the input each unit sees.

Unit i sees the interval [lo(i), hi(i)]. Both ends are affine up to a period P, which is 1 unless the network
upsamples, and move on by S positions per period:

    lo(i + P) = lo(i) + S        hi(i + P) = hi(i) + S        jump = S / P

Source: the interval rules of A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill, 2019, doi:10.23915/distill.00021.

Departures from the source:
  * Fields are carried from the input to the output, with one pair of ends per phase: in a network that
    upsamples the units of one map see fields of different sizes.
  * Every map ends somewhere. Padding shows nothing of the input, so a field knows its live units, the
    outermost positions that the maps before it let through (``region``), and the units that no border cuts.
  * No more than ``PHASES`` phases are kept, so that no rule takes longer for a longer map. Where more would
    be needed, and the map has about as many units, only two lines are kept between which all intervals lie.
    Then P = 1, S is a fraction, and the field is an upper bound:

        lo(i) >= low + i S        hi(i) <= high + i S

``field_rules`` has a rule for each layer. None stands for a map that is not local any more.
"""

from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import ceil, floor, lcm
from typing import NamedTuple, Self

from concord.errors import UsageError

NOTHING = 1 << 62  # lo = NOTHING, hi = -NOTHING: an empty interval, neutral in min and max
PHASES = 1024  # at most that many are listed

Place = int | Fraction  # a fraction only where it bounds a whole number


class Field(NamedTuple):  # a frozen dataclass takes three times as long to make, and networks make thousands
    """What the units of one map see of one axis of one input. Positions and units are counted from 0."""

    low: tuple[Place, ...]  # lo(0) ... lo(P - 1), as if no map ended; an empty interval has lo > hi
    high: tuple[Place, ...]  # hi(0) ... hi(P - 1)
    shift: Place  # S >= 0
    units: int  # length of the map
    first: int  # first unit and
    last: int  # last unit that see anything of the input; first > last: none does
    least: int  # first position and
    most: int  # last position that the maps before this one let through
    begin: int  # first unit and
    end: int  # last unit of those that no border cuts: they see ``at``, whatever is said below
    source: Hashable  # which axis of which input; fields of different sources do not mix
    all_phases: bool = True  # whether these are the ends of each phase; else ``low`` and ``high`` are bounds
    tight: bool = True  # whether ``region`` is exact for the units that a border cuts

    @classmethod
    def of_input(cls, source: Hashable, extent: int) -> Self:
        """The input itself: unit i sees position i, for i in 0 ... extent - 1."""
        if extent < 1:
            raise UsageError(f"an axis of the input needs at least 1 position, got {extent}")
        ends = 0, extent - 1
        return cls((0,), (0,), 1, extent, *ends, *ends, *ends, source)

    @property
    def period(self) -> int:
        """P: units i and i + P see fields of the same size."""
        return len(self.low)

    @property
    def jump(self) -> Place:
        """Positions from one unit to the next, S / P: the stride of the map, an average over a period."""
        return whole(Fraction(self.shift, len(self.low)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """hi - lo + 1 of each phase, away from borders; 0 for a phase that sees nothing."""
        return tuple(max(0, floor(hi - lo) + 1) for lo, hi in zip(self.low, self.high, strict=True))

    @property
    def unbounded(self) -> int:
        """The size of a unit that no border cuts, as on a larger input: the largest of the map's phases."""
        if len(self.low) == 1:
            return self.sizes[0]
        sizes, live = self.sizes, range(max(0, self.first), min(self.last, self.units - 1) + 1)
        return max([sizes[unit % len(sizes)] for unit in live[: len(sizes)]], default=max(sizes))

    @property
    def size(self) -> int:
        """The largest part of the input that a unit of the map sees; at least as large if not ``exact``."""
        if self.first > self.last:
            return 0
        if self.tight and self.all_phases:
            return self._largest(self.first, self.last, self.least, self.most)
        return max(0, min(self.unbounded, self.most - self.least + 1))

    @property
    def exact(self) -> bool:
        """Whether some unit sees as much as ``size`` says."""
        if not self.all_phases:
            return self.first > self.last
        return self.tight or self.size in (0, self._largest(self.begin, self.end))

    def _largest(self, first: int, last: int, least: int = -NOTHING, most: int = NOTHING) -> int:
        """The largest interval of the units ``first`` to ``last``, cut to what lies in ``least`` to ``most``.

        Of the units of one phase the cut interval grows and then shrinks: it is largest beside a unit where
        a cut begins or ends, or at the end of the map.
        """
        found, period, shift = 0, len(self.low), self.shift
        for phase, (lo, hi) in enumerate(zip(self.low, self.high, strict=True)):
            turns = range(
                -((phase - max(0, first)) // period), (min(last, self.units - 1) - phase) // period + 1
            )
            if lo > hi or not turns:
                continue
            bends = [floor((end - at) // shift) for end, at in ((least, lo), (most, hi))] if shift else []
            for turn in {min(max(t, turns[0]), turns[-1]) for bend in bends or [0] for t in (bend, bend + 1)}:
                seen = min(hi + turn * shift, most) - max(lo + turn * shift, least) + 1
                found = max(found, int(seen))
        return found

    @property
    def cut(self) -> tuple[int, int, int, int]:
        """What the ends of maps leave of it."""
        return self.first, self.last, self.least, self.most

    @property
    def start(self) -> float | None:
        """Centre of the field of unit 0, where position 0 has its centre at 0. None: unit 0 sees nothing."""
        lo, hi = self.at(0)
        return (lo + hi) / 2 if lo <= hi else None

    def at(self, unit: int) -> tuple[int, int]:
        """lo and hi of any unit as if no map ended: may lie outside the input. lo > hi: it sees nothing."""
        lo, hi = self.ends(unit)
        return ceil(lo), floor(hi)

    def ends(self, unit: int) -> tuple[Place, Place]:
        """``at`` before it is rounded to whole positions: what may be carried further by a part of one."""
        turn, phase = divmod(unit, len(self.low))
        return self.low[phase] + turn * self.shift, self.high[phase] + turn * self.shift

    def region(self, unit: int) -> tuple[int, int] | None:
        """First and last position of the input that a unit of the map sees; None if it sees nothing.

        Exact from unit ``begin`` to unit ``end``, and for all units of a ``tight`` field. Else the units at
        borders may see less

          * after a dilated layer whose window hangs over the end of its map: the end counts as read, though
            the nearest tap may lie up to d - 1 units inside. What has small dilations below large ones
            (1, 2, 4, ...) stays tight, because the nearest tap sees as far;
          * where branches meet of which one sees less at its ends (``first``, ``last``, ``least``, ``most``)
            or has units that see nothing in between: all branches count as seeing as much.

        A bound may reach too far anywhere: by about one unit of the old map for each resizing.
        """
        if not self.first <= unit <= self.last:
            return None
        lo, hi = self.at(unit)
        lo, hi = max(lo, self.least), min(hi, self.most)
        return (lo, hi) if lo <= hi else None


def hull(fields: Sequence[Field | None]) -> Field | None:
    """The field of a sum, or of a concatenation along another axis: min of lo, max of hi.

    None if an operand is not local, or if they see different sources or differ in length. Branches of unequal
    jump (bilinear upsampling with aligned corners beside a skip connection) are listed unit by unit, under
    the largest jump.
    """
    if not fields:
        raise UsageError("hull needs at least one field, got none")
    local = [field for field in fields if field is not None]
    if len(local) < len(fields):
        return None
    lows, highs, shifts, units, firsts, lasts, leasts, mosts, begins, ends, sources, *_ = zip(
        *local, strict=True
    )
    if units.count(units[0]) < len(units) or sources.count(sources[0]) < len(sources):
        return None
    if shifts.count(shifts[0]) == len(shifts) and max(map(len, lows)) == 1:
        low, high, shift, all_listed = min(lows), max(highs), shifts[0], True
    else:
        low, high, shift, all_listed = _ends(local)
    outer = min(firsts), max(lasts), min(leasts), max(mosts)
    all_listed = all_listed and all(f.all_phases for f in local)
    field = Field(low, high, shift, units[0], *outer, max(begins), min(ends), sources[0], all_listed)
    return field._replace(tight=all_listed and (_alike(local) or any(_dominates(f, field) for f in local)))


def _dominates(one: Field, field: Field) -> bool:
    """Whether a branch sees by itself all that its hull with the others does."""
    if not one.tight or one.cut != field.cut:
        return False
    period = lcm(one.period, field.period) if one.jump == field.jump else field.units
    return listed(period) and all(one.ends(i) == field.ends(i) for i in range(min(period, field.units)))


def _alike(fields: Sequence[Field]) -> bool:
    """Whether the hull of regions is the region of the hull: the same is cut off from all branches."""
    cut = {f.cut for f in fields}
    return len(cut) == 1 and all(f.tight and 0 not in f.sizes for f in fields)


def listed(phases: int) -> bool:
    """Whether that many phases are listed."""
    return phases <= PHASES


def whole(place: Place) -> Place:
    """Without a denominator of 1."""
    return place.numerator if place.denominator == 1 else place


def lines(field: Field) -> tuple[Place, Place]:
    """low and high of the two lines, as steep as the field's jump, between which all its intervals lie."""
    ends = enumerate(zip(field.low, field.high, strict=True))
    jump = field.jump
    seen = [(lo - phase * jump, hi - phase * jump) for phase, (lo, hi) in ends if lo <= hi]
    return min([lo for lo, _ in seen], default=NOTHING), max([hi for _, hi in seen], default=-NOTHING)


def _ends(fields: list[Field]) -> tuple[tuple[Place, ...], tuple[Place, ...], Place, bool]:
    """lo and hi of each phase of the hull, its shift, and whether these are all phases."""
    widest = max(fields, key=lambda f: f.jump)
    steady = [f for f in fields if f.jump == widest.jump]
    period = _common_period(fields, steady)
    if not listed(period):
        return *_around(fields, widest.jump), widest.jump, False
    # past the end of the map unequal jumps drift apart: there the widest ones continue alone
    seen = [[f.ends(i) for f in (fields if i < widest.units else steady)] for i in range(period)]
    low = tuple([min([lo for lo, _ in ends]) for ends in seen])
    high = tuple([max([hi for _, hi in ends]) for ends in seen])
    return low, high, whole(period * widest.jump), True


def _around(fields: list[Field], jump: Place) -> tuple[tuple[Place], tuple[Place]]:
    """Two lines around all units of the map; lines that are less steep fall behind until its last unit."""
    ends = [(*lines(f), (jump - f.jump) * (f.units - 1)) for f in fields]
    return (min([lo - behind for lo, _, behind in ends]),), (max([hi for _, hi, _ in ends]),)


def _common_period(fields: list[Field], steady: list[Field]) -> int:
    """The least common one. Or one that covers the map: for unequal jumps, and instead of a longer one."""
    units, longest = fields[0].units, max([f.period for f in steady])
    period = lcm(*[f.period for f in steady])
    if len(steady) == len(fields) and period <= units:
        return period
    return longest * -(-units // longest)
