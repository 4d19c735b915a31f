"""The head of the task, which says what the outputs of members that find boxes mean."""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from concord.errors import UsageError
from concord.runs.config_vision import Detect
from concord.tasks.detection.head import Head
from concord.tasks.detection.heads import head_of
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3


def head_with(network: nn.Module, canvas: tuple[int, int], settings: Detect = Detect()) -> Head:
    """The head that the attributes of a network describe, with what the settings change of it.

    UsageError for a network that finds no boxes, and for settings that its version does not have.
    """
    head = head_of(network, canvas)
    if isinstance(head, YoloV1):
        changed = [name for name in ("direct", "ignore", "scales", "anchors") if _given(settings, name)]
        if changed:
            raise UsageError(f"detect.{changed[0]} belongs to versions 2 and 3, the network is of version 1")
        return head
    if not isinstance(head, YoloV2 | YoloV3):
        return head
    if settings.anchors == "none":
        if not isinstance(head, YoloV2):
            raise UsageError('detect.anchors = "none" belongs to version 2, the network is of version 3')
        head = YoloV2.without_anchors(head.classes, len(head.anchors), head.stride)
    ignore = head.ignore if settings.ignore is None else settings.ignore
    return replace(head, direct=settings.direct, ignore=ignore)


def one_head(members: Mapping[str, nn.Module], canvas: tuple[int, int], settings: Detect = Detect()) -> Head:
    """The head of all members; UsageError unless they have the same version, anchors and maps."""
    found = {}
    for name, network in members.items():
        try:
            found[name] = head_with(network, canvas, settings)
        except UsageError as error:
            raise UsageError(f"member {name}: {error}") from None
    (first, head), *others = found.items()
    for name, other in others:
        if other != head:
            raise UsageError(
                f"members {first} and {name} have different heads, {head} and {other}: members that learn"
                " together have the same version, anchors and maps"
            )
    return head


def _given(settings: Detect, name: str) -> bool:
    return getattr(settings, name) != getattr(Detect(), name)
