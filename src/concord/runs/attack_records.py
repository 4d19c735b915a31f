"""What attacks did to networks, as data.

Intervals are those of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
1927, at 95 %.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.runs.intervals import wilson

if TYPE_CHECKING:
    from torch import Tensor

STUCK = 0.01  # share of samples without a gradient from which the reader is warned


@dataclass(frozen=True)
class Rate:
    """A share of n images with its 95 % interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, n: int) -> "Rate":
        return cls(count / n, *wilson(count, n))


@dataclass(frozen=True)
class Point:
    """A network under an attack of one size."""

    eps: float
    error: Rate
    confidence: float | None  # mean of that of wrong answers; None where none is wrong
    reached: Rate | None  # share that got the wanted class; None where none was wanted


@dataclass(frozen=True)
class Attacked:
    """One network that was attacked; ``stuck`` is the share of samples with no gradient, see ``notices``."""

    name: str
    clean: Rate
    points: tuple[Point, ...]
    stuck: float


@dataclass(frozen=True)
class Transfer:
    """Rows are networks attacked, columns networks tested; None where there was nothing to transfer."""

    eps: float
    attacked: tuple[str, ...]
    tested: tuple[str, ...]
    error: tuple[tuple[float, ...], ...]
    fooled: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Triple:
    """One image before and after, both (C, H, W) of 0 to 1, with what the network says of each."""

    before: "Tensor"
    after: "Tensor"
    truth: str
    predicted: str
    sure_before: float
    sure_after: float


@dataclass(frozen=True)
class Gallery:
    """Images that fooled one network, the surest ones first."""

    name: str
    eps: float
    added: str  # what the change is, for example 0.1 x sign
    triples: tuple[Triple, ...]


@dataclass(frozen=True)
class Robustness:
    """Everything about one call of ``concord attack``."""

    title: str
    method: str  # a sentence
    samples: int
    networks: tuple[Attacked, ...]
    transfers: tuple[Transfer, ...]  # by eps
    galleries: tuple[Gallery, ...]
    checkpoints: tuple[str, ...] = ()  # of the runs, whose weights were attacked
    weights: tuple[str, ...] = ()  # their digests
    own_test: bool = False  # whether the images are a test split of what the first run was trained on


def notices(found: Robustness) -> list[str]:
    """What the reader must know to believe the figures."""
    return [
        f"{network.name}: the gradient of {100 * network.stuck:.1f} % of the images is zero or not a finite "
        "number everywhere, so that no attack by gradient can move them. The success of the attack is "
        "underestimated: this does not show robustness."
        for network in found.networks
        if network.stuck >= STUCK
    ]
