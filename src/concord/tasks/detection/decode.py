"""From all the boxes of a network to the few that are looked at.

Detections are a dictionary of "boxes" (B, D, 4) as x1, y1, x2, y2 in pixels, "scores" (B, D) and "labels"
(B, D), by falling score; in rows that only fill up, labels are -1 and scores 0.

All is written in operations on whole tensors, so that it can be exported with the network.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.tasks.detection.boxes import FILLING
from concord.tasks.detection.head import Decoded

Detections = Mapping[str, Tensor]


def candidates(
    decoded: Decoded, threshold: float, most: int = 1000, *, one_class: bool = False
) -> dict[str, Tensor]:
    """The ``most`` best pairs of a box and a class whose score is above the threshold.

    A box may be several candidates, one for each class, as in darknet; with ``one_class`` only the likeliest
    class of a box counts. ``most`` bounds what suppression has to compare where the threshold is low.

    Shape: boxes (B, N, 4), scores (B, N, K) -> D = min(most, N K)
    """
    scores, classes = decoded.scores, decoded.scores.shape[-1]
    if one_class:
        scores = torch.where(scores == scores.amax(-1, keepdim=True), scores, 0.0)
    flat = scores.flatten(1)
    best, index = flat.topk(min(most, flat.shape[1]), 1)
    found = best > threshold
    return {
        "boxes": rows_of(decoded.boxes, index // classes),
        "scores": torch.where(found, best, 0.0),
        "labels": torch.where(found, index % classes, FILLING),
    }


def clipped(found: Detections, size: tuple[int, int]) -> dict[str, Tensor]:
    """The same with boxes cut off at the borders of an image of that height and width."""
    height, width = size  # numbers, not a tensor of them: in an export they may be free
    sides = zip(found["boxes"].unbind(-1), (width, height) * 2, strict=True)
    return {**found, "boxes": torch.stack([side.clamp(0, limit) for side, limit in sides], -1)}


def taken(found: Detections, index: Tensor, scores: Tensor | None = None) -> dict[str, Tensor]:
    """The rows of these numbers (B, D'), with new scores if given; rows of a score of 0 only fill up."""
    scores = found["scores"].gather(1, index) if scores is None else scores
    labels = torch.where(scores > 0, found["labels"].gather(1, index), FILLING)
    boxes = torch.where((labels != FILLING)[..., None], rows_of(found["boxes"], index), 0.0)
    return {"boxes": boxes, "scores": torch.where(labels != FILLING, scores, 0.0), "labels": labels}


def filled(found: Detections, most: int) -> dict[str, Tensor]:
    """The same with rows that only fill up behind the last, to ``most``. Shape: D rows -> ``most`` rows"""
    spare = most - found["labels"].shape[1]
    return {
        "boxes": F.pad(found["boxes"], (0, 0, 0, spare)),
        "scores": F.pad(found["scores"], (0, spare)),
        "labels": F.pad(found["labels"], (0, spare), value=FILLING),
    }


def rows_of(boxes: Tensor, index: Tensor) -> Tensor:
    """Shape: (B, N, 4), (B, D) -> (B, D, 4)"""
    return boxes.gather(1, index[..., None].expand(-1, -1, 4))
