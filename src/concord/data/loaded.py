"""Data with parts of their own, as ``Ensemble.fit`` takes them: images of classes, with masks, with boxes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from concord.data.detection import load as boxes
from concord.data.detection.augment import BoxAugment
from concord.data.segmentation import load as masks
from concord.data.segmentation.border import Border
from concord.data.segmentation.crops import Crops
from concord.data.segmentation.table import Code
from concord.data.splits import TEST, VALID, Splits
from concord.errors import UsageError

__all__ = ["Border", "BoxAugment", "Crops", "Loaded", "load_boxes", "load_masks"]

Loaded = Splits | masks.Parts | boxes.Parts


def load_masks(
    source: str | Path,
    *,
    crops: Crops = Crops(),
    valid: float | str = VALID,
    test: float | str = TEST,
    seed: int = 0,
    limit: int | None = None,
    classes: Mapping[str, Code] | None = None,
    border: Border | None = None,
) -> masks.Parts:
    """Images with masks from folders, a TIFF stack or a COCO file, as training, validation and test parts.

    Training samples are ``crops``, evaluation sees whole images. ``valid`` and ``test`` are fractions, or
    names such as "24-29"; a part that the source has itself is used. ``classes``: name -> value or (r, g, b)
    in the masks. ``border`` gives weights to pixels between objects. Raises DataError that names files,
    UsageError for options that describe no training.
    """
    if not isinstance(crops, Crops):
        raise UsageError(f"crops is such as Crops(size=256), got {crops!r}")
    if classes is not None and not isinstance(classes, Mapping):
        raise UsageError(f"classes is a mapping of names to values or colours in the masks, got {classes!r}")
    return masks.load(masks.Wanted(str(source), crops, valid, test, seed, limit, classes, border))


def load_boxes(
    source: str | Path,
    *,
    size: int = boxes.SIDE,
    augment: BoxAugment | None = None,
    valid: float = VALID,
    test: float = TEST,
    seed: int = 0,
    limit: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> boxes.Parts:
    """Images with boxes in the VOC, YOLO or COCO format, as training, validation and test parts.

    All images lie on one canvas; ``size`` is its longest side, a multiple of 32. ``augment``: random changes
    of training images. Raises DataError that names files and lines, UsageError for other sizes.
    """
    found = boxes.load(boxes.Wanted(str(source), size, valid, test, seed, limit, classes=classes))
    return replace(found, train=replace(found.train, augment=augment))
