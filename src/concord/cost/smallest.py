"""The smallest input that a network takes."""

from collections.abc import Callable

from torch import nn

from concord.cost.count import count
from concord.cost.passes import Input
from concord.errors import ConcordError

# The search goes down by halves from one of these that passes. Who takes one size only takes one in use.
IN_USE = {240, 288, 299, 336, 518}
TRIED = sorted({k * 2**n for k in (1, 3, 7) for n in range(11) if k * 2**n <= 1024} | IN_USE)


def smallest_side(network: nn.Module, channels: int) -> int | None:
    """Side of the smallest square picture that passes; None if none of those that are tried does."""
    return smallest(lambda side: takes(network, (channels, side, side)))


def smallest(passes: Callable[[int], bool]) -> int | None:
    """The smallest size that passes; None if none of those that are tried up to 1024 does."""
    high = next((size for size in TRIED if passes(size)), None)
    if high is None:
        return None
    low = max([size for size in TRIED if size < high], default=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def takes(network: nn.Module, *inputs: Input) -> bool:
    """Whether the network runs on such inputs."""
    try:
        count(network, *inputs)
    except ConcordError:
        return False
    return True
