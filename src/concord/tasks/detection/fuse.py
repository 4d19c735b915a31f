"""One set of boxes from those of several networks.

Source: R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: ensembling boxes from different object
detection models", Image and Vision Computing 107, 2021, section 3 (an overlap above .55, scores rescaled by
min(T, N) / N).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from concord.errors import UsageError
from concord.tasks.detection.boxes import FILLING, centred, overlap
from concord.tasks.detection.decode import Detections, filled, taken
from concord.tasks.detection.suppress import hard


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
    """Sums over the boxes of every fused box, and its label; one box of every image at a time.

    Shape: D rows by falling score -> (B, D, 6) s x (4), s, count; (B, D)
    """
    boxes, scores = found["boxes"].double(), found["scores"].double()
    sums, labels = scores.new_zeros(*scores.shape, 6), torch.full_like(found["labels"], FILLING)
    lines = torch.arange(len(scores), device=scores.device)
    for r in range(int((scores > 0).sum(1).max())):
        own, score, label = boxes[:, r], scores[:, r, None], found["labels"][:, r]
        near = overlap(centred(_mean(sums)), centred(own)[:, None])  # (B, D)
        near = torch.where((labels == label[:, None]) & (near > threshold), near, 0.0)
        nearest, joined = near.max(1)
        slot = torch.where(nearest > 0, joined, (labels != FILLING).sum(1))  # or the first that is free
        sums[lines, slot] += torch.cat([score * own, score, torch.ones_like(score)], 1)
        labels[lines, slot] = label  # rows that only fill up leave the slot free
    return sums, labels


def _mean(sums: Tensor) -> Tensor:
    """sum s x / sum s. Shape: (B, D, 6) -> (B, D, 4)"""
    return sums[..., :4] / sums[..., 4:5].clamp(min=torch.finfo(sums.dtype).tiny)


FUSIONS = {"weighted": weighted, "merged": merged}
