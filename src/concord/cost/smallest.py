"""The smallest picture that a network takes."""

from torch import nn

from concord.cost.count import count
from concord.errors import ConcordError

# The search goes down by halves from one of these that passes. Who takes one size only takes one in use.
IN_USE = {240, 288, 299, 336, 518}
TRIED = sorted({k * 2**n for k in (1, 3, 7) for n in range(11) if k * 2**n <= 1024} | IN_USE)


def smallest_side(network: nn.Module, channels: int) -> int | None:
    """Side of the smallest square picture that passes; None if none of those that are tried does."""
    high = next((side for side in TRIED if takes(network, channels, side)), None)
    if high is None:
        return None
    low = max([side for side in TRIED if side < high], default=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if takes(network, channels, middle) else (middle, high)
    return high


def takes(network: nn.Module, channels: int, side: int) -> bool:
    """Whether the network runs on such a picture."""
    try:
        count(network, (channels, side, side))
    except ConcordError:
        return False
    return True
