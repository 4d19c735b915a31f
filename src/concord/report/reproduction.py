"""Whether a study repeats the gains of published runs, as far as those can be told from noise.

A gain is what the test error of a row is lower by than that of members without consensus, above zero where
consensus helps:

    ours   = mean over the seeds of (plain ensemble's row - this row), seeds that both have
    theirs = mean of the published noise proxy - published error of this row
    passes = sign(ours) == sign(theirs)  and  |ours - theirs| <= 2 sd of the proxy

each within one column, a member or the ensemble. The proxy is several published runs that differ by chance
alone; its sd is that of one run. Rounding apart (12 digits), the band's ends belong to it, and a gain of zero
has the sign of zero only. The noise of our own runs widens nothing: a single seed may fail by bad luck.
"""

from dataclasses import dataclass

from concord.consensus.names import NONE
from concord.report.compare import by_seed, columns, paired_difference, settings
from concord.report.records import Published, Setting, StudyView
from concord.report.tables import Entry, Table
from concord.report.text import points

WIDTH = 2  # standard deviations
DIGITS = 3  # the means of the proxy have them, and a small gain has a sign


@dataclass(frozen=True)
class Verdict:
    """Our gain and the published one as fractions, over n seeds, and what the rule says."""

    seeds: int
    ours: float
    theirs: float
    low: float  # of the band around the published gain
    high: float
    same_sign: bool
    inside: bool

    @property
    def passes(self) -> bool:
        return self.same_sign and self.inside

    @property
    def beyond_chance(self) -> bool:
        """Whether the published gain itself is further from zero than the band is wide."""
        return self.low > 0 or self.high < 0


def verdict(ours: float, theirs: float, sd: float, seeds: int = 1) -> Verdict:
    """The rule above for one gain of ours, one published gain and the sd of the published runs."""
    ours, theirs, half = (round(x, 12) + 0.0 for x in (ours, theirs, WIDTH * sd))
    same = (ours > 0) == (theirs > 0) and (ours < 0) == (theirs < 0)
    inside = round(abs(ours - theirs), 12) <= half
    return Verdict(seeds, ours, theirs, theirs - half, theirs + half, same, inside)


def verdicts(study: StudyView, members: tuple[str, ...]) -> dict[tuple[str, Setting], Verdict]:
    """(column, setting) -> verdict, for every row with a published error and a seed of our plain row."""
    found = {}
    if study.published:
        for column in columns(members):
            for setting in settings(study, members):
                if known := _verdict(study, study.published, members, column, setting):
                    found[column, setting] = known
    return found


def _verdict(
    study: StudyView, published: Published, members: tuple[str, ...], column: str, setting: Setting
) -> Verdict | None:
    error = published.scores.get(setting, {}).get("test_error", {}).get(column)
    if setting[0] == NONE or error is None or column not in published.proxy:
        return None
    row, plain = (
        by_seed(study.cells, which, members, "test_error", column) for which in (setting, (NONE, 0.0))
    )
    gain = paired_difference(plain, row)
    middle, sd = published.proxy[column]
    return verdict(gain.mean, middle - error, sd, gain.n) if gain else None


def reproduction_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """A row for each column and setting: our gain, the published one with its band, and the verdict."""
    found = verdicts(study, members)
    clear = [known for known in found.values() if known.beyond_chance]
    return Table(
        f"Are the published gains repeated? {' + '.join(members)}",
        ("column", "cost", "weight", "seeds", "our gain", "published gain (2 sd)", "passes"),
        tuple(
            (Entry(column), Entry(cost), Entry(f"{weight:g}"), *_entries(known))
            for (column, (cost, weight)), known in found.items()
        ),
        names=2,
        notes=(
            "Gain: the test error without consensus less that of the row, in percentage points; above zero "
            "is better. Ours: against our plain ensemble's row, mean over equal seeds. Published: against "
            "the mean of the published runs that differ by chance alone, with 2 of their standard deviations "
            "on each side.",
            "A gain passes if it has the sign of the published one and lies within those 2 standard "
            "deviations, ends included; otherwise the table says which of the two fails. "
            f"{_passed([*found.values()])} pass; of the gains whose band leaves out zero, {_passed(clear)}. "
            "Where the band holds zero, the published gain may be chance, and so may its sign.",
        ),
    )


def _entries(known: Verdict) -> tuple[Entry, ...]:
    theirs, low, high = (points(gain, DIGITS) for gain in (known.theirs, known.low, known.high))
    fails = [name for name, holds in (("sign", known.same_sign), ("size", known.inside)) if not holds]
    return (
        Entry(str(known.seeds)),
        Entry(points(known.ours, DIGITS)),
        Entry(f"{theirs} ({low} to {high})"),
        Entry(f"no: {', '.join(fails)}" if fails else "yes"),
    )


def _passed(found: list[Verdict]) -> str:
    return f"{sum(known.passes for known in found)} of {len(found)}"
