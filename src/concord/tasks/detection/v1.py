"""YOLO v1: every cell names one class and several boxes, all as plain numbers.

Source: J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You only look once: unified, real-time object
detection", 2015, section 2.2, equation 3; darknet's detection_layer.c with the settings of yolov1.cfg.

Departures: the loss is half of equation 3, so that its gradient is darknet's delta; boxes of any area above
0 count, not from .005 of each side on; crowds and difficult boxes are ignored, and so are the cells in which
their centres lie, unless an object has its centre there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import ShapeError, UsageError
from concord.tasks.detection.assign import marked, owners
from concord.tasks.detection.boxes import Target, Truths, corners, overlap, truths
from concord.tasks.detection.head import Decoded, Parts, everywhere, shares
from concord.tasks.task import Compared


class Numbers(NamedTuple):
    """The output of a batch, cell by cell; boxes are x, y in the cell, sqrt w, sqrt h in shares of the image.

    Shape: classes (B, S S, K), confidence (B, S S, boxes), boxes (B, S S, boxes, 4)
    """

    classes: Tensor
    confidence: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class YoloV1:
    """S x S cells, each with ``boxes`` boxes and K class probabilities; images have one ``size`` (H, W).

    Output: (B, S S (K + 5 boxes)): the classes of all cells, then the confidences, then the boxes. Where two
    objects have their centres in one cell, the first owns it, as in darknet's ``fill_truth_region``.
    """

    classes: int
    cells: int = 7
    boxes: int = 2
    size: tuple[int, int] = (448, 448)
    coordinates: float = 5.0  # weight of the boxes
    nothing: float = 0.5  # weight of the confidence where no object is

    def __post_init__(self) -> None:
        if min(self.classes, self.cells, self.boxes, *self.size) < 1:
            raise UsageError(f"classes, cells, boxes and sizes are at least 1, got {self}")

    def parts(self, output: Tensor, target: Target) -> Parts:
        """The loss in parts, each half a sum of squares.

            1/2 5  sum_obj (x - x')^2 + (y - y')^2 + (sqrt w - sqrt w')^2 + (sqrt h - sqrt h')^2
            1/2    sum_obj (c - IoU)^2 + 1/2 .5 sum_rest c^2
            1/2    sum_cells with an object, sum_k (p_k - [k is the class])^2

        obj is the box of a cell with an object that has the highest IoU with it, or where all have none the
        one whose x, y, w, h are nearest. Raises ShapeError, DataError.

        Shape: (B, S S (K + 5 boxes)) -> parts (B,)
        """
        numbers, given = self._numbers(output), truths(target, self.size, self.classes)
        cell, wanted = self._wanted(given)
        chosen = _first(cell, given.objects)
        offered = _at(numbers.boxes, cell)  # (B, T, boxes, 4)
        with torch.no_grad():
            best, found = self._responsible(offered, wanted)
        own = offered.gather(2, best[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
        aim = torch.cat([wanted[..., :2], wanted[..., 2:].sqrt()], -1)
        confidence = _at(numbers.confidence, cell).gather(2, best[..., None])[..., 0]
        box = self.coordinates / 2 * ((own - aim).square().sum(-1) * chosen).sum(1)
        right = ((confidence - found).square() * chosen).sum(1)
        rest = self._rest(numbers.confidence, cell, best, chosen, given).square().sum((1, 2))
        named = _at(numbers.classes, cell) - F.one_hot(given.labels, self.classes)
        classes = (named.square().sum(-1) * chosen).sum(1) / 2
        return Parts(box, (right + self.nothing * rest) / 2, classes, found, chosen)

    def loss(self, output: Tensor, target: Target) -> Tensor:
        """The sum of ``parts``. Shape: -> (B,)"""
        return self.parts(output, target).total

    def decode(self, output: Tensor) -> Decoded:
        """Boxes ((x + column) / S W, (y + row) / S H, w W, h H), scores confidence times class probability.

        Shape: -> boxes (B, S S boxes, 4), scores (B, S S boxes, K)
        """
        numbers = self._numbers(output)
        cell = torch.arange(self.cells**2, device=output.device)
        corner = torch.stack([cell % self.cells, cell // self.cells], -1)[:, None]  # (S S, 1, 2)
        boxes = self._shares(numbers.boxes, corner) * numbers.boxes.new_tensor(self.size[::-1] * 2)
        scores = numbers.confidence[..., None] * numbers.classes[:, :, None]
        return Decoded(corners(boxes).flatten(1, 2), scores.flatten(1, 2), self.size)

    def compare(self, output: Tensor, target: Target | None) -> Compared:
        """The highest confidence and the class probabilities of every cell with an object, 1 per sample.

        They are numbers, not logits: costs between numbers (``l2``, ``l1``) suit them. The boxes of a cell
        specialise in each member in its own way, so that only their highest confidence is compared. Without
        a target the rows are those of all cells. Shape: rows (R, 1 + K)
        """
        numbers = self._numbers(output)
        rows = torch.cat([numbers.confidence.amax(-1, keepdim=True), numbers.classes], -1)
        if target is None:
            return everywhere(rows)
        given = truths(target, self.size, self.classes)
        cell, _ = self._wanted(given)
        chosen = _first(cell, given.objects)
        return Compared(_at(rows, cell)[chosen], shares(chosen)[chosen])

    def _numbers(self, output: Tensor) -> Numbers:
        cells, wanted = self.cells**2, self.cells**2 * (self.classes + 5 * self.boxes)
        if output.ndim != 2 or output.shape[1] != wanted:
            raise ShapeError(f"a member must give numbers (B, {wanted}), got {tuple(output.shape)}")
        parts = [cells * self.classes, cells * self.boxes, cells * self.boxes * 4]
        classes, confidence, boxes = output.float().split(parts, 1)
        return Numbers(
            classes.unflatten(1, (cells, -1)),
            confidence.unflatten(1, (cells, -1)),
            boxes.unflatten(1, (cells, self.boxes, 4)),
        )

    def _wanted(self, given: Truths) -> tuple[Tensor, Tensor]:
        """The cell of every truth (B, T), and x, y in it, w, h in shares of the image (B, T, 4)."""
        part = given.boxes / given.boxes.new_tensor(self.size[::-1]).repeat(2)
        spread = part[..., :2] * self.cells
        at = spread.long().clamp(0, self.cells - 1)
        return at[..., 1] * self.cells + at[..., 0], torch.cat([spread - at, part[..., 2:]], -1)

    def _shares(self, boxes: Tensor, corner: Tensor) -> Tensor:
        """x, y, w, h in shares of the image, from what cells at that column and row give."""
        return torch.cat([(boxes[..., :2] + corner) / self.cells, boxes[..., 2:].square()], -1)

    def _responsible(self, offered: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Which box of the cell answers for a truth, and its IoU. Shape: -> (B, T) twice"""
        # in both the cell's own corner is 0: overlap and distance do not depend on where the cell is
        predicted = self._shares(offered, offered.new_zeros(2))
        truth = torch.cat([wanted[..., :2] / self.cells, wanted[..., 2:]], -1)[:, :, None]
        shared = overlap(predicted, truth)  # (B, T, boxes)
        apart = (predicted - truth).square().sum(-1)
        highest, best = shared.max(-1)
        best = torch.where(highest > 0, best, apart.argmin(-1))
        return best, highest

    def _rest(self, confidence: Tensor, cell: Tensor, best: Tensor, chosen: Tensor, given: Truths) -> Tensor:
        """Confidences of boxes that answer for nothing, 0 elsewhere. Shape: -> (B, S S, boxes)"""
        answers = marked(cell * self.boxes + best, chosen, self.cells**2 * self.boxes).view_as(confidence)
        unsure = marked(cell, given.ignored, self.cells**2)[..., None] & ~answers.any(2, keepdim=True)
        return torch.where(answers | unsure, 0.0, confidence)


def _first(cell: Tensor, objects: Tensor) -> Tensor:
    """Objects that are the first of their cell. Shape: (B, T) -> (B, T) bool"""
    return owners(cell.flip(1), objects.flip(1))[0].flip(1)


def _at(values: Tensor, cell: Tensor) -> Tensor:
    """Values (B, S S, ...) of the cell of every truth. Shape: -> (B, T, ...)"""
    index = cell.view(*cell.shape, *(1,) * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)
