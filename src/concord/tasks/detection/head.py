"""What every head has: the parts of a loss, boxes with scores, and the rows on which members meet."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from concord.tasks.detection.boxes import Target
from concord.tasks.task import Compared, Tree


class Parts(NamedTuple):
    """The loss of every sample in three parts, and how far the responsible predictions are right.

    Shape: box, objectness, classes (B,); overlap (B, T) IoU with each truth; chosen (B, T), the truths that
    have a responsible prediction
    """

    box: Tensor
    objectness: Tensor
    classes: Tensor
    overlap: Tensor
    chosen: Tensor

    @property
    def total(self) -> Tensor:
        """The loss. Shape: -> (B,)"""
        return self.box + self.objectness + self.classes


class Decoded(NamedTuple):
    """Every box that a network predicts, before anything is left out.

    ``size`` is the height and width of the image.

    Shape: boxes (B, N, 4) as x1, y1, x2, y2 in pixels; scores (B, N, K)
    """

    boxes: Tensor
    scores: Tensor
    size: tuple[int, int]


class Head(Protocol):
    """What the raw output of a network means."""

    @property
    def classes(self) -> int: ...
    def parts(self, output: Tree, target: Target) -> Parts: ...
    def loss(self, output: Tree, target: Target) -> Tensor: ...  # -> (B,)
    def decode(self, output: Tree) -> Decoded: ...
    def compare(self, output: Tree, target: Target | None) -> Compared: ...


def shares(chosen: Tensor) -> Tensor:
    """1 over the number of places of a sample, at each of these; those of a sample add up to 1.

    Shape: (B, T) bool -> (B, T)
    """
    return chosen / chosen.sum(1, keepdim=True).clamp(min=1)


def everywhere(rows: Tensor) -> Compared:
    """All rows of all samples, 1 per sample together. Shape: (B, N, K) -> rows (B N, K)"""
    return Compared(rows.flatten(0, 1), torch.full_like(rows[..., 0], 1 / rows.shape[1]).flatten())
