"""Which detections hit a truth: the matching of the VOC devkit and that of COCO, for all images at once.

Sources: M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2, and
its devkit's VOCevaldet.m; T.-Y. Lin et al., "Microsoft COCO", 2014, and its evaluator pycocotools 2.0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from concord.tasks.detection.pairs import Array, Found, Pairs, Truths, areas, pairs

HIT, MISS, IGNORED = 1, 0, -1
MOST = 100  # detections of one class in one image that COCO looks at
# The thresholds of pycocotools, bit for bit: 0.6 is 0.6, which float32 is not.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
EVERY_SIZE = ((0.0, 1e10),)
SIZES = (*EVERY_SIZE, (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large


class Matched(NamedTuple):
    """What detections of many images came to, by image, class and falling score. Shape: (N,)"""

    label: Array
    score: Array
    rank: Array  # place within the detections of its class in its image, 0 ...
    voc: Array  # int8
    coco: Array  # (sizes, 10, N) int8


def match(found: Found, truths: Truths, sizes: Sequence[tuple[float, float]] = EVERY_SIZE) -> Matched:
    """HIT, MISS or IGNORED of each detection under both rules; one image does not depend on the others."""
    met = pairs(found, truths)
    by_coco = _coco(met, areas(found.boxes)[met.order], truths, sizes)
    return Matched(found.label[met.order], found.score[met.order], met.rank, _voc(met, truths), by_coco)


def counted(truths: Truths, sizes: Sequence[tuple[float, float]]) -> Array:
    """Which truths count, for each range of areas. Shape: -> (sizes, M) bool"""
    low, high = np.array(sizes).T[:, :, None]
    return ~(truths.crowd | truths.difficult) & (truths.area >= low) & (truths.area <= high)


def _voc(found: Pairs, truths: Truths) -> Array:
    """HIT, MISS or IGNORED of each detection as VOC's devkit decides, at IoU >= 0.5.

    A detection is given to the truth that it overlaps most (the first of equals), found already or not: it is
    a hit if it has the highest score of those given to that truth, a miss otherwise, and ignored if the truth
    is a crowd or difficult. Shape: -> (N,) int8, in the order of ``found.order``
    """
    outcome = np.full(len(found.order), MISS, np.int8)
    near = np.flatnonzero(found.iou >= THRESHOLDS[0])
    if not len(near):
        return outcome
    detection, truth, iou = found.found[near], found.truth[near], found.iou[near]
    start = np.flatnonzero(np.diff(detection, prepend=-1))
    highest = np.maximum.reduceat(iou, start).repeat(np.diff(start, append=len(iou)))
    best = np.flatnonzero(iou == highest)
    best = best[np.unique(detection[best], return_index=True)[1]]
    detection, truth = detection[best], truth[best]
    first = np.unique(truth, return_index=True)[1]
    outcome[detection[first]] = HIT
    outcome[detection[(truths.crowd | truths.difficult)[truth]]] = IGNORED
    return outcome


def _coco(found: Pairs, area: Array, truths: Truths, sizes: Sequence[tuple[float, float]]) -> Array:
    """HIT, MISS or IGNORED of each detection as COCO decides, at every threshold and size of objects.

    By falling score a detection takes the free truth that it overlaps most (the last of equals) at or above
    the threshold. Truths that count go before those that do not: crowds, difficult ones, and those of another
    size. A crowd is never used up. What takes one that does not count is ignored; so are detections of
    another size that take none, and all behind the first 100 of their class in an image.

    Shape: -> (sizes, 10, N) int8, in the order of ``found.order``
    """
    low, high = np.array(sizes).T[:, :, None]
    outcome = np.empty((len(low), len(THRESHOLDS), len(area)), np.int8)
    outcome[:] = np.where((area < low) | (area > high), IGNORED, MISS)[:, None]
    _take(found, counted(truths, sizes), truths.crowd, outcome)
    outcome[:, :, found.rank >= MOST] = IGNORED
    return outcome


def _take(found: Pairs, counts: Array, crowd: Array, outcome: Array) -> None:
    """Write down the outcome of every detection that takes a truth.

    No two detections of one round are in one image and class, so that a round is decided at once: first
    those of the highest score everywhere, then the second ones, and so on.
    """
    wanted = np.flatnonzero((found.cover >= THRESHOLDS[0]) & (found.rank[found.found] < MOST))
    turn = found.rank[found.found[wanted]]
    wanted = wanted[np.lexsort((found.cover[wanted], found.found[wanted], turn))]
    free = np.ones((counts.shape[1], len(counts), len(THRESHOLDS)), bool)  # (M, sizes, thresholds)
    for pairs_ in np.split(wanted, np.flatnonzero(np.diff(np.sort(turn))) + 1):
        detection, truth = found.found[pairs_], found.truth[pairs_]
        start = np.flatnonzero(np.diff(detection, prepend=-1))
        open_ = free[truth] & (found.cover[pairs_, None] >= THRESHOLDS)[:, None]
        best = _best(open_, counts[:, truth].T, start)
        place, size, threshold = np.nonzero(best >= 0)
        pair = best[place, size, threshold]
        taken = truth[pair]
        hit = counts[size, taken]
        outcome[size, threshold, detection[pair]] = np.where(hit, HIT, IGNORED)
        used = ~crowd[taken]
        free[taken[used], size[used], threshold[used]] = False


def _best(open_: Array, counts: Array, start: Array) -> Array:
    """The pair that each detection takes, -1 for none: the last open one, of a truth that counts if it can.

    Pairs of a detection stand by rising overlap. Shape: (P, sizes, 10), (P, sizes) -> (starts, sizes, 10)
    """
    if not len(start):
        return np.empty((0, *open_.shape[1:]), np.int32)
    # numbered from 1, and those of truths that count before all others, so that the largest number wins
    worth = np.arange(1, len(open_) + 1, dtype=np.int32)[:, None] + np.int32(len(open_)) * counts
    largest = np.maximum.reduceat(worth[:, :, None] * open_, start)
    return np.where(largest > 0, (largest - 1) % len(open_), -1)
