"""Detection: boxes of objects with a class and a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concord.errors import UsageError, suggestion
from concord.tasks.detection.boxes import Target
from concord.tasks.detection.decode import candidates, clipped
from concord.tasks.detection.fuse import FUSIONS
from concord.tasks.detection.head import Head
from concord.tasks.detection.scores import DetectFigures, DetectScores
from concord.tasks.detection.suppress import SUPPRESSIONS
from concord.tasks.task import Compared, Tree, Watched

OWN = 7  # numbers in the tally of a member
RIGHT = 0.5  # an overlap above it counts as found


@dataclass(frozen=True)
class Detect:
    """Outputs are what the head says; targets are boxes with labels, crowds and difficult ones marked.

    Target: {"boxes": (B, T, 4) x1, y1, x2, y2 in pixels, "labels": (B, T), -1 in rows that only fill up,
    "crowd" and "difficult": (B, T) bool}. Detections have a score above ``threshold``, at most ``most`` of an
    image; ``suppression`` is "hard", "linear" or "gaussian", ``fusion`` "weighted" or "merged". With
    ``one_class`` a box has its likeliest class alone.
    """

    head: Head
    threshold: float = 0.005
    most: int = 100
    suppression: str = "hard"
    fusion: str = "weighted"
    one_class: bool = False

    def __post_init__(self) -> None:
        for name, known in (("suppression", SUPPRESSIONS), ("fusion", FUSIONS)):
            if (given := getattr(self, name)) not in known:
                raise UsageError(f"{name} is {' or '.join(known)}, got {given!r}{suggestion(given, known)}")
        if not 0 <= self.threshold < 1 or self.most < 1:
            raise UsageError(
                f"a threshold is from 0 to below 1 and at least one box is kept, got {self.threshold:g} and"
                f" {self.most}"
            )

    def loss(self, output: Tree, target: Target) -> Tensor:
        """That of the head. Shape: -> (B,)"""
        return self.head.loss(output, target)

    def compare(self, output: Tree, target: Target | None) -> Compared:
        """The rows of the head: what members say of objectness and class where an object is."""
        return self.head.compare(output, target)

    def detections(self, output: Tree) -> dict[str, Tensor]:
        """Those of one member: boxes (B, D, 4) in pixels, scores and labels (B, D), with D = ``most``."""
        decoded = self.head.decode(output)
        found = candidates(decoded, self.threshold, one_class=self.one_class)
        return clipped(SUPPRESSIONS[self.suppression](found, self.most), decoded.size)

    def combine(self, outputs: Sequence[Tree]) -> dict[str, Tensor]:
        """Detections of the ensemble: those of all members, fused."""
        return FUSIONS[self.fusion]([self.detections(output) for output in outputs], self.most)

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return OWN * members

    def tally(self, outputs: Sequence[Tree], targets: Sequence[Target]) -> Tensor:
        """Of each member: images, objects, the three parts of the loss, overlaps, objects found."""
        rows = []
        for output, target in zip(outputs, targets, strict=True):
            parts = self.head.parts(output, target)
            overlaps = parts.overlap[parts.chosen]
            sums = [parts.box, parts.objectness, parts.classes, overlaps, overlaps > RIGHT]
            counts = [parts.box.new_tensor(n).double() for n in (len(parts.box), len(overlaps))]
            rows += [*counts, *(values.double().sum() for values in sums)]
        return torch.stack(rows)

    def scores(self, tally: Tensor, names: Sequence[str]) -> DetectScores:
        """Figures of every member."""
        rows = zip(names, tally.view(-1, OWN).tolist(), strict=True)
        return DetectScores({name: _figures(*row) for name, row in rows})

    def read(self, plain: Mapping[str, Any]) -> DetectScores:
        """The scores that ``to_dict`` wrote down."""
        return DetectScores.read(plain)

    def watched(self, scores: DetectScores) -> Watched:
        """The mean loss of the members."""
        losses = [figures.loss for figures in scores.members.values()]
        return Watched(sum(losses) / len(losses))

    def kept(self, output: Tree) -> Mapping[str, Tensor]:
        """The detections of every image."""
        return self.detections(output)


def _figures(
    images: float, objects: float, box: float, objectness: float, classes: float, overlap: float, found: float
) -> DetectFigures:
    """Means of one member."""
    losses = [part / images for part in (box, objectness, classes)]
    shares = (overlap / objects, found / objects) if objects else (None, None)
    return DetectFigures(sum(losses), *losses, *shares)
