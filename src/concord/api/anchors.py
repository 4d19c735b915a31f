"""Sizes of anchors for a detector, from the boxes of a data set."""

from pathlib import Path

from concord.data.detection.anchors import RESTARTS
from concord.data.detection.suggest import Suggested, suggested
from concord.report.anchors_page import write_anchors

__all__ = ["anchors"]


def anchors(
    source: str | Path,
    k: int = 5,
    *,
    size: int | None = None,
    centre: str = "mean",
    part: str = "all",
    seed: int = 0,
    restarts: int = RESTARTS,
    to: str | Path | None = None,
) -> Suggested:
    """``k`` anchors by k-means with 1 - IoU, in pixels of the files or of images of longest side ``size``.

    ``source`` is annotated in the VOC, YOLO or COCO format. With ``to`` a page (.html) or figure (.svg) is
    written: widths and heights, anchors, and the mean IoU against their number. Raises DataError for damaged
    annotations, UsageError for arguments that describe no anchors.
    """
    found = suggested(str(source), k, size=size, centre=centre, part=part, seed=seed, restarts=restarts)
    if to is not None:
        write_anchors(found, to)
    return found
