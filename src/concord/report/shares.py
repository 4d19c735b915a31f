"""Which share of the plain ensemble's gain each member keeps in every row of a study, and what that took.

    gain  = error of the member in the plain row - its error in this row
    share = mean of the gain / mean of the whole gain = error of the member - error of the ensemble, plain row

Both means are over the seeds that have all figures. The interval of their ratio is that of E. C. Fieller,
"Some problems in interval estimation", J. R. Statist. Soc. B 16, 1954, pages 175-185, at 95 %: the shares R
for which the mean of gain - R whole does not differ from 0 by Student's t test over the seeds. Where the
whole gain itself is not above 0 by that test, these have no bounds, and no share is given.

A row of one network in place of all members stands against their mean: its gain is the mean error of the
plain members minus its own, the whole gain that mean minus the error of the plain ensemble.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from concord.consensus.names import ENSEMBLE, NONE
from concord.report.compare import Difference, by_seed, mean, paired_difference, settings
from concord.report.records import ALONE, Setting, StudyView
from concord.report.text import points
from concord.runs.intervals import LEVEL

ONE_NETWORK = "one network"  # in place of a member: what stands for all of them
MOST_SIGNS = 16  # seeds whose sign flips are all tried; of more a sample of as many is drawn


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """One member, or ``ONE_NETWORK``, in one row; ``reason`` says why it has no share.

    ``gain`` is in fractions of the test set, above zero where the row is better; ``p`` is that of the sign
    flips. ``macs`` is what the training of this member took, mean over seeds, ``times`` the same as a
    multiple of the training of the whole plain ensemble.
    """

    member: str
    setting: Setting
    gain: Difference
    p: float
    share: Ratio | None
    reason: str | None
    macs: float | None
    times: float | None

    @property
    def per_cost(self) -> float | None:
        """The share for each training of the plain ensemble that it took."""
        return None if self.share is None or not self.times else self.share.value / self.times

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as study.json holds them."""
        share = self.share
        return {
            "member": self.member,
            "cost": self.setting[0],
            "weight": self.setting[1],
            "seeds": self.gain.n,
            "share": share and share.value,
            "low": share and share.low,
            "high": share and share.high,
            "reason": self.reason,
            "gain": {"mean": self.gain.mean, "low": self.gain.low, "high": self.gain.high},
            "p_sign_flip": self.p,
            "training_macs": self.macs,
            "training_cost": self.times,
            "share_per_cost": self.per_cost,
        }


def shares(study: StudyView, members: tuple[str, ...]) -> list[Share]:
    """Every member in every row but the baselines that shares seeds with the plain ensemble; then every
    network that stands for all members."""
    if len(members) == 1:
        return []
    rows = [setting for setting in settings(study, members) if setting[0] not in (NONE, ALONE)]
    plain = {m: by_seed(study.cells, (NONE, 0.0), members, "test_error", m) for m in members}
    whole = [setting for setting in rows if _is_one_network(study, members, setting)]
    asked = [(_Against(m, m, plain[m]), setting) for m in members for setting in rows]
    asked += [(_Against(ONE_NETWORK, ENSEMBLE, _middle(plain)), setting) for setting in whole]
    found = [_share(study, members, against, setting) for against, setting in asked]
    return [one for one in found if one]


@dataclass(frozen=True)
class _Against:
    """What is compared: the name in the table, the column of its figures, and errors of the plain row."""

    name: str
    column: str
    plain: Mapping[int, float]


def _is_one_network(study: StudyView, members: tuple[str, ...], setting: Setting) -> bool:
    cells = [cell for cell in study.cells if cell.setting == setting and cell.members == members]
    return {column for cell in cells for column in cell.scores.get("test_error", {})} == {ENSEMBLE}


