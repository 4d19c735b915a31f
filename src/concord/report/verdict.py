"""Which cost won: every row of a study against its plain ensemble, corrected for the number of comparisons.

A row is proven to differ in a column if the paired t test over the seeds still has p < 0.05 after Holm's
correction over all rows and columns that are compared. Of each cost only the weight that the validation split
chose for the column is compared; where nothing was validated, every weight is, and the correction grows.
Fewer than three seeds prove nothing.

Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from concord.consensus.names import COSTS, NONE, OWN
from concord.report.compare import (
    Difference,
    by_seed,
    choose,
    columns,
    mean,
    member_sets,
    paired_difference,
    settings,
)
from concord.report.records import ALONE, Setting, StudyView
from concord.report.text import percent, points, setting_label
from concord.runs.intervals import LEVEL

MEASURE = "test_error"
SEEDS = 3  # the fewest of which a difference is tested


@dataclass(frozen=True)
class Finding:
    """One row in one column beside the plain ensemble; ``p`` is corrected, None for a single seed."""

    column: str
    setting: Setting
    ours: float
    theirs: float
    difference: Difference
    p: float | None

    @property
    def proven(self) -> bool:
        return self.p is not None and self.p < 1 - LEVEL and self.difference.mean != 0


def compared(study: StudyView, members: tuple[str, ...], column: str) -> list[Setting]:
    """The rows that stand for their cost in a column: the weight that validation chose, else every weight."""
    chosen = {choice.cost: choice.weight for choice in choose(study.cells, members, column)}
    rows = [s for s in settings(study, members) if s[0] not in (NONE, ALONE)]
    return [(cost, weight) for cost, weight in rows if chosen.get(cost, weight) == weight]


def findings(study: StudyView, members: tuple[str, ...]) -> list[Finding]:
    """Every compared row that shares seeds with the plain ensemble, the smallest p first."""
    found: list[tuple[str, Setting, float, float, Difference]] = []
    for column in columns(members):
        plain = by_seed(study.cells, (NONE, 0.0), members, MEASURE, column)
        for setting in compared(study, members, column):
            scores = by_seed(study.cells, setting, members, MEASURE, column)
            difference = paired_difference(scores, plain)
            if difference:
                both = scores.keys() & plain.keys()
                ours, theirs = (mean([s[seed] for seed in both]) for s in (scores, plain))
                found.append((column, setting, ours, theirs, difference))
    corrected = holm([_p(row[-1]) for row in found])
    rows = [Finding(*row, p) for row, p in zip(found, corrected, strict=True)]
    return sorted(rows, key=lambda row: (row.p if row.p is not None else 1.0, -abs(row.difference.mean)))


def _p(difference: Difference) -> float | None:
    """p of the t test; None for fewer than three seeds, and where all differ alike, which has no spread."""
    alike = difference.low == difference.high and difference.mean != 0
    return None if difference.n < SEEDS or alike else difference.p


def holm(values: Sequence[float | None]) -> list[float | None]:
    """max over j <= i of min(1, (n - j) p_(j)), p in ascending order from j = 0; None stays None."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected


def winner(found: Sequence[Finding]) -> Setting | None:
    """The row with most proven gains; among equals the one with the smallest p."""
    gains = [row.setting for row in found if row.proven and row.difference.mean < 0]
    return max(dict.fromkeys(gains), key=gains.count, default=None)


def verdict_sentences(study: StudyView) -> list[str]:
    """For every set of members: which cost won and by how much, or that nothing is proven."""
    return [_sentence(findings(study, members), members) for members in member_sets(study.cells)]


def _sentence(found: Sequence[Finding], members: tuple[str, ...]) -> str:
    together = " + ".join(members)
    if not found:
        return f"{together}: no row of this study can be compared with the plain ensemble, seed by seed."
    seeds = max(row.difference.n for row in found)
    best = winner(found)
    if best is not None:
        gains = [row for row in found if row.setting == best and row.proven and row.difference.mean < 0]
        gains.sort(key=lambda row: columns(members).index(row.column))
        return (
            f"{together}: {_row(best)} lowers the test error below that of the "
            f"plain ensemble, of {_listed([_gain(row) for row in gains])}. {_test(found, seeds)}."
            + _losses(found)
        )
    if seeds < SEEDS:
        needed = f"A comparison needs {SEEDS} seeds for each setting; it has {seeds}."
        return f"{together}: nothing is proven. {needed}"
    largest = max(found, key=lambda row: abs(row.difference.mean))
    return (
        f"{together}: nothing is proven. No cost has a test error lower than that of the plain ensemble by "
        f"more than chance explains. The largest difference is {_change(largest)} for {largest.column} "
        f"with {setting_label(*largest.setting)}. {_test(found, seeds)}." + _losses(found)
    )


def _row(setting: Setting) -> str:
    """``consensus with l2 0.01``; ``the row chain 2`` where members do not pull each other together."""
    cost = setting[0].split()[0]
    pulls = cost in COSTS or cost.startswith(OWN)
    return f"{'consensus with' if pulls else 'the row'} {setting_label(*setting)}"


def _test(found: Sequence[Finding], seeds: int) -> str:
    several = f", corrected for {len(found)} comparisons" if len(found) > 1 else ""
    return f"Paired t test over {seeds} seeds{several}"


def _gain(row: Finding) -> str:
    return f"{row.column} from {percent(row.theirs)} to {percent(row.ours)} %: {_change(row)}"


def _change(row: Finding) -> str:
    """-0.28 percentage points (95 %: -0.77 to +0.21)"""
    middle, low, high = (points(x) for x in (row.difference.mean, row.difference.low, row.difference.high))
    return f"{middle} percentage points ({100 * LEVEL:.0f} %: {low} to {high})"


def _losses(found: Sequence[Finding]) -> str:
    rows = [row for row in found if row.proven and row.difference.mean > 0]
    if not rows:
        return ""
    named = dict.fromkeys(f"{setting_label(*row.setting)} ({row.column})" for row in rows)
    return f" Proven to be worse: {_listed([*named])}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(["; ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
