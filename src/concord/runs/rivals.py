"""Classifiers side by side on the same test images: a baseline or a member of a run is one row.

Intervals are at 95 %. An error of k wrong of n has Wilson's score interval; two classifiers are compared on
the images that exactly one of them gets wrong (McNemar's exact test), and the difference of their errors has
the interval of A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
proportions", Statistics in Medicine 24, 2005: half a count is added to each of the four cells.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from concord.runs.intervals import LEVEL

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
