"""The report on a data set of whatever kind lies there."""

from collections.abc import Iterator
from typing import Any, Protocol

from concord.data.detection import check as boxes
from concord.data.detection.layout import recognised
from concord.data.images import check as images
from concord.data.images.pictures import Watch
from concord.data.segmentation import check as masks
from concord.data.segmentation.read import is_segmentation


class Report(Protocol):
    """What is wrong with a data set, and what it holds."""

    @property
    def ok(self) -> bool: ...  # whether it can be trained on
    def as_dict(self) -> dict[str, Any]: ...
    def lines(self) -> Iterator[str]: ...


def check(source: str, *, watch: Watch | None = None) -> Report:
    """On masks where folders or stacks of both lie, on boxes where their annotations do, else on classes."""
    if is_segmentation(source):
        return masks.check(source, watch=watch)
    if recognised(source):
        return boxes.check(source)
    return images.check(source, watch=watch)
