"""Which detections and truths of one class meet in one image, and by how much they overlap.

Boxes are (x1, y1, x2, y2), edges on the plane of the image: x2 - x1 is a width.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LEAST = 0.5  # the lowest overlap that any rule accepts
AT_ONCE = 2**20  # pairs


class Found(NamedTuple):
    """Detections of many images, one behind the other. Shape: (N,), boxes (N, 4)"""

    image: Array  # int64, 0 ...
    label: Array  # int64, 0 ...
    score: Array  # float64
    boxes: Array  # float64


class Truths(NamedTuple):
    """Truths of many images, one behind the other. Shape: (M,), boxes (M, 4)"""

    image: Array
    label: Array
    boxes: Array
    crowd: Array  # bool: many objects in one box
    difficult: Array  # bool: to be neither found nor missed
    area: Array  # float64, by which small, medium and large are told apart


class Pairs(NamedTuple):
    """Detections and truths that overlap by a half or more, by detection, then by truth.

    ``iou`` is intersection / union; ``cover`` is the same but for crowds, of which it is intersection / area
    of the detection. Shape: (P,); order and rank (N,)
    """

    found: Array  # number of the detection in ``order``
    truth: Array  # number of the truth
    iou: Array
    cover: Array
    order: Array  # detections by image, class and falling score; equal scores stay in the order given
    rank: Array  # place of each of ``order`` within its image and class, 0 ...


def pairs(found: Found, truths: Truths) -> Pairs:
    """The pairs of detections and truths of one image and class that overlap by 0.5 or more."""
    classes = 1 + max(found.label.max(initial=0), truths.label.max(initial=0))
    key, truth_key = (part.image * classes + part.label for part in (found, truths))
    order = np.lexsort((-found.score, key))
    truth_order = np.argsort(truth_key, kind="stable")
    key, truth_key = key[order], truth_key[truth_order]
    start = np.flatnonzero(np.diff(key, prepend=-1))  # of each image and class
    size = np.diff(start, append=len(key))
    rank = np.arange(len(key)) - start.repeat(size)
    first = np.searchsorted(truth_key, key[start]).repeat(size)
    count = np.searchsorted(truth_key, key[start], side="right").repeat(size) - first  # truths to meet
    parts = []
    for part in np.split(np.arange(len(key)), _cuts(count)):
        detection = part.repeat(count[part])
        ahead = (np.cumsum(count[part]) - count[part]).repeat(count[part])  # pairs of the detections before
        truth = truth_order[first[detection] + np.arange(len(detection)) - ahead]
        iou, cover = _overlaps(found.boxes[order[detection]], truths.boxes[truth], truths.crowd[truth])
        near = np.flatnonzero(np.maximum(iou, cover) >= LEAST)
        parts.append((detection[near], truth[near], iou[near], cover[near]))
    detection, truth, iou, cover = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pairs(detection, truth, iou, cover, order, rank)


def _cuts(count: Array) -> Array:
    """Where to cut detections so that about a million pairs are looked at together, which bounds memory."""
    total = np.cumsum(count)
    return np.searchsorted(total, np.arange(AT_ONCE, total.max(initial=0), AT_ONCE), side="right")


def areas(boxes: Array) -> Array:
    """(x2 - x1) (y2 - y1). Shape: (N, 4) -> (N,)"""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _overlaps(boxes: Array, truths: Array, crowd: Array) -> tuple[Array, Array]:
    """Intersection over union, and the same with the area of the box in place of the union for crowds.

    Boxes that do not meet, and so all of zero area, overlap by 0. Shape: (P, 4), (P, 4), (P,) -> (P,), (P,)
    """
    sides = np.minimum(boxes[:, 2:], truths[:, 2:]) - np.maximum(boxes[:, :2], truths[:, :2])
    meet = (sides > 0).all(1)
    shared = np.where(meet, sides[:, 0] * sides[:, 1], 0.0)
    own = areas(boxes)
    iou = shared / np.where(meet, own + areas(truths) - shared, 1.0)
    return iou, np.where(crowd, shared / np.where(meet, own, 1.0), iou)
