"""Average precision of detections ranked by score.

    precision_n = hits among the first n / (hits + misses among the first n),   recall_n = hits / truths
    p(r) = max of precision_n over all n with recall_n >= r, 0 where there is none
    11 or 101 points: the mean of p at these r.    all points: the integral of p over r from 0 to 1

Sources: Everingham et al. 2010, section 4.2 (11 points) and the devkits since VOC 2010 (all points); COCO's
pycocotools (101 points). Precision rises at hits alone, so nothing else is looked at.
"""

from typing import NamedTuple

import numpy as np

from concord.tasks.detection.matching import HIT, MISS
from concord.tasks.detection.pairs import Array

ELEVEN = np.arange(11) / 10  # np.arange(0, 1.1, 0.1) has an 0.3 above that of 3 hits in 10 truths
HUNDRED_AND_ONE = np.linspace(0, 1, 101)  # the levels of pycocotools, bit for bit


class Hits(NamedTuple):
    """The hits of every class by falling score. Shape: precision (H,), number (K,)"""

    precision: Array  # at each hit, class after class
    number: Array  # of each class


def hits(outcome: Array, start: Array) -> Hits:
    """The precision at every hit.

    ``outcome`` has detections by class and falling score, ``start`` the number of the first one of each
    class and, at its end, that of all. Shape: (N,), (K + 1,)
    """
    hit = outcome == HIT
    seen = np.zeros((2, len(outcome) + 1), np.int64)  # hits and misses before each detection
    np.cumsum(hit, out=seen[0, 1:])
    np.cumsum(outcome == MISS, out=seen[1, 1:])
    number, missed = np.diff(seen[0, start]), seen[1, start[:-1]]
    where = np.flatnonzero(hit)
    right = np.arange(1, len(where) + 1) - seen[0, start[:-1]].repeat(number)
    wrong = seen[1, where] - missed.repeat(number)
    return Hits(right / (right + wrong), number)


def at_levels(found: Hits, truths: Array, levels: Array) -> Array:
    """The mean of p(r) over the levels of recall r. Shape: truths (K,) -> (K,), NaN without a truth."""
    classes = np.arange(len(truths))
    first = np.cumsum(found.number) - found.number + classes  # each class ends with a precision of 0
    precision = np.zeros(len(found.precision) + len(truths))
    precision[np.arange(len(found.precision)) + classes.repeat(found.number)] = found.precision
    at = first[:, None] + np.minimum(_needed(truths, levels) - 1, found.number[:, None])
    highest = np.maximum.reduceat(precision, at.ravel()).reshape(at.shape)  # between two levels
    mean = np.maximum.accumulate(highest[:, ::-1], 1).mean(1)
    return np.where(truths > 0, mean, np.nan)


def under_curve(found: Hits, truths: Array) -> Array:
    """The integral of p(r): every hit adds p / truths. Shape: truths (K,) -> (K,), NaN without a truth."""
    each = np.split(found.precision, np.cumsum(found.number)[:-1])
    sums = [np.maximum.accumulate(precision[::-1]).sum() for precision in each]
    return np.divide(sums, truths, out=np.full(len(truths), np.nan), where=truths > 0)


def _needed(truths: Array, levels: Array) -> Array:
    """The fewest hits, 1 at least, whose recall reaches each level. Shape: (K,), (L,) -> (K, L)"""
    count = np.maximum(truths, 1).astype(np.int64)[:, None]
    fewest = np.floor(levels * count).astype(np.int64)
    return np.maximum(fewest + (fewest / count < levels), 1)
