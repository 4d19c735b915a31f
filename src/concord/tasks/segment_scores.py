"""Figures of a segmentation, as frozen records, from sums over pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class SegmentFigures:
    """How well one member does, over all pixels of all pictures together.

    Of a class that neither truth nor prediction has, IoU and Dice are None, and means leave it out. Both are
    0 for a class that is predicted and not there.
    """

    error: float  # wrong pixels: the pixel error
    nll: float  # nats per pixel
    iou: float  # mean over classes of intersection over union
    dice: float  # mean over classes of twice the intersection over the sum of both sizes
    class_iou: list[float | None]
    class_dice: list[float | None]
    v_rand: float | None  # mean over pictures with regions; None where not asked for, and in training

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "SegmentFigures":
        """The figures among plain values, which may hold more than these."""
        return cls(**{key: plain[key] for key in cls.__dataclass_fields__})


@dataclass(frozen=True)
class SegmentScores:
    """Figures of every member and of the ensemble; ``agreement``: the share of pixels on which all agree."""

    members: Mapping[str, SegmentFigures]
    ensemble: SegmentFigures
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "SegmentScores":
        """The scores that ``to_dict`` wrote down, among values that may be more."""
        rows = {name: SegmentFigures.read(row) for name, row in plain["members"].items()}
        return cls(rows, SegmentFigures.read(plain["ensemble"]), plain["agreement"])


def figures_of(row: Tensor, truth: Tensor, pixels: float, v_rand: float | None) -> SegmentFigures:
    """Those of one member. Shape: (1 + 2 K,), (K,)"""
    predicted, both = row[1:].view(2, -1)
    class_iou = _shares(both, truth + predicted - both)
    class_dice = _shares(2 * both, truth + predicted)
    return SegmentFigures(
        error=1 - float(both.sum()) / pixels,
        nll=float(row[0]) / pixels,
        iou=_mean(class_iou),
        dice=_mean(class_dice),
        class_iou=class_iou,
        class_dice=class_dice,
        v_rand=v_rand,
    )


def _shares(parts: Tensor, wholes: Tensor) -> list[float | None]:
    """Of each class; None where there is nothing to share."""
    return [a / b if b else None for a, b in zip(parts.tolist(), wholes.tolist(), strict=True)]


def _mean(shares: Sequence[float | None]) -> float:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known)
