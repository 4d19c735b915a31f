"""Detection: boxes of objects with a class and a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import UsageError, suggestion
from concord.tasks.detection import padded
from concord.tasks.detection.boxes import Target
from concord.tasks.detection.decode import Detections, candidates, clipped
from concord.tasks.detection.fuse import FUSIONS
from concord.tasks.detection.head import Head
from concord.tasks.detection.scores import DetectFigures, DetectScores, figures_of_ranks, figures_of_sums
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
    ``one_class`` a box has its likeliest class alone. ``names`` are those of the classes, else numbers.
    """

    head: Head
    threshold: float = 0.005
    most: int = 100
    suppression: str = "hard"
    fusion: str = "weighted"
    one_class: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("suppression", SUPPRESSIONS), ("fusion", FUSIONS)):
            if (given := getattr(self, name)) not in known:
                raise UsageError(f"{name} is {' or '.join(known)}, got {given!r}{suggestion(given, known)}")
        if not 0 <= self.threshold < 1 or self.most < 1:
            raise UsageError(
                f"a threshold is from 0 to below 1 and at least one box is kept, got {self.threshold:g} and"
                f" {self.most}"
            )
        if self.names and len(self.names) != self.head.classes:
            raise UsageError(f"the head has {self.head.classes} classes, got {len(self.names)} names")

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
        return self._fused([self.detections(output) for output in outputs])

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return self.head.classes + OWN * members

    def tally(self, outputs: Sequence[Tree], targets: Sequence[Target]) -> Tensor:
        """Objects of each class; sums of each member, see ``figures_of_sums``."""
        rows = [padded.truths(targets[0], self.head.classes)]
        for output, target in zip(outputs, targets, strict=True):
            parts = self.head.parts(output, target)
            overlaps = parts.overlap[parts.chosen]
            counts = overlaps.new_tensor([len(parts.box), len(overlaps)])
            sums = (parts.box, parts.objectness, parts.classes, overlaps, overlaps > RIGHT)
            rows.append(torch.cat([counts.double(), torch.stack([part.double().sum() for part in sums])]))
        return torch.cat(rows)

    def scores(self, tally: Tensor, names: Sequence[str]) -> DetectScores:
        """What sums can say of every member."""
        return self._scores(tally, names, [{}] * (len(names) + 1))

    def rows(self, outputs: Sequence[Tree], targets: Sequence[Target]) -> Tensor:
        """The detections of every member and of the ensemble, matched, behind the number of who has them.

        Shape: -> (R, 1 + 14)
        """
        found = [self.detections(output) for output in outputs]
        parts = [
            padded.rows(some, target)
            for some, target in zip((*found, self._fused(found)), (*targets, targets[0]), strict=True)
        ]
        return torch.cat([F.pad(part, (1, 0), value=i) for i, part in enumerate(parts)])

    def ranked(self, tally: Tensor, rows: Tensor, names: Sequence[str]) -> DetectScores:
        """Average precision of every member and of the ensemble, beside what sums can say.

        Raises DataError where no sample has an object.
        """
        truths = tally[: self.head.classes]
        each = [
            figures_of_ranks(padded.figures(rows[rows[:, 0] == i, 1:], truths, self._names()))
            for i in range(len(names) + 1)
        ]
        return self._scores(tally, names, each)

    def read(self, plain: Mapping[str, Any]) -> DetectScores:
        """The scores that ``to_dict`` wrote down."""
        return DetectScores.read(plain)

    def watched(self, scores: DetectScores) -> Watched:
        """COCO's average precision of the ensemble at IoU .5; UsageError for scores of sums alone."""
        if scores.ensemble.ap50 is None:
            raise UsageError("average precision is not a sum; watch scores that ``ranked`` made")
        return Watched(scores.ensemble.ap50, less_is_better=False)

    def kept(self, output: Tree) -> Mapping[str, Tensor]:
        """The detections of every image."""
        return self.detections(output)

    def _fused(self, found: Sequence[Detections]) -> dict[str, Tensor]:
        return FUSIONS[self.fusion](found, self.most)

    def _names(self) -> Sequence[str]:
        return self.names or [str(k) for k in range(self.head.classes)]

    def _scores(
        self, tally: Tensor, names: Sequence[str], ranks: Sequence[Mapping[str, Any]]
    ) -> DetectScores:
        *members, ensemble = ranks
        sums = tally[self.head.classes :].view(-1, OWN).tolist()
        rows = zip(names, members, sums, strict=True)
        return DetectScores(
            {name: DetectFigures(**own, **figures_of_sums(row)) for name, own, row in rows},
            DetectFigures(**ensemble),
        )
