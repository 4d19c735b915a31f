"""Boxes of a batch: which of them are objects, and how far two boxes overlap.

Boxes are x, y, w, h here: centre and sides in pixels of the input. Targets and detections have corners, x1,
y1, x2, y2.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from concord.errors import DataError, ShapeError

Target = Mapping[str, Tensor]  # "boxes" (B, T, 4) as corners; "labels", "crowd", "difficult" (B, T)
FILLING = -1  # the label of a row without a box


class Truths(NamedTuple):
    """The boxes of a batch. Rows that are neither objects nor ignored have sides of 1 and count for nothing.

    Ignored are crowds, difficult boxes and boxes whose centre is outside of the image: what overlaps them is
    neither right nor wrong. Boxes without area are left out.

    Shape: boxes (B, T, 4); labels, objects, ignored, crowd (B, T)
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor
    ignored: Tensor
    crowd: Tensor


def truths(target: Target, size: tuple[int, int], classes: int) -> Truths:
    """The target of a batch of images of that height and width.

    Raises ShapeError for other shapes, DataError for a label outside of 0 to K - 1.
    """
    _require(target, classes)
    boxes, labels = centred(target["boxes"].float()), target["labels"]
    centre, sides = boxes.chunk(2, -1)
    there = (labels != FILLING) & (sides > 0).all(-1)
    limits = centre.new_tensor(size[::-1])
    inside = ((centre >= 0) & (centre < limits)).all(-1)
    objects = there & inside & ~target["crowd"] & ~target["difficult"]
    boxes = torch.where(there[..., None], boxes, 1.0)
    return Truths(boxes, labels.clamp(min=0), objects, there & ~objects, there & target["crowd"])


def corners(boxes: Tensor) -> Tensor:
    """x1, y1, x2, y2 of boxes x, y, w, h. Shape: (..., 4) -> (..., 4)"""
    centre, sides = boxes.chunk(2, -1)
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


def centred(boxes: Tensor) -> Tensor:
    """x, y, w, h of boxes x1, y1, x2, y2. Shape: (..., 4) -> (..., 4)"""
    low, high = boxes.chunk(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)


def overlap(a: Tensor, b: Tensor, crowd: Tensor | None = None) -> Tensor:
    """|a and b| / |a or b|, 0 where neither has an area; where b is a crowd |a and b| / |a|, as COCO counts.

    Shape: a, b (..., 4) as x, y, w, h, broadcast; crowd (...) -> (...)
    """
    # one number of all boxes after the other: on a CPU that takes a third of the time of pairs (x, y)
    ax, ay, aw, ah, bx, by, bw, bh = (number.contiguous() for boxes in (a, b) for number in boxes.unbind(-1))
    width, height = (_shared(ax, aw, bx, bw), _shared(ay, ah, by, bh))
    shared = width * height
    own = aw * ah
    whole = own + bw * bh - shared
    if crowd is not None:
        whole = torch.where(crowd, own, whole)
    return shared / whole.clamp(min=torch.finfo(whole.dtype).tiny)


def _shared(a: Tensor, a_side: Tensor, b: Tensor, b_side: Tensor) -> Tensor:
    """How much two lines share, from their middles and lengths."""
    last = torch.minimum(a + a_side / 2, b + b_side / 2)
    return (last - torch.maximum(a - a_side / 2, b - b_side / 2)).clamp(min=0)


def _require(target: Target, classes: int) -> None:
    boxes, labels = target["boxes"], target["labels"]
    if (
        boxes.ndim != 3
        or boxes.shape[2] != 4
        or any(target[key].shape != boxes.shape[:2] for key in ("labels", "crowd", "difficult"))
    ):
        given = ", ".join(f"{key} {tuple(target[key].shape)}" for key in target)
        raise ShapeError(f"a target is boxes (B, T, 4) with labels, crowd and difficult (B, T), got {given}")
    wrong = (labels < FILLING) | (labels >= classes)
    if wrong.any():
        sample, row = wrong.nonzero()[0].tolist()
        raise DataError(
            f"box {row} of sample {sample} of the batch has the label {int(labels[sample, row])}; labels are"
            f" from 0 to {classes - 1}, and {FILLING} in rows without a box"
        )
