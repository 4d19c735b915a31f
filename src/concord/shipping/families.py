"""Families of networks that are candidates, each from its narrowest to its widest.

In the order in which they are tried where time is too short for all. Nothing here imports torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FILTERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 96, 128)
GROWTH = (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40)
PER_CENT = (4, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 60, 75, 100, 125, 150)
PHOTOS = 64  # smallest side of pictures for networks that divide their sides by 32


@dataclass(frozen=True)
class Family:
    """Networks of one kind and depth, ascending in everything that they need."""

    name: str
    networks: tuple[str, ...]
    least_side: int = 0  # of the pictures


def _family(name: str, key: str, values: Iterable[int], fixed: str = "", least_side: int = 0) -> Family:
    sizes = [f"{fixed}, {key}={value}" if fixed else f"{key}={value}" for value in values]
    called = f"{name}({fixed})" if fixed else name
    return Family(called, tuple(f"{name}({size})" for size in sizes), least_side)


FAMILIES = (
    _family("preact_resnet20", "filters", FILTERS),
    _family("gated_depthwise", "width", range(12, 193, 12), "depth=2"),
    _family("noel2017_st", "filters", FILTERS),
    _family("gated_depthwise", "width", range(12, 193, 12), "depth=3"),
    _family("mobilenet_v1", "width", PER_CENT, least_side=PHOTOS),
    _family("wide_resnet28_2", "width", range(1, 11), "depth=10"),
    _family("densenet_bc100_12", "growth", GROWTH, "depth=40"),
    _family("noel2017_m", "filters", FILTERS),
    _family("preact_resnet32", "filters", FILTERS),
    _family("gated_depthwise", "width", range(12, 193, 12), "depth=1"),
    _family("densenet_bc100_12", "growth", GROWTH, "depth=22"),
)
