"""Average precision of detections that a user has as arrays or lists, image by image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from concord.errors import DataError, ShapeError, UsageError
from concord.tasks.detection.matching import SIZES, counted, match
from concord.tasks.detection.pairs import Array, Found, Truths, areas
from concord.tasks.detection.precision import AveragePrecision, ranked

Image = Mapping[str, Any]


def average_precision(
    predictions: Sequence[Image],
    targets: Sequence[Image],
    rule: str = "coco",
    *,
    classes: Sequence[str] | None = None,
    inclusive: bool = False,
) -> AveragePrecision:
    """Average precision of detections under the rules of VOC 2007, VOC 2010 and COCO.

    ``predictions`` has a mapping for each image: ``boxes`` (N, 4) as x1, y1, x2, y2, ``scores`` (N,) and
    ``labels`` (N,), class numbers from 0. ``targets`` has the same images: ``boxes``, ``labels`` and, where
    an image has such, ``crowd`` and ``difficult`` (N,) of true or false. ``area`` (N,) of the objects, by
    which COCO tells sizes apart, is that of the box unless it is given. Values are tensors, arrays or lists.
    ``rule`` is the one whose mean is ``mean``: "coco", "coco50", "voc07" or "area"; the result has all four.
    ``classes`` are names of the classes, by number. Boxes are edges, so that a width is x2 - x1; with
    ``inclusive`` x2 and y2 are the last pixels inside, as in VOC's files, and a width is x2 - x1 + 1.

    A crowd or difficult truth does not count, nor what finds it, under any rule. COCO's rules look at the
    first 100 detections of a class in an image. A class without a truth is left out of the means.
    Raises UsageError, ShapeError and DataError for what cannot be read, and for targets without a truth.
    """
    if len(predictions) != len(targets):
        given = f"{len(predictions)} predictions and {len(targets)} targets"
        raise UsageError(f"predictions and targets are of the same images, one mapping for each; got {given}")
    found = _found(predictions, inclusive)
    truths = _truths(targets, inclusive)
    names, (seen, true) = _named(classes, found, truths)
    found, truths = found._replace(label=seen), truths._replace(label=true)
    count = np.stack([np.bincount(true[part], minlength=len(names)) for part in counted(truths, SIZES)])
    return ranked(match(found, truths, SIZES), count, names, rule)


def _found(images: Sequence[Image], inclusive: bool) -> Found:
    image, boxes = _boxes(images, "predictions", inclusive)
    label = _labels(images, "predictions", image)
    score = _column(images, "predictions", "scores", image).astype(np.float64)
    _require(np.isfinite(score), score, image, "predictions", "a score is a finite number")
    return Found(image, label, score, boxes)


def _truths(images: Sequence[Image], inclusive: bool) -> Truths:
    image, boxes = _boxes(images, "targets", inclusive)
    label = _labels(images, "targets", image)
    crowd, difficult = (_flags(images, name, image) for name in ("crowd", "difficult"))
    area = areas(boxes)
    if any("area" in one for one in images):
        area = _column(images, "targets", "area", image).astype(np.float64)
        _require(area >= 0, area, image, "targets", "an area is a number from 0")
    return Truths(image, label, boxes, crowd, difficult, area)


def _boxes(images: Sequence[Image], what: str, inclusive: bool) -> tuple[Array, Array]:
    """The number of the image of every box, and the boxes. Shape: -> (N,), (N, 4)"""
    parts = []
    for i, one in enumerate(images):
        part = _array(one, what, "boxes", i)
        if part.size == 0:
            part = part.reshape(0, 4)
        if part.ndim != 2 or part.shape[1] != 4:
            raise ShapeError(f"{what}[{i}]: boxes must be (N, 4), got {part.shape}")
        parts.append(part)
    image = np.arange(len(parts)).repeat([len(part) for part in parts])
    boxes = np.concatenate([np.empty((0, 4)), *parts]).astype(np.float64, copy=False)
    _require(np.isfinite(boxes), boxes, image, what, "a box is four finite numbers")
    ordered = boxes[:, 2:] >= boxes[:, :2]
    _require(ordered, boxes, image, what, "a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
    if inclusive:
        boxes[:, 2:] += 1
    return image, boxes


def _labels(images: Sequence[Image], what: str, image: Array) -> Array:
    label = _column(images, what, "labels", image)
    with np.errstate(invalid="ignore"):  # what is not finite is refused below
        whole = label.astype(np.int64)
    _require((whole == label) & (whole >= 0), label, image, what, "a label is a whole number from 0")
    return whole


def _flags(images: Sequence[Image], name: str, image: Array) -> Array:
    """True or false for each box; an image without that key has none that is true."""
    sizes = np.bincount(image, minlength=len(images)).tolist()
    given = [
        one if name in one else {name: np.zeros(size, bool)} for one, size in zip(images, sizes, strict=True)
    ]
    flag = _column(given, "targets", name, image)
    _require((flag == 0) | (flag == 1), flag, image, "targets", f"{name} is true or false")
    return flag.astype(bool)


def _column(images: Sequence[Image], what: str, name: str, image: Array) -> Array:
    """One number for each box, of all images."""
    parts = [_array(one, what, name, i) for i, one in enumerate(images)]
    sizes = np.bincount(image, minlength=len(images))
    for i, (part, size) in enumerate(zip(parts, sizes.tolist(), strict=True)):
        if part.shape != (size,):
            raise ShapeError(f"{what}[{i}]: {name} must be ({size},), one for each box, got {part.shape}")
    return np.concatenate([np.empty(0, np.int64), *parts])


def _array(one: Image, what: str, name: str, i: int) -> Array:
    if name not in one:
        raise UsageError(f"{what}[{i}] has no {name!r}; it has {', '.join(map(repr, one)) or 'nothing'}")
    value = one[name]
    if hasattr(value, "detach"):  # a tensor, without an import of torch
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value  # NumPy has no bfloat16
    try:
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}[{i}]: {name} must be numbers, got {value!r:.80}") from error


def _require(right: Array, values: Array, image: Array, what: str, rule: str) -> None:
    """Refuse the first box that is not right. Shape: right (N,) or (N, 2) or (N, 4)"""
    if not right.all():
        wrong = int(np.flatnonzero(~right.reshape(len(values), -1).all(1))[0])
        i = int(image[wrong])
        place = wrong - int(np.searchsorted(image, i))
        raise DataError(f"{what}[{i}], box {place}: {rule}, got {values[wrong].tolist()}")


def _named(classes: Sequence[str] | None, found: Found, truths: Truths) -> tuple[list[str], list[Array]]:
    """Names of the classes, and labels that count through them."""
    labels = [found.label, truths.label]
    if classes is None:
        numbers, place = np.unique(np.concatenate(labels), return_inverse=True)
        return [str(number) for number in numbers], np.split(place, [len(found.label)])
    names = list(classes)
    if len(set(names)) < len(names):
        raise UsageError(f"classes must have different names, got {', '.join(map(repr, names))}")
    for part, what in ((found, "predictions"), (truths, "targets")):
        _require(part.label < len(names), part.label, part.image, what, f"labels end at {len(names) - 1}")
    return names, labels
