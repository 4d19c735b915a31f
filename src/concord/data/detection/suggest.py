"""Anchors for the boxes of a data set, with what is needed to judge their number."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from concord.data.detection.anchors import RESTARTS, anchors, curve
from concord.data.detection.layout import found
from concord.data.detection.read import listing, refused, sides
from concord.errors import DataError, UsageError
from concord.files.documents import Document
from concord.files.paths import expanded
from concord.files.text import printable

FEWEST = 10  # numbers of anchors that the curve shows at least
LARGEST = 8192  # pixels


@dataclass(frozen=True, eq=False)
class Suggested(Document):
    """Anchors (width, height) by rising area, in pixels of the files or at ``size``.

    ``mean_iou`` is the mean over all boxes of the IoU with the nearest anchor; ``curve`` has it for 1, 2, ...
    anchors. ``sides`` (n, 2) are the widths and heights of the boxes.
    """

    source: str
    part: str
    size: int | None  # pixels of the longest side of every image; None: the files as they are
    centre: str
    anchors: tuple[tuple[float, float], ...]
    mean_iou: float
    curve: tuple[float, ...]
    sides: Tensor = field(repr=False)
    notices: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "part": self.part,
            "boxes": len(self.sides),
            "size": self.size,
            "centre": self.centre,
            "anchors": [list(pair) for pair in self.anchors],
            "mean_iou": self.mean_iou,
            "curve": list(self.curve),
            "notices": list(self.notices),
        }


def suggested(
    source: str,
    k: int,
    *,
    size: int | None = None,
    centre: str = "mean",
    part: str = "all",
    seed: int = 0,
    restarts: int = RESTARTS,
) -> Suggested:
    """The anchors of the boxes of one part, or of all.

    Raises DataError for annotations that are damaged and for fewer different boxes than anchors, UsageError
    for a part that the source does not have.
    """
    if size is not None and not 1 <= size <= LARGEST:
        raise UsageError(f"size must be 1 to {LARGEST} pixels, got {size}")
    read = listing(expanded(source), found(source))
    if read.faults:
        raise DataError(refused(read.faults, source))
    if part != "all" and not read.parts.get(part):
        named = ", ".join(name for name, samples in read.parts.items() if samples)
        raise UsageError(f"{printable(source)} has no part {part!r}; it has {named}: name one, or all")
    samples = [s for name, of_part in read.parts.items() if part in ("all", name) for s in of_part]
    boxes = sides(samples, size)
    best = anchors(boxes, k, centre=centre, seed=seed, restarts=restarts)
    shown = curve(boxes, max(k, FEWEST), centre=centre, seed=seed, restarts=restarts)
    return Suggested(
        source, part, size, centre, best.sides, best.mean_iou, shown, boxes, tuple(read.dropped.notices())
    )
