"""What the last sections of a detector say: classes, boxes, anchors, strides."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from concord.zoo.darknet.layers import Shape
from concord.zoo.darknet.sections import Section
from concord.zoo.detector import Anchor


class Head(NamedTuple):
    """One head; ``stride`` is 0 and ``anchors`` are missing in version 1, ``cells`` in the others."""

    version: int
    classes: int
    boxes: int
    cells: int = 0
    stride: int = 0
    anchors: tuple[Anchor, ...] = ()


def detection(section: Section, shape: Shape, picture: Shape) -> Head:
    side, boxes, classes = section.whole("side", 7), section.whole("num", 1), section.whole("classes", 1)
    wanted, given = side**2 * (classes + 5 * boxes), shape[0] * shape[1] * shape[2]
    if given != wanted:
        raise section.error(
            f"the layer before gives {given} numbers, expected side² (classes + 5 num) = {wanted}"
        )
    return Head(1, classes, boxes, cells=side)


def region(section: Section, shape: Shape, picture: Shape) -> Head:
    classes, boxes, stride = (
        section.whole("classes", 20),
        section.whole("num", 1),
        _stride(section, shape, picture),
    )
    _require_maps(section, shape, boxes, classes)
    anchors = _pairs(section, boxes)
    return Head(2, classes, boxes, stride=stride, anchors=tuple((stride * w, stride * h) for w, h in anchors))


def yolo(section: Section, shape: Shape, picture: Shape) -> Head:
    classes, total = section.whole("classes", 20), section.whole("num", 1)
    anchors = _pairs(section, total)
    mask = [int(n) for n in section.numbers("mask")] if "mask" in section.options else [*range(total)]
    if not all(0 <= n < total for n in mask):
        raise section.error(f"expected numbers of anchors from 0 to {total - 1}", "mask")
    _require_maps(section, shape, len(mask), classes)
    chosen = tuple(anchors[n] for n in mask)
    return Head(3, classes, len(mask), stride=_stride(section, shape, picture), anchors=chosen)


def _pairs(section: Section, count: int) -> list[Anchor]:
    numbers = section.numbers("anchors")
    if len(numbers) != 2 * count or min(numbers) <= 0:
        raise section.error(f"expected {count} pairs of positive numbers, as num= says", "anchors")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _require_maps(section: Section, shape: Shape, boxes: int, classes: int) -> None:
    wanted = boxes * (5 + classes)
    if shape[0] != wanted:
        raise section.error(
            f"the layer before gives {shape[0]} maps, expected {boxes} (5 + {classes}) = {wanted}; "
            f"set its filters={wanted}"
        )


def _stride(section: Section, shape: Shape, picture: Shape) -> int:
    stride = picture[1] // shape[1]
    if (shape[1] * stride, shape[2] * stride) != picture[1:]:
        raise section.error(
            f"pictures of {picture[1]}x{picture[2]} end in maps of {shape[1]}x{shape[2]}: "
            f"expected height and width in [net] that are multiples of the stride"
        )
    return stride


HEADS: Mapping[str, Callable[[Section, Shape, Shape], Head]] = {
    f.__name__: f for f in (detection, region, yolo)
}
