"""Classifiers side by side on the same test images: a baseline or a member of a run is one row.

Intervals are at 95 %. An error of k wrong of n has Wilson's score interval; two classifiers are compared on
the images that exactly one of them gets wrong (McNemar's exact test), and the difference of their errors has
the interval of A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
proportions", Statistics in Medicine 24, 2005: half a count is added to each of the four cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from concord.report.cost_totals import size_of
from concord.report.intervals import LEVEL, wilson
from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import MISSING, decimal, percent, points, probability, whole

FLOAT = 4  # bytes of a number that is kept, for baselines and networks alike


@dataclass(frozen=True, eq=False)
class Rival:
    """What one classifier got wrong, and what it cost to train, to keep and to ask."""

    name: str
    about: str  # its settings
    images: int  # that it was trained on
    wrong: NDArray[np.bool_]  # (N,) of the test images
    fit_seconds: float
    predict_seconds: float
    numbers: int
    macs: int
    support: tuple[int, ...] = ()  # support vectors of each class
    published: float | None = None  # test error of the same method elsewhere

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    @property
    def bytes(self) -> int:
        return FLOAT * self.numbers

    @property
    def microseconds(self) -> float:
        """Of one prediction, all test images asked at once."""
        return 1e6 * self.predict_seconds / len(self.wrong)


@dataclass(frozen=True)
class Pair:
    """One classifier against another on n images; ``difference`` is its error minus the other's."""

    name: str
    only_this: int  # images that only this one gets wrong
    only_other: int
    difference: float
    low: float
    high: float
    p: float


def paired(one: Rival, other: Rival) -> Pair:
    """McNemar's exact test on b images that only ``one`` gets wrong and c that only ``other`` does.

        p = P(|B - (b + c) / 2| >= |b - c| / 2)        B binomial with b + c draws at 1/2
        d = (b - c) / (n + 2)   +-   z sqrt(b + c + 1 - (b - c)^2 / (n + 2)) / (n + 2)

    ``difference`` is (b - c) / n, the interval that of the formula.
    """
    b = int((one.wrong & ~other.wrong).sum())
    c = int((other.wrong & ~one.wrong).sum())
    n, larger = len(one.wrong), len(one.wrong) + 2
    half = stats.norm.ppf((1 + LEVEL) / 2) * math.sqrt(b + c + 1 - (b - c) ** 2 / larger) / larger
    middle = (b - c) / larger
    p = float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0
    return Pair(one.name, b, c, (b - c) / n, middle - half, middle + half, p)


def rival_table(rivals: Sequence[Rival], data: str) -> Table:
    """Everything about each; the published column stands there if any row has such a figure."""
    theirs = any(rival.published is not None for rival in rivals)
    header = (
        "classifier",
        "settings",
        "trained on",
        "test error %",
        "95 % interval",
        *(("published %",) if theirs else ()),
        "training s",
        "us per image",
        "support vectors",
        "numbers kept",
        "size",
        "MACs",
    )
    errors = scored([rival.error for rival in rivals], percent)
    rows = [_row(rival, error, theirs) for rival, error in zip(rivals, errors, strict=True)]
    notes = (
        f"{len(rivals[0].wrong):,} test images; no setting of a baseline was chosen on them. us per image: "
        "all of them asked at once, after a first call. Numbers kept: what must be stored to predict; size: "
        "at 4 bytes for each.",
    )
    return Table(f"Test error and cost on {data}", header, tuple(rows), 2, notes)


def _row(rival: Rival, error: Entry, theirs: bool) -> tuple[Entry, ...]:
    low, high = wilson(int(rival.wrong.sum()), len(rival.wrong))
    return (
        *entries(rival.name, rival.about, whole(rival.images)),
        error,
        *entries(f"{percent(low)} to {percent(high)}"),
        *(entries(percent(rival.published)) if theirs else ()),
        *entries(
            decimal(rival.fit_seconds, 1),
            decimal(rival.microseconds, 1),
            whole(sum(rival.support)) if rival.support else MISSING,
            whole(rival.numbers),
            size_of(rival.bytes),
            whole(rival.macs),
        ),
    )


def support_table(rivals: Sequence[Rival], classes: Sequence[str]) -> Table:
    """Support vectors of each class, for those that have any."""
    machines = [rival for rival in rivals if rival.support]
    rows = [entries(one.name, *map(whole, one.support), whole(sum(one.support))) for one in machines]
    return Table("Support vectors of each class", ("classifier", *classes, "all"), tuple(rows))


def pair_table(rivals: Sequence[Rival], reference: Rival) -> Table:
    """Every other one against the reference, on the same images."""
    pairs = [paired(rival, reference) for rival in rivals if rival is not reference]
    header = ("classifier", "only it wrong", "only the other wrong", "difference", "95 % interval", "p")
    rows = [
        entries(
            pair.name,
            whole(pair.only_this),
            whole(pair.only_other),
            points(pair.difference),
            f"{points(pair.low)} to {points(pair.high)}",
            probability(pair.p),
        )
        for pair in pairs
    ]
    notes = (
        f"Test images that exactly one of the two gets wrong; difference: its error minus that of "
        f"{reference.name}, in percentage points; p: McNemar's exact test.",
    )
    return Table(f"Against {reference.name}", header, tuple(rows), 1, notes)


def published_table(figures: Sequence[tuple[str, str, float]]) -> Table:
    """Method, images and error, as they were published."""
    rows = [entries(method, images, percent(error)) for method, images, error in figures]
    return Table("Published on MNIST", ("method", "images", "test error %"), tuple(rows), 2)
