"""What a setting changes against another, seed by seed, and whether two tests exclude no difference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

from concord.report.compare import paired_difference
from concord.report.shares import sign_flips
from concord.report.text import probability


@dataclass(frozen=True)
class Change:
    """Mean difference over n seeds, its t interval at 95 %, p of the exact sign-flip test, and the mean of
    what it is compared with."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float
    reference: float

    @property
    def proven(self) -> bool:
        """Both the interval and the sign-flip test exclude no difference."""
        return self.low is not None and self.high is not None and self.low * self.high > 0 and self.p < 0.05

    @property
    def star(self) -> str:
        return "*" if self.proven else ""

    def told(self, write: Callable[[float], str]) -> str:
        """The mean, with a star where it is proven, the interval and p."""
        text = f"{write(self.mean)}{self.star}"
        if self.low is None or self.high is None:
            return text
        return f"{text} ({write(self.low)} to {write(self.high)}, p {probability(self.p)})"


def paired(ours: Mapping[str, float], theirs: Mapping[str, float], lost: float = 0.0) -> Change | None:
    """Of the seeds that both have, None without one; ``lost`` is what a sum has lost to rounding."""
    seeds = sorted(ours.keys() & theirs.keys())
    known = paired_difference(*(dict(enumerate(map(of.__getitem__, seeds))) for of in (ours, theirs)))
    if known is None:
        return None
    p = sign_flips([ours[seed] - theirs[seed] for seed in seeds], lost)
    return Change(known.n, known.mean, known.low, known.high, p, fmean(theirs[seed] for seed in seeds))
