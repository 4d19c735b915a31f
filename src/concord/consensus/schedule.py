"""The weight of the consensus cost over the course of training.

A schedule maps progress p (0 at the first update, 1 at the last) to a factor that multiplies the weight.

Source: X. Lan, X. Zhu, S. Gong, ONE, NeurIPS 2018 (sigmoid ramp, as S. Laine, T. Aila, 2017, section 3:
exp(-5 (1 - t)^2)); R. Anil et al., "Large scale distributed neural network training through online
distillation", ICLR 2018 (burn-in).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, exp, pi

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """1 throughout."""
    return lambda p: 1.0


def linear(until: float) -> Schedule:
    """p / until up to p = until, then 1."""
    return lambda p: min(1.0, p / until)


def sigmoid(until: float) -> Schedule:
    """exp(-5 (1 - p / until)^2) up to p = until, then 1. At p = 0 it is exp(-5), not 0."""
    return lambda p: exp(-5 * (1 - min(1.0, p / until)) ** 2)


def burn_in(until: float) -> Schedule:
    """0 before p = until, then 1."""
    return lambda p: float(p >= until)


def cosine(start: float, end: float) -> Schedule:
    """end + (start - end) (1 + cos(pi p)) / 2: from start to end along half a cosine."""
    return lambda p: end + (start - end) * (1 + cos(pi * p)) / 2


def piecewise(points: Sequence[tuple[float, float]]) -> Schedule:
    """The factor of the last point (p, factor) not later than p; 1 before the first. Points ascend."""
    starts = [start for start, _ in points]

    def factor(p: float) -> float:
        i = bisect_right(starts, p)
        return points[i - 1][1] if i else 1.0

    return factor
