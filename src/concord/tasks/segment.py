"""Segmentation: a class for every pixel.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015, arXiv:1505.04597, section 3, equation 1.
Departure: their energy is a sum over pixels, the loss here a mean, so that it does not grow with the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import DataError, ShapeError
from concord.tasks.segment_scores import SegmentScores, figures_of
from concord.tasks.task import Compared, Watched

UNCOUNTED = -1  # the class of a pixel that counts for nothing
HEAD = 2  # pixels, pixels on which all agree
Target = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Segment:
    """Outputs are logits (B, K, H', W'), targets classes (B, H, W), -1 where a pixel counts for nothing.

    Where the output is smaller, as without padding, the middle of the target counts. A target may also be
    {"classes": (B, H, W), "weights": (B, H, W)}; weights count in the loss alone. ``regions`` is the class
    whose connected regions V_rand compares in evaluation, for two classes at the threshold 1/2; None: it is
    not computed.
    """

    classes: int
    regions: int | None = None

    def loss(self, output: Tensor, target: Target) -> Tensor:
        """1/n sum_p w_p (-ln softmax(output_p)[target_p]) over the n pixels of a picture that count.

        The sum is not divided by that of the weights, which would take back what a weight map is for: that
        pictures with many borders count more. 0 for a picture without a pixel that counts. Shape: -> (B,)

        Raises ShapeError for other shapes, DataError for values that are not classes.
        """
        classes, weights = self._parts(output, target)
        nats = _nats(output.float(), classes)
        if weights is not None:
            nats = nats * weights
        return nats.sum((1, 2)) / _counted(classes).clamp(min=1)

    def compare(self, output: Tensor, target: Target | None) -> Compared:
        """One row for each pixel that counts; those of a picture weigh 1 together."""
        rows = output.float().movedim(1, -1)  # (B, H', W', K)
        if target is None:
            rows = rows.flatten(0, 2)
            return Compared(rows, torch.full_like(rows[:, 0], 1 / output[0, 0].numel()))
        classes, _ = self._parts(output, target)
        there = classes != UNCOUNTED
        share = (1 / _counted(classes).float()).view(-1, 1, 1).expand(classes.shape)
        return Compared(rows[there], share[there], classes[there])

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """ln of the mean of the probabilities of each pixel. Shape: M times (B, K, H', W') -> the same

        Raises ShapeError for members whose outputs differ in size.
        """
        _require_one_size(outputs)
        each = [output.float().log_softmax(1) for output in outputs]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - log(len(each))

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return HEAD + self.classes + (members + 1) * self._width

    def tally(self, outputs: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
        """Pixels and how many all agree on; true sizes of classes; then of each member and the ensemble nats,
        predicted sizes of classes, and sizes of the intersections. ShapeError as ``combine`` raises it."""
        _require_one_size(outputs)
        classes, _ = self._parts(outputs[0], targets[0])
        there = classes != UNCOUNTED
        votes = [_likeliest(output) for output in outputs]
        agreed = torch.stack([vote == votes[0] for vote in votes]).all(0) & there
        tables = [self._table(classes, vote) for vote in votes]
        nats = [_nats(output.double(), classes).sum() for output in outputs]
        if len(outputs) > 1:
            ensemble = self.combine(outputs)
            tables.append(self._table(classes, _likeliest(ensemble)))
            nats.append(_nats(ensemble.double(), classes).sum())
        else:  # an ensemble of one is that one
            tables, nats = 2 * tables, 2 * nats
        own = [
            torch.cat([nats_[None], table.sum(0), table.diagonal()])
            for nats_, table in zip(nats, tables, strict=True)
        ]
        head = torch.stack([there.sum(), agreed.sum()])
        return torch.cat([head.double(), tables[0].sum(1), *own])

    def scores(self, tally: Tensor, names: Sequence[str]) -> SegmentScores:
        """Scores of every member and of the ensemble; DataError where no pixel counts."""
        return self._scores(tally, names, [None] * (len(names) + 1))

    def rows(self, outputs: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
        """V_rand of every picture, NaN where it has no regions. Shape: -> (B, M + 1), or (B, 0) without"""
        classes, _ = self._parts(outputs[0], targets[0])
        if self.regions is None:
            return torch.zeros(len(classes), 0, dtype=torch.float64)
        from concord.tasks.rand import rand_score  # scipy takes long to import

        every = (_likeliest(output) for output in (*outputs, self.combine(outputs)))
        true, *votes = ((x == self.regions).cpu().numpy() for x in (classes, *every))
        columns = [[rand_score(*pair) for pair in zip(true, vote, strict=True)] for vote in votes]
        values = [[score.both if score else nan for score in column] for column in columns]
        return torch.tensor(values, dtype=torch.float64).T

    def ranked(self, tally: Tensor, rows: Tensor, names: Sequence[str]) -> SegmentScores:
        """The scores with V_rand, its mean over the pictures that have regions."""
        columns = rows if rows.shape[1] else rows.new_full((1, len(names) + 1), nan)
        means = [None if mean != mean else mean for mean in columns.nanmean(0).tolist()]
        return self._scores(tally, names, means)

    def _scores(self, tally: Tensor, names: Sequence[str], v_rand: Sequence[float | None]) -> SegmentScores:
        pixels, agreed = tally[:HEAD].tolist()
        if not pixels:
            raise DataError(
                "no pixel of these masks counts: expected a class for at least one, got -1 for all"
            )
        truth = tally[HEAD : HEAD + self.classes]
        rows = zip(tally[HEAD + self.classes :].view(-1, self._width), v_rand, strict=True)
        figures = [figures_of(row, truth, pixels, mean) for row, mean in rows]
        return SegmentScores(dict(zip(names, figures[:-1], strict=True)), figures[-1], agreed / pixels)

    def read(self, plain: Mapping[str, Any]) -> SegmentScores:
        """The scores that ``to_dict`` wrote down."""
        return SegmentScores.read(plain)

    def watched(self, scores: SegmentScores) -> Watched:
        """The pixel error of the ensemble."""
        return Watched(scores.ensemble.error)

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """Nothing: the maps of a test set are as large as its pictures, and of as many sizes."""
        return {}

    @property
    def _width(self) -> int:
        """Numbers of each member in a tally."""
        return 1 + 2 * self.classes

    def _table(self, classes: Tensor, votes: Tensor) -> Tensor:
        """How many pixels that count have each true and each predicted class. Shape: -> (K, K) float64"""
        cells = self.classes**2
        cell = torch.where(classes == UNCOUNTED, cells, classes * self.classes + votes)
        return torch.bincount(cell.flatten(), minlength=cells + 1)[:cells].double().view(-1, self.classes)

    def _parts(self, output: Tensor, target: Target) -> tuple[Tensor, Tensor | None]:
        """Classes and weights of the pixels of the output; errors as ``loss`` names them."""
        classes = target if isinstance(target, Tensor) else target["classes"]
        weights = None if isinstance(target, Tensor) else target["weights"]
        self._require(output, classes, weights)
        middle = [_middle(x, output) for x in (classes, weights) if x is not None]
        return middle[0].long(), middle[1] if weights is not None else None

    def _require(self, output: Tensor, classes: Tensor, weights: Tensor | None) -> None:
        if classes.ndim != 3 or (weights is not None and weights.shape != classes.shape):
            given = (
                tuple(classes.shape) if weights is None else f"{tuple(classes.shape)}, {tuple(weights.shape)}"
            )
            raise ShapeError(f"expected masks (B, H, W), and weights of that shape if any, got {given}")
        b, h, w = classes.shape
        fits = output.ndim == 4 and output.shape[:2] == (b, self.classes) and output[0, 0].numel()
        if not fits or output.shape[2] > h or output.shape[3] > w:
            wanted = f"({b}, {self.classes}, H, W) with H at most {h} and W at most {w}"
            raise ShapeError(f"a member must give logits {wanted} for these masks, got {tuple(output.shape)}")
        if classes.is_floating_point():
            raise DataError(f"masks hold whole numbers, the classes of pixels, got {classes.dtype}")
        low, high = (int(end) for end in classes.aminmax())
        if low < UNCOUNTED or high >= self.classes:
            cure = "; divide a mask of 0 and 255 by 255" if high == 255 and self.classes == 2 else ""
            raise DataError(
                f"masks hold classes from 0 to {self.classes - 1}, and -1 for pixels that do not count, got"
                f" {low} to {high}{cure}"
            )


def _likeliest(logits: Tensor) -> Tensor:
    """The first of the classes with the highest logit, as ``argmax`` gives it, which takes ten times as long
    on a CPU. Shape: (B, K, H, W) -> (B, H, W)"""
    return logits.max(1).indices


def _require_one_size(outputs: Sequence[Tensor]) -> None:
    if len({output.shape for output in outputs}) > 1:
        given = ", ".join("x".join(map(str, output.shape[2:])) for output in outputs)
        raise ShapeError(
            f"members give maps of different sizes ({given}), which cannot be compared: train networks that"
            " pad alike, and wrap those without padding into concord.layers.tiles.Tiled"
        )


def _nats(logits: Tensor, classes: Tensor) -> Tensor:
    """-ln p of the class of each pixel, 0 where it does not count. Shape: (B, K, H, W) -> (B, H, W)

    Not summed up here: on a GPU the sum that ``cross_entropy`` makes depends on the order of threads.
    """
    return F.cross_entropy(logits, classes, reduction="none", ignore_index=UNCOUNTED)


def _middle(x: Tensor, output: Tensor) -> Tensor:
    """The middle of a map, as large as the output. Shape: (B, H, W) -> (B, H', W')"""
    top, left = ((a - b) // 2 for a, b in zip(x.shape[1:], output.shape[2:], strict=True))
    return x[:, top : top + output.shape[2], left : left + output.shape[3]]


def _counted(classes: Tensor) -> Tensor:
    """Pixels of each picture that count. Shape: (B, H', W') -> (B,)"""
    return (classes != UNCOUNTED).sum((1, 2))
