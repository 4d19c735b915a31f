"""From a network that finds boxes to the head of the task, which says what its output means."""

from typing import Any

from torch import nn

from concord.errors import UsageError
from concord.runs.config_vision import Detect
from concord.tasks.detection.head import Head
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3

NEEDED = {1: ("cells", "boxes"), 2: ("anchors", "strides"), 3: ("anchors", "strides")}


def head_of(network: nn.Module, classes: int, canvas: tuple[int, int], settings: Detect = Detect()) -> Head:
    """The head that the attributes of a network describe, for pictures of this height and width.

    ``version`` 1 has ``cells`` and ``boxes``; 2 and 3 have ``anchors`` of each map, in pixels, and
    ``strides``. UsageError for a network that does not say so.
    """
    version = getattr(network, "version", None)
    lacking = [name for name in NEEDED.get(version, ("version",)) if not hasattr(network, name)]
    if lacking:
        raise UsageError(
            f"{type(network).__name__} finds no boxes: it has no attribute {', '.join(lacking)}; a detector has"
            " a version (1, 2 or 3), and cells and boxes, or anchors and strides"
        )
    own: Any = network
    more = {} if settings.ignore is None else {"ignore": settings.ignore}
    if version == 1:
        return YoloV1(classes, own.cells, own.boxes, canvas)
    if version == 2:
        return YoloV2(classes, own.anchors[0], own.strides[0], direct=settings.direct, **more)
    return YoloV3(classes, own.anchors, own.strides, direct=settings.direct, **more)
