"""Average precision from batches of padded boxes: what a task gathers while it evaluates."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from concord.errors import ShapeError
from concord.tasks.detection.matching import EVERY_SIZE, Matched, counted, match
from concord.tasks.detection.pairs import Array, Found, Truths, areas
from concord.tasks.detection.precision import AveragePrecision, ranked

COLUMNS = 14  # label, score, rank, outcome of VOC, outcomes of COCO at its ten thresholds


def rows(detections: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """One row for each detection of a batch: label, score, rank, and what it comes to under each matching.

    The rank is its place among those of its class in its image, 0 for the highest score. Outcomes are 1
    (hit), 0 (miss) and -1 (ignored): as VOC matches at IoU 0.5, then as COCO does at 0.50, 0.55, ..., 0.95.
    Rows of several batches are put one behind the other; an image has the same rows in any batch. Boxes
    labelled -1 only fill a batch up. Raises ShapeError for other shapes.

    Shape: boxes (B, D, 4), scores and labels (B, D); boxes (B, N, 4), labels, crowd and difficult (B, N)
    -> (R, 14) float64
    """
    _require(detections, "detections", ("labels", "scores"))
    image, label, boxes = _boxes(detections)
    found = Found(image, label, _filled(detections, "scores", torch.float64), boxes)
    got = match(found, _truths(target))
    columns = np.concatenate([(got.label, got.score, got.rank, got.voc), got.coco[0]])
    return torch.from_numpy(np.ascontiguousarray(columns.T)).to(detections["boxes"].device)


def truths(target: Mapping[str, Tensor], classes: int) -> Tensor:
    """The number of truths of each class that count; those of two batches add up. Shape: -> (K,) float64"""
    boxes = _truths(target)
    count = np.bincount(boxes.label[counted(boxes, EVERY_SIZE)[0]], minlength=classes)
    if len(count) > classes:
        raise ShapeError(f"labels of {classes} classes end at {classes - 1}, got {len(count) - 1}")
    return torch.from_numpy(count.astype(np.float64)).to(target["boxes"].device)


def figures(rows: Tensor, truths: Tensor, classes: Sequence[str], rule: str = "coco") -> AveragePrecision:
    """Average precision of all rows, as ``average_precision`` has it, without sizes of objects.

    Raises DataError where no truth counts. Shape: rows (R, 14), truths (K,)
    """
    if rows.ndim != 2 or rows.shape[1] != COLUMNS or len(truths) != len(classes):
        given = f"{tuple(rows.shape)} and {tuple(truths.shape)}"
        raise ShapeError(f"rows must be (R, {COLUMNS}) and truths ({len(classes)},), got {given}")
    table = rows.detach().cpu().numpy().T
    (label, rank), outcomes = table[[0, 2]].astype(np.int64), table[3:].astype(np.int8)
    matched = Matched(label, table[1], rank, outcomes[0], outcomes[None, 1:])
    return ranked(matched, truths.cpu().numpy().astype(np.int64)[None], classes, rule)


def _truths(target: Mapping[str, Tensor]) -> Truths:
    _require(target, "target", ("labels", "crowd", "difficult"))
    image, label, boxes = _boxes(target)
    crowd, difficult = (_filled(target, name, torch.bool) for name in ("crowd", "difficult"))
    return Truths(image, label, boxes, crowd, difficult, areas(boxes))


def _boxes(tree: Mapping[str, Tensor]) -> tuple[Array, Array, Array]:
    """Image, label and corners of the rows that are boxes."""
    image = torch.nonzero(tree["labels"] >= 0)[:, 0].cpu().numpy()
    return image, _filled(tree, "labels", torch.int64), _filled(tree, "boxes", torch.float64)


def _filled(tree: Mapping[str, Tensor], name: str, kind: torch.dtype) -> Array:
    values: Array = tree[name].detach()[tree["labels"] >= 0].cpu().to(kind).numpy()
    return values


def _require(tree: Mapping[str, Tensor], what: str, names: Sequence[str]) -> None:
    expected = tree["boxes"].shape[:2]
    wrong = {name: tuple(tree[name].shape) for name in names if tree[name].shape != expected}
    if wrong or tree["boxes"].ndim != 3 or tree["boxes"].shape[2] != 4:
        given = {"boxes": tuple(tree["boxes"].shape)} | wrong
        raise ShapeError(f"{what}: expected boxes (B, N, 4) and {', '.join(names)} (B, N), got {given}")
