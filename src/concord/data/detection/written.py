"""Detections as text: JSON, VOC XML files, and the results format of COCO.

Sources: the development kit of VOC 2012, section 8.1, to which ``score`` is added; the results format of COCO
(cocodataset.org), a list of image_id, category_id, bbox (x, y, width, height) and score, which pycocotools
reads with ``loadRes``. Boxes are in pixels of the image files, with four decimals; scores with six.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from xml.etree import ElementTree

from torch import Tensor

from concord.data.detection.boxed import BoxedImages
from concord.data.detection.voc import SIDES
from concord.errors import UsageError, suggestion
from concord.files.text import printable


@dataclass(frozen=True, eq=False)
class Detected:
    """What was detected in one image. Shape: boxes (n, 4) in pixels of the file, scores (n,), labels (n,)"""

    name: str
    size: tuple[int, int]  # width, height
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    id: int | None = None  # of the image in a COCO file

    def rows(self) -> list[tuple[int, float, list[float]]]:
        """Class, score and corners of each, by falling score as they come."""
        return [
            (int(label), round(float(score), 6), [round(float(v), 4) for v in box])
            for label, score, box in zip(self.labels, self.scores, self.boxes, strict=True)
        ]


def of_batch(data: BoxedImages, index: Tensor, detections: Mapping[str, Tensor]) -> list[Detected]:
    """Detections of a batch (B, D) in pixels of x -> of each image in pixels of its file, without filling."""
    found = []
    for row, i in enumerate(index.tolist()):
        boxes, scores, labels = (detections[key][row].cpu() for key in ("boxes", "scores", "labels"))
        kept, sample = labels >= 0, data.samples[i]
        restored = data.restore(boxes[kept], i)
        found.append(Detected(sample.name, sample.size, restored, scores[kept], labels[kept], sample.id))
    return found


def write(
    found: Sequence[Detected], classes: Sequence[str], format: str, categories: Sequence[int] = ()
) -> dict[str, str]:
    """Name of a file -> its text, in the format json, voc or coco.

    ``categories`` are the numbers of the classes in COCO, default 1, 2, ... An image that has no number of a
    COCO file has its place, from 1. UsageError for another format.
    """
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(f"detections are written as {known}, got {format!r}{suggestion(format, FORMATS)}")
    return FORMATS[format](found, classes, categories or range(1, len(classes) + 1))


def _json(found: Sequence[Detected], classes: Sequence[str], _: Sequence[int]) -> dict[str, str]:
    images = [
        {
            "file": each.name,
            "boxes": [
                {"label": classes[k], "confidence": score, "box": box} for k, score, box in each.rows()
            ],
        }
        for each in found
    ]
    return {"detections.json": _text(images)}


def _coco(found: Sequence[Detected], classes: Sequence[str], categories: Sequence[int]) -> dict[str, str]:
    rows = [
        {
            "image_id": place if each.id is None else each.id,
            "category_id": categories[k],
            "bbox": [x1, y1, round(x2 - x1, 4), round(y2 - y1, 4)],
            "score": score,
        }
        for place, each in enumerate(found, 1)
        for k, score, (x1, y1, x2, y2) in each.rows()
    ]
    return {"coco_results.json": _text(rows)}


def _voc(found: Sequence[Detected], classes: Sequence[str], _: Sequence[int]) -> dict[str, str]:
    stems = [PurePath(each.name).stem for each in found]
    twice = next((stem for stem, count in Counter(stems).items() if count > 1), None)
    if twice is not None:
        raise UsageError(
            f"two images are named {printable(twice)}, so that their XML files would be one; write"
            " the folders one by one, or as json"
        )
    return {f"{stem}.xml": _annotation(each, classes) for stem, each in zip(stems, found, strict=True)}


def _annotation(each: Detected, classes: Sequence[str]) -> str:
    root = ElementTree.Element("annotation")
    _leaf(root, "filename", PurePath(each.name).name)
    size = ElementTree.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*each.size, 3), strict=True):
        _leaf(size, tag, value)
    for k, score, box in each.rows():
        element = ElementTree.SubElement(root, "object")
        _leaf(element, "name", classes[k])
        _leaf(element, "difficult", 0)
        _leaf(element, "score", score)
        corners = ElementTree.SubElement(element, "bndbox")
        for tag, corner in zip(SIDES, box, strict=True):
            _leaf(corners, tag, corner)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _leaf(parent: ElementTree.Element, tag: str, value: object) -> None:
    # XML has no control characters, also not as references
    ElementTree.SubElement(parent, tag).text = printable(value)


def _text(value: object) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


Writer = Callable[[Sequence[Detected], Sequence[str], Sequence[int]], dict[str, str]]
FORMATS: dict[str, Writer] = {"json": _json, "voc": _voc, "coco": _coco}
