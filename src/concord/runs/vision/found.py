"""What a run finds in image files: the class of every pixel, or boxes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from concord.files.text import printable


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """The class of every pixel of a file; ``error`` says why it could not be read, the rest is empty then.

    ``shares``: of the pixels, those of each class. ``confidence``: mean probability of the classes named.
    """

    file: str
    shares: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    error: str | None = None
    classes: Tensor | None = field(default=None, repr=False)  # (H, W) uint8 or int64

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width."""
        return None if self.classes is None else (self.classes.shape[0], self.classes.shape[1])

    def summary(self) -> str:
        """``cell 78.1 %, membrane 21.9 %``"""
        return ", ".join(f"{printable(name)} {100 * share:.1f} %" for name, share in self.shares.items())

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        largest = max(self.shares, key=lambda name: self.shares[name]) if self.shares else None
        row: dict[str, Any] = {"file": self.file, "label": largest, "confidence": self.confidence}
        row["shares"] = dict(self.shares)
        return row if self.error is None else {**row, "error": self.error}


@dataclass(frozen=True)
class Box:
    """One object: its class, how sure of it the members are, and x1, y1, x2, y2 in pixels of the file."""

    label: str
    confidence: float
    corners: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "confidence": self.confidence, "box": list(self.corners)}


@dataclass(frozen=True)
class BoxPrediction:
    """The objects of a file, surest first; ``error`` says why it could not be read."""

    file: str
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] | None = None  # height and width
    error: str | None = None

    def summary(self) -> str:
        """``RBC 12, WBC 1``"""
        counts = Counter(box.label for box in self.boxes)
        return ", ".join(f"{printable(name)} {count}" for name, count in counts.items()) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        first = self.boxes[0] if self.boxes else None
        row: dict[str, Any] = {
            "file": self.file,
            "label": first and first.label,
            "confidence": first and first.confidence,
            "boxes": [box.to_dict() for box in self.boxes],
        }
        return row if self.error is None else {**row, "error": self.error}
