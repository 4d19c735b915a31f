"""The receptive field where branches meet, in a sum or a concatenation."""

from collections.abc import Sequence
from math import lcm

from concord.cost.field import Field, Place, lines, listed, whole
from concord.errors import UsageError


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
    one_phase = shifts.count(shifts[0]) == len(shifts) and max(map(len, lows)) == 1
    if one_phase:
        low, high, shift, all_listed = min(lows), max(highs), shifts[0], True
    else:
        low, high, shift, all_listed = _ends(local)
    outer = min(firsts), max(lasts), min(leasts), max(mosts)
    all_listed = all_listed and all(f.all_phases for f in local)
    field = Field(low, high, shift, units[0], *outer, max(begins), min(ends), sources[0], all_listed)
    if one_phase and any(f.tight and f[:8] == field[:8] for f in local):  # as in most networks
        return field
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
    return len(cut) == 1 and all(f.tight and f.rising and 0 not in f.sizes for f in fields)


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
