"""Figures of detectors, as frozen records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DetectFigures:
    """How well one member does; losses are means per image.

    ``iou`` is the mean overlap of the responsible predictions with their objects, ``recall`` the share of
    objects that they overlap by more than .5, both None without objects: figures of the training, before
    suppression.
    """

    loss: float
    box: float
    objectness: float
    classes: float
    iou: float | None
    recall: float | None


@dataclass(frozen=True)
class DetectScores:
    """Figures of every member. The boxes of an ensemble are fused, so that it has no loss: ``ensemble`` is
    None."""

    members: Mapping[str, DetectFigures]
    ensemble: None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "DetectScores":
        """The scores that ``to_dict`` wrote down."""
        keys = DetectFigures.__dataclass_fields__
        return cls({n: DetectFigures(**{k: row[k] for k in keys}) for n, row in plain["members"].items()})
