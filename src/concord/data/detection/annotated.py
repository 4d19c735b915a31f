"""What a reader finds: images, each with a function that reads its annotation, and what is wrong with them.

A reader continues after a fault and collects it; whether faults end the job is decided by the caller.

Corners are x1, y1, x2, y2 in pixels of the image as displayed, from 0 at its left and upper edge, so that a
box of width w spans x1 to x1 + w. The numbers of VOC files are taken as they are; files that count pixels
from 1, as the devkit of the challenge does, are off by at most one pixel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concord.errors import DataError
from concord.files.text import printable

Corners = tuple[float, float, float, float]
PARTS = {"train": "train", "training": "train", "val": "valid", "valid": "valid", "validation": "valid"}
PARTS |= {"dev": "valid", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Marked:
    """One object as an annotation has it."""

    label: str
    corners: Corners
    where: str  # file and line
    crowd: bool = False
    difficult: bool = False


@dataclass(frozen=True)
class Item:
    """An image and the function that reads its annotation, given the width and height of the image."""

    image: Path
    read: Callable[[int, int], list[Marked]]
    id: int | None = None  # of the image in a COCO file


@dataclass(frozen=True)
class Found:
    """The parts of a source; ``classes`` is None where no file lists them."""

    format: str
    parts: Mapping[str, Sequence[Item]]
    classes: tuple[str, ...] | None = None
    faults: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()  # numbers of the classes in a COCO file


def inside(corners: Corners, width: int, height: int, where: str) -> Corners:
    """The corners clipped to the image; DataError for a box that cannot be one of this image."""
    x1, y1, x2, y2 = corners
    if not all(map(math.isfinite, corners)):
        raise DataError(f"{where}: the box {shown(corners)} holds a number that is not finite; correct it")
    for axis, low, high in (("x", x1, x2), ("y", y1, y2)):
        if high < low:
            raise DataError(
                f"{where}: the box {shown(corners)} is in the wrong order: {axis}max {high:g} is below"
                f" {axis}min {low:g}; expected xmin, ymin, xmax, ymax with the smaller ones first"
            )
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise DataError(
            f"{where}: the box {shown(corners)} lies outside the image of {width}x{height} pixels;"
            " correct or remove it"
        )
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def refuse_normalised(corners: Corners, where: str) -> None:
    """DataError for a box within the first pixel, which is one in fractions of the image."""
    if max(corners) <= 1 and any(corners):
        raise DataError(
            f"{where}: the box {shown(corners)} seems to be in fractions of the image, expected pixels;"
            " multiply by width and height, or write the set in the YOLO format"
        )


def shown(corners: Sequence[float]) -> str:
    """``(504, 337, 504, 337)``"""
    return f"({', '.join(f'{value:g}' for value in corners)})"


def number(text: str | None, what: str, where: str) -> float:
    """A number that a file has as text; DataError for anything else."""
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"{where}: {what} must be a number, got {printable(text or '')!r}") from None
