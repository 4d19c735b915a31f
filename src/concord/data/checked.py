"""The report on a data set of whatever kind lies there."""

from collections.abc import Iterator
from typing import Any, Protocol

from concord.data.detection import check as boxes
from concord.data.detection.layout import recognised
from concord.data.images import check as images
from concord.data.images.pictures import Watch
from concord.data.segmentation import check as masks
from concord.data.segmentation.read import is_segmentation
from concord.errors import UsageError, suggestion


class Report(Protocol):
    """What is wrong with a data set, and what it holds."""

    @property
    def ok(self) -> bool: ...  # whether it can be trained on
    def as_dict(self) -> dict[str, Any]: ...
    def lines(self) -> Iterator[str]: ...


TASKS = ("classify", "segment", "detect")


def check(source: str, *, task: str | None = None, watch: Watch | None = None) -> Report:
    """On masks, boxes or classes, as the task says; without one as the files at that place look.

    A COCO file has outlines and boxes, and is taken for boxes. UsageError for another task.
    """
    if task is not None and task not in TASKS:
        raise UsageError(f"task is {', '.join(TASKS)}, got {task!r}{suggestion(task, TASKS)}")
    if task == "segment" or (task is None and is_segmentation(source)):
        return masks.check(source, watch=watch)
    if task == "detect" or (task is None and recognised(source)):
        return boxes.check(source, watch=watch)
    return images.check(source, watch=watch)