def _middle(plain: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """Seed -> mean over the members, where all have an error."""
    seeds = set.intersection(*(set(errors) for errors in plain.values()))
    return {seed: mean([errors[seed] for errors in plain.values()]) for seed in seeds}


def _share(study: StudyView, members: tuple[str, ...], against: _Against, setting: Setting) -> Share | None:
    """None where no seed has all figures."""
    ours = by_seed(study.cells, setting, members, "test_error", against.column)
    together = by_seed(study.cells, (NONE, 0.0), members, "test_error", ENSEMBLE)
    seeds = sorted(ours.keys() & against.plain.keys() & together.keys())
    gains = {seed: against.plain[seed] - ours[seed] for seed in seeds}
    wholes = {seed: against.plain[seed] - together[seed] for seed in seeds}
    zero = dict.fromkeys(seeds, 0.0)
    gain, whole = paired_difference(gains, zero), paired_difference(wholes, zero)
    if gain is None or whole is None:
        return None
    reason = _no_share(against.name, whole)
    macs = _macs(study, setting, members, against.column, seeds)
    base = _macs(study, (NONE, 0.0), members, ENSEMBLE, seeds)
    return Share(
        against.name,
        setting,
        gain,
        sign_flips(list(gains.values())),
        None if reason else fieller(list(gains.values()), list(wholes.values())),
        reason,
        macs,
        macs / base if macs is not None and base else None,
    )


def _no_share(member: str, whole: Difference) -> str | None:
    """Why the whole gain cannot be divided by; None if it can."""
    member = "the mean member" if member == ONE_NETWORK else member
    if whole.low is None:
        return "a share needs at least two seeds"
    if whole.low > 0:
        return None
    if whole.mean <= 0:
        return f"the plain ensemble is not better than {member}"
    return (
        f"the gain of the plain ensemble over {member} is not above zero beyond chance: {points(whole.mean)}"
        f" percentage points ({points(whole.low)} to {points(whole.high)})"
    )


def _macs(
    study: StudyView, setting: Setting, members: tuple[str, ...], column: str, seeds: Sequence[int]
) -> float | None:
    cells = [c for c in study.cells if c.setting == setting and c.members == members and c.seed in seeds]
    known = [macs for cell in cells if (macs := cell.training_macs.get(column)) is not None]
    return mean(known) if len(known) == len(seeds) else None


def fieller(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """mean(above) / mean(below) of paired values with Fieller's interval; mean(below) > 0 beyond chance.

        R = a / b,    g = t^2 v_bb / b^2 < 1,    t = t(0.975, n - 1)
        (R - g v_ab / v_bb  -+  t / b sqrt(v_aa - 2 R v_ab + R^2 v_bb - g (v_aa - v_ab^2 / v_bb))) / (1 - g)

    with v the sample covariances of the means, that is divided by n. For a constant ``below`` it is the
    interval of mean(above), divided by it. Shape: (n,), (n,) with n >= 2
    """
    n, a, b = len(above), mean(above), mean(below)
    t = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    (aa, ab), (_, bb) = np.cov(above, below) / n
    ratio, g = a / b, t**2 * bb / b**2
    if g >= 1:
        raise ArithmeticError(f"the mean {b:g} is not above zero beyond chance, so a ratio has no bounds")
    slope, rest = (ab / bb, aa - ab**2 / bb) if bb > 0 else (0.0, aa)
    inside = aa - 2 * ratio * ab + ratio**2 * bb - g * rest
    middle, half = ratio - g * slope, t / b * math.sqrt(max(inside, 0.0))
    return Ratio(ratio, float((middle - half) / (1 - g)), float((middle + half) / (1 - g)))


def sign_flips(values: Sequence[float], lost: float = 0.0) -> float:
    """Two-sided p of the mean by flipping signs: the share of the 2^n choices of signs with |mean| as large.

    ``lost`` is what the sum of the values may have lost to rounding: sums that close are equal.

    The smallest p of n values is 2 / 2^n. Of more than 16 values as many choices as 16 have are drawn, always
    the same, and the values as they are count among them. Shape: (n,) -> ()
    """
    given = np.asarray(values, dtype=float)
    if len(given) <= MOST_SIGNS:
        signs = np.array(list(product((1, -1), repeat=len(given))))
    else:
        signs = np.random.default_rng(0).choice((1, -1), (2**MOST_SIGNS, len(given)))
        signs[0] = 1
    sums, rounding = np.abs(signs @ given), max(lost, 1e-12 * np.abs(given).sum())
    return float(np.mean(sums >= abs(given.sum()) - rounding))
