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

from collections.abc import Hashable
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
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
            return max(1, self._largest(*self.cut))
        return max(0, min(self.unbounded, self.most - self.least + 1))

    @property
    def exact(self) -> bool:
        """Whether some unit sees as much as ``size`` says."""
        if self.first > self.last or not self.all_phases:
            return self.first > self.last
        return self.size == self._largest(*(self.cut if self.tight else (self.begin, self.end)))

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
    def rising(self) -> bool:
        """Whether both ends of the intervals move on from one unit of the map to the next, or stay."""
        units = range(self.first, min(self.last, self.first + 2 * len(self.low)) + 1)
        seen = [(lo, hi) for lo, hi in map(self.ends, units) if lo <= hi]
        return all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(seen))

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

        Where all that a unit reads repeats the border of the input, that is left out: None. A bound may reach
        too far anywhere: by about one unit of the old map for each resizing.
        """
        if not self.first <= unit <= self.last:
            return None
        lo, hi = self.at(unit)
        lo, hi = max(lo, self.least), min(hi, self.most)
        return (lo, hi) if lo <= hi else None


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
