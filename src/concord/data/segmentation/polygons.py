"""Polygons -> pixels, with the rounding of COCO's own programming interface.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. The outline is walked on a
grid five times as fine, one step of the longer direction at a time. Where it enters another column of pixels,
all pixels of that column from there on change sides, so that an even number of crossings is outside.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FINER = 5


def filled(polygons: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The union of polygons, each (2n,) as x, y, x, y, ... in pixels, 0 the left or upper edge of the first.

    Shape: -> (H, W)
    """
    inside = np.zeros(size, bool)
    for polygon in polygons:
        inside |= _filled(polygon.reshape(-1, 2), size)
    return inside


def _filled(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    x, y = _walked(np.trunc(FINER * corners + 0.5).astype(np.int64))
    crossing = np.flatnonzero(x[1:] != x[:-1])
    column = np.minimum(x[1:], x[:-1])[crossing]  # of the fine grid, left of the crossing
    row = np.minimum(y[1:], y[:-1])[crossing]
    on_pixel = (column % FINER == FINER // 2) & (column >= 0) & (column < FINER * width)
    column = column[on_pixel] // FINER
    row = np.ceil(np.clip((row[on_pixel] + 0.5) / FINER - 0.5, 0, height)).astype(np.int64)
    # columns follow each other in memory: a crossing at the lower end changes the side of the next column
    changes = np.bincount(column * height + row, minlength=height * width + 1)[:-1]
    return (np.cumsum(changes) % 2 == 1).reshape(width, height).T


def _walked(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every point of the closed outline. Shape: (n, 2) -> (P,), (P,)"""
    pieces = [_edge(a, b) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    x, y = np.concatenate(pieces).T
    return x, y


def _edge(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Points from a to b, both included, rounded as seen from the end that comes first. Shape: -> (p, 2)"""
    along = int(abs(b[0] - a[0]) < abs(b[1] - a[1]))  # the longer direction: 0 is x, 1 is y
    begin, end = (a, b) if a[along] <= b[along] else (b, a)
    steps = np.arange(end[along] - begin[along] + 1)
    slope = (end[1 - along] - begin[1 - along]) / max(len(steps) - 1, 1)
    points = np.empty((len(steps), 2), np.int64)
    points[:, along] = begin[along] + steps
    points[:, 1 - along] = np.trunc(begin[1 - along] + slope * steps + 0.5)
    return points if begin is a else points[::-1]
