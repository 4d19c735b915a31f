"""Figures of detectors, as frozen records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from concord.tasks.detection.precision import AveragePrecision


@dataclass(frozen=True)
class DetectFigures:
    """How well one member does, or the ensemble, whose fused boxes have no loss.

    Average precision is that of COCO at IoU .5 (``ap50``) and as the mean of .5 to .95 (``ap``), of VOC 2007
    (``voc07``) and of VOC 2010 (``area``); ``classes`` has all four of every class with an object. They need
    all samples at once, and are None of the batches of a training. Losses are means per image; ``iou`` is the
    mean overlap of the responsible predictions with their objects, before suppression, ``recall`` the share
    of these objects that they overlap by more than .5: None without objects.
    """

    ap50: float | None = None
    ap: float | None = None
    voc07: float | None = None
    area: float | None = None
    classes: Mapping[str, Mapping[str, float]] | None = None
    loss: float | None = None
    box_loss: float | None = None
    objectness_loss: float | None = None
    class_loss: float | None = None
    iou: float | None = None
    recall: float | None = None

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "DetectFigures":
        """The figures among plain values, which may hold more than these."""
        return cls(**{key: plain[key] for key in cls.__dataclass_fields__})


@dataclass(frozen=True)
class DetectScores:
    """Figures of every member and of the ensemble."""

    members: Mapping[str, DetectFigures]
    ensemble: DetectFigures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "DetectScores":
        """The scores that ``to_dict`` wrote down, among values that may be more."""
        members = {name: DetectFigures.read(row) for name, row in plain["members"].items()}
        return cls(members, DetectFigures.read(plain["ensemble"]))


def figures_of_sums(row: list[float]) -> dict[str, Any]:
    """Figures of the sums of a member: images, objects, three parts of the loss, overlaps, found objects."""
    images, objects, *parts, overlap, found = row
    box, objectness, classes = (part / images for part in parts)
    return {
        "loss": box + objectness + classes,
        "box_loss": box,
        "objectness_loss": objectness,
        "class_loss": classes,
        "iou": overlap / objects if objects else None,
        "recall": found / objects if objects else None,
    }


def figures_of_ranks(found: AveragePrecision) -> dict[str, Any]:
    """Figures of average precision, of all classes and of each."""
    means = found.means
    mean = {"ap50": means["coco50"], "ap": means["coco"], "voc07": means["voc07"], "area": means["area"]}
    return {**mean, "classes": {name: dict(row) for name, row in found.classes.items()}}
