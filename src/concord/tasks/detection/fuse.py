"""One set of boxes from those of several networks.

Source: R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: ensembling boxes from different object
detection models", Image and Vision Computing 107, 2021, section 3 (an overlap above .55, scores rescaled by
min(T, N) / N).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concord.errors import UsageError
from concord.tasks.detection.boxes import FILLING
from concord.tasks.detection.decode import Detections, filled, taken
from concord.tasks.detection.pairs import Array
from concord.tasks.detection.suppress import hard

TINY = float(np.finfo(np.float64).tiny)


def weighted(members: Sequence[Detections], most: int = 100, threshold: float = 0.55) -> dict[str, Tensor]:
    """Boxes of one class that overlap are averaged with their scores as weights.

    From the best score down, a box joins the fused box that it overlaps most, if by more than ``threshold``,
    or begins one. A fused box of T boxes of N members has

        x = sum_i s_i x_i / sum_i s_i        s = sum_i s_i / T  min(T, N) / N

    and while it grows it is compared as it is then. What one member alone has found keeps s / N.

    Shape: N times D rows -> ``most`` rows. Raises UsageError without members.
    """
    every = _joined(members)
    every = taken(every, every["scores"].argsort(dim=1, descending=True, stable=True))
    sums, labels = _clusters(every, threshold)
    count = sums[..., 5].clamp(min=1)
    scores = sums[..., 4] / count * count.clamp(max=len(members)) / len(members)
    fused = {"boxes": _mean(sums).float(), "scores": scores.float(), "labels": labels}
    return filled(taken(fused, scores.argsort(dim=1, descending=True, stable=True)[:, :most]), most)


def merged(members: Sequence[Detections], most: int = 100, threshold: float = 0.45) -> dict[str, Tensor]:
    """Boxes of all members in one suppression. Shape: N times D rows -> ``most`` rows"""
    return hard(_joined(members), most, threshold)


def _joined(members: Sequence[Detections]) -> dict[str, Tensor]:
    if not members:
        raise UsageError("boxes are fused of at least one member, got none")
    return {key: torch.cat([found[key] for found in members], 1) for key in ("boxes", "scores", "labels")}


def _clusters(found: Detections, threshold: float) -> tuple[Tensor, Tensor]:
    """Sums over the boxes of every fused box, and its label; image by image and box by box.

    Shape: D rows by falling score -> (B, D, 6) s x (4), s, count; (B, D)
    """
    boxes, scores = (found[key].detach().cpu().double().numpy() for key in ("boxes", "scores"))
    labels = found["labels"].cpu().numpy()
    images = [_fused(*one, threshold) for one in zip(boxes, scores, labels, strict=True)]
    sums, names = (torch.from_numpy(np.stack(part)) for part in zip(*images, strict=True))
    return sums.to(found["boxes"].device), names.to(found["boxes"].device)


def _fused(boxes: Array, scores: Array, labels: Array, threshold: float) -> tuple[Array, Array]:
    """Those of one image, in NumPy, whose operations on few numbers take a fifth of the time of torch's.

    Shape: (D, 4), (D,), (D,) -> (D, 6), (D,)
    """
    sums, names = np.zeros((len(scores), 6)), np.full(len(scores), FILLING)
    means = np.zeros((4, len(scores)))
    count = 0
    for box, score, label in zip(boxes, scores, labels, strict=True):
        if score <= 0:  # so have all that follow
            break
        near = np.where(names[:count] == label, _overlaps(means[:, :count], box), 0.0)
        slot = int(near.argmax()) if count else 0
        if not (count and near[slot] > threshold):
            slot, count = count, count + 1
            names[slot] = label
        sums[slot] += (*(score * box), score, 1.0)
        means[:, slot] = sums[slot, :4] / max(sums[slot, 4], TINY)
    return sums, names


def _overlaps(boxes: Array, box: Array) -> Array:
    """IoU of boxes x1, y1, x2, y2 with one. Shape: (4, N), (4,) -> (N,)"""
    x1, y1, x2, y2 = boxes
    width = np.minimum(x2, box[2]) - np.maximum(x1, box[0])
    height = np.minimum(y2, box[3]) - np.maximum(y1, box[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    whole = (x2 - x1) * (y2 - y1) + (box[2] - box[0]) * (box[3] - box[1]) - shared
    return shared / np.maximum(whole, TINY)


def _mean(sums: Tensor) -> Tensor:
    """sum s x / sum s. Shape: (B, D, 6) -> (B, D, 4)"""
    return sums[..., :4] / sums[..., 4:5].clamp(min=TINY)


FUSIONS = {"weighted": weighted, "merged": merged}
