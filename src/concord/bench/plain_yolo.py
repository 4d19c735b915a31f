"""YOLO v3 as it is mostly written: a loss with loops over images and objects, and suppression image by image.

The same formulas as ``tasks.detection.v3``, for targets without crowds and difficult boxes, whose objects
have their centres in the image.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from concord.tasks.detection.v3 import YoloV3

MOST, CANDIDATES, OVERLAP = 100, 1000, 0.45
Boxes = tuple[Tensor, Tensor, Tensor]  # corners (N, 4), scores (N,), labels (N,)


def loss(head: YoloV3, output: Sequence[Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """The mean over the images of a batch. Shape: -> ()"""
    costs = []
    for b in range(len(output[0])):
        there = target["labels"][b] >= 0
        maps = [_split(head, one[b], m) for m, one in enumerate(output)]
        costs.append(_of_image(head, maps, target["boxes"][b][there], target["labels"][b][there].tolist()))
    return torch.stack(costs).mean()


def _split(head: YoloV3, one: Tensor, m: int) -> Tensor:
    """Shape: (A (5 + K), H, W) -> (A, H, W, 5 + K)"""
    return one.unflatten(0, (len(head.anchors[m]), -1)).permute(0, 2, 3, 1)


def _of_image(head: YoloV3, maps: Sequence[Tensor], truths: Tensor, labels: list[int]) -> Tensor:
    background = []
    for m, raw in enumerate(maps):
        with torch.no_grad():
            near = box_iou(_boxes(head, raw, m).flatten(0, 2), truths)
            background.append((near <= head.ignore).all(1).view(raw.shape[:3]))
    owners: dict[tuple[int, int, int, int], int] = {}
    classes: dict[tuple[int, int, int, int], set[int]] = {}
    for t, (x1, y1, x2, y2) in enumerate(truths.tolist()):
        place = _place(head, ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1))
        background[place[0]][place[1:]] = False
        owners[place] = t  # of several objects at one place the last owns it
        classes.setdefault(place, set()).add(labels[t])
    cost = maps[0].new_zeros(())
    for place, t in owners.items():
        cost = cost + _of_object(head, maps, place, truths[t], classes[place])
    for raw, empty in zip(maps, background, strict=True):
        cost = cost + F.softplus(raw[..., 4][empty]).sum()
    return cost


def _boxes(head: YoloV3, raw: Tensor, m: int) -> Tensor:
    """Corners in pixels. Shape: (..., A, H, W, 5 + K) -> (..., A, H, W, 4)"""
    rows, columns = raw.shape[-3:-1]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    anchors = raw.new_tensor(head.anchors[m])[:, None, None]
    centre = (raw[..., :2].sigmoid() + torch.stack([x, y], -1)) * head.strides[m]
    sides = raw[..., 2:4].exp() * anchors
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


def _place(
    head: YoloV3, centre: tuple[float, float], sides: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Map, anchor, row and column of the anchor that is most like the object."""
    best, found = -1.0, (0, 0)
    for m, anchors in enumerate(head.anchors):
        for a, (w, h) in enumerate(anchors):
            shared = min(w, sides[0]) * min(h, sides[1])
            alike = shared / (w * h + sides[0] * sides[1] - shared)
            if alike > best:
                best, found = alike, (m, a)
    stride = head.strides[found[0]]
    return *found, int(centre[1] / stride), int(centre[0] / stride)


def _of_object(
    head: YoloV3, maps: Sequence[Tensor], place: tuple[int, int, int, int], truth: Tensor, classes: set[int]
) -> Tensor:
    m, a, row, column = place
    raw, stride = maps[m][a, row, column], head.strides[m]
    anchor = raw.new_tensor(head.anchors[m][a])
    height, width = (side * stride for side in maps[m].shape[1:3])
    centre, sides = (truth[:2] + truth[2:]) / 2, truth[2:] - truth[:2]
    offset = centre / stride - raw.new_tensor([column, row])
    scale = 2 - sides.prod() / (width * height)
    box = F.binary_cross_entropy_with_logits(raw[:2], offset, reduction="sum")
    box = box + (raw[2:4] - (sides / anchor).log()).square().sum() / 2
    named = torch.zeros(head.classes)
    named[list(classes)] = 1
    nats = F.binary_cross_entropy_with_logits(raw[5:], named, reduction="sum")
    return scale * box + F.softplus(-raw[4]) + nats


def detections(head: YoloV3, output: Sequence[Tensor], threshold: float) -> list[Boxes]:
    """Boxes of each image after suppression within a class, by falling score."""
    boxes, scores = [], []
    for m, one in enumerate(output):
        raw = one.unflatten(1, (len(head.anchors[m]), -1)).permute(0, 1, 3, 4, 2)
        boxes.append(_boxes(head, raw, m).flatten(1, 3))
        scores.append((raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()).flatten(1, 3))
    return [
        _suppressed(*one, threshold) for one in zip(torch.cat(boxes, 1), torch.cat(scores, 1), strict=True)
    ]


def _suppressed(boxes: Tensor, scores: Tensor, threshold: float) -> Boxes:
    """Shape: (N, 4), (N, K)"""
    row, label = (scores > threshold).nonzero(as_tuple=True)
    score = scores[row, label]
    if len(score) > CANDIDATES:
        score, best = score.topk(CANDIDATES)
        row, label = row[best], label[best]
    kept = batched_nms(boxes[row], score, label, OVERLAP)[:MOST]
    return boxes[row][kept], score[kept], label[kept]
