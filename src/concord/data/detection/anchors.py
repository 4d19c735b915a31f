"""Sizes of anchors from the boxes of a data set.

Source: J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, section 2 "Dimension
Clusters": k-means with the distance 1 - IoU(box, centre), boxes and centres on one corner. Departures: the
best of several starts is kept, and the centre may be the median of its boxes instead of their mean, which is
the usual one in open implementations and often fits better.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from concord.data import draws
from concord.errors import DataError, ShapeError, UsageError, amount, suggestion

CENTRES = ("mean", "median")
RESTARTS, ROUNDS, MOST = 10, 300, 100


@dataclass(frozen=True)
class Anchors:
    """Widths and heights by rising area, and the mean over all boxes of the IoU with their nearest anchor."""

    sides: tuple[tuple[float, float], ...]
    mean_iou: float


def iou(sides: Tensor, centres: Tensor) -> Tensor:
    """min(w, v) min(h, u) / (w h + v u - min(w, v) min(h, u)) of boxes on one corner.

    Shape: (n, 2), (k, 2) -> (n, k)
    """
    shared = torch.minimum(sides[:, None], centres).prod(-1)
    return shared / (sides.prod(-1)[:, None] + centres.prod(-1) - shared)


def anchors(
    sides: Tensor, k: int, *, centre: str = "mean", seed: int = 0, restarts: int = RESTARTS
) -> Anchors:
    """The best of ``restarts`` runs of k-means, each from ``k`` different boxes drawn by the seed.

    Shape: sides (n, 2), widths and heights above 0. Raises DataError for fewer than ``k`` different boxes,
    UsageError for what is not a number of anchors.
    """
    if sides.ndim != 2 or sides.shape[1] != 2:
        raise ShapeError(f"sides must be (n, 2), widths and heights, got {tuple(sides.shape)}")
    if not 1 <= k <= MOST:
        raise UsageError(f"the number of anchors must be 1 to {MOST}, got {k}")
    if centre not in CENTRES:
        raise UsageError(
            f"centre must be one of {', '.join(CENTRES)}, got {centre!r}{suggestion(centre, CENTRES)}"
        )
    if restarts < 1:
        raise UsageError(f"restarts must be 1 or more, got {restarts}")
    sides = sides.double()
    if not bool((torch.isfinite(sides) & (sides > 0)).all()):
        raise DataError("widths and heights of boxes must be finite and above 0")
    different = sides.unique(dim=0)
    if len(different) < k:
        raise DataError(f"{k} anchors need {k} boxes of different sizes, there are {len(different)}")
    starts = (draws.permutation(len(different), "anchors", seed, run)[:k] for run in range(restarts))
    runs = (_clustered(sides, different[torch.from_numpy(start)], centre) for start in starts)
    return max(runs, key=lambda run: run.mean_iou)


def _clustered(sides: Tensor, centres: Tensor, centre: str) -> Anchors:
    """Lloyd's rounds until no box changes its centre."""
    nearest = None
    for _ in range(ROUNDS):
        before, nearest = nearest, iou(sides, centres).argmax(1)
        if before is not None and torch.equal(before, nearest):
            break
        centres = torch.stack([_middle(sides[nearest == j], old, centre) for j, old in enumerate(centres)])
    centres = centres[centres.prod(1).argsort(stable=True)]
    mean = float(iou(sides, centres).amax(1).mean())
    return Anchors(tuple((float(w), float(h)) for w, h in centres), mean)


def _middle(boxes: Tensor, old: Tensor, centre: str) -> Tensor:
    if not len(boxes):  # a centre without a box stays where it is
        return old
    return boxes.mean(0) if centre == "mean" else boxes.quantile(0.5, 0)


def curve(
    sides: Tensor, most: int, *, centre: str = "mean", seed: int = 0, restarts: int = RESTARTS
) -> tuple[float, ...]:
    """The mean IoU with 1, 2, ..., ``most`` anchors, or as many as there are different boxes."""
    most = min(most, len(sides.unique(dim=0)))
    if not most:
        raise DataError(f"anchors need boxes, there are {amount(0, 'size')}")
    return tuple(
        anchors(sides, k, centre=centre, seed=seed, restarts=restarts).mean_iou for k in range(1, most + 1)
    )
