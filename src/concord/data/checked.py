"""The report on a data set of whatever kind lies there."""

from collections.abc import Iterator
from typing import Any, Protocol

from concord.data.images import check as images
from concord.data.images.pictures import Watch
from concord.data.segmentation import check as segmentation
from concord.data.segmentation.read import is_segmentation


class Report(Protocol):
    """What is wrong with a data set, and what it holds."""

    @property
    def ok(self) -> bool: ...  # whether it can be trained on
    def as_dict(self) -> dict[str, Any]: ...
    def lines(self) -> Iterator[str]: ...


def check(source: str, *, watch: Watch | None = None) -> Report:
    """Images with masks where folders or stacks of both lie side by side, else images with labels."""
    if is_segmentation(source):
        return segmentation.check(source, watch=watch)
    return images.check(source, watch=watch)
