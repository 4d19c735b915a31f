"""The head that a network's own attributes describe."""

from torch import nn

from concord.errors import UsageError
from concord.tasks.detection.head import Head
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3

ATTRIBUTES = ("version", "classes", "cells", "boxes", "strides", "anchors")


def head_of(network: nn.Module, size: tuple[int, int]) -> Head:
    """The head of a network with the attributes ``ATTRIBUTES``, for images of that height and width.

    Only v1 has one size of images. Raises UsageError for a network without these attributes, or of another
    version.
    """
    missing = [name for name in ATTRIBUTES if not hasattr(network, name)]
    if missing:
        raise UsageError(
            f"a detector has the attributes {', '.join(ATTRIBUTES)}, from which its head is made;"
            f" {type(network).__name__} lacks {', '.join(missing)}. Give it those, or a task Detect(head)"
        )
    version, classes, cells, boxes, strides, anchors = (getattr(network, name) for name in ATTRIBUTES)
    if version == 1:
        return YoloV1(classes, cells, boxes, size)
    if version == 2 and len(anchors) == 1:
        return YoloV2(classes, anchors[0], strides[0])
    if version == 3:
        return YoloV3(classes, anchors, strides)
    raise UsageError(
        f"a detector is of version 1, 2 (with one map) or 3, got version {version!r} with {len(anchors)} maps"
    )
