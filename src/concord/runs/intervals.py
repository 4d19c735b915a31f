"""The interval of a share.

Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
"""

from scipy import stats

LEVEL = 0.95


def wilson(count: int, n: int) -> tuple[float, float]:
    """The score interval at 95 %: every share e with |count / n - e| <= z sqrt(e (1 - e) / n).

    It is sensible at 0 and n too.
    """
    found = stats.binomtest(count, n).proportion_ci(LEVEL, "wilson")
    return float(found.low), float(found.high)
