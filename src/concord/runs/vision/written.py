"""Masks and boxes that a run found, as files: pictures, JSON, VOC, COCO."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from concord.data.detection.written import Detected, write
from concord.data.images import decode
from concord.data.segmentation import rle
from concord.errors import UsageError, suggestion
from concord.files.atomic import deliver
from concord.files.text import printable
from concord.runs.vision.found import BoxPrediction, MaskPrediction
from concord.runs.vision.settings import DETECT, SEGMENT

FORMATS: Mapping[str, tuple[str, ...]] = {SEGMENT: ("png", "coco"), DETECT: ("png", "json", "voc", "coco")}
COLOURS = ((63, 144, 218), (255, 169, 14), (189, 31, 1), (148, 164, 162), (131, 45, 182), (169, 107, 89))


def require(to: Path, format: str, task: str) -> None:
    """UsageError for a format that a task does not have, and for a place that holds no files."""
    if format not in FORMATS[task]:
        known = ", ".join(FORMATS[task])
        raise UsageError(f"the task {task} writes {known}, got {format!r}{suggestion(format, FORMATS[task])}")
    if to.exists() and not to.is_dir():
        raise UsageError(f"{printable(to)} is a file: masks and boxes are written into a folder")


def written(
    found: Sequence[MaskPrediction] | Sequence[BoxPrediction], classes: Sequence[str], to: Path, format: str
) -> list[Path]:
    """Write what was found, without the files that could not be read; gives the paths.

    Files are called as the pictures are; UsageError where two of these have one name, and where a file would
    take the place of a picture.
    """
    masks = [one for one in found if isinstance(one, MaskPrediction) and one.error is None]
    boxes = [one for one in found if isinstance(one, BoxPrediction) and one.error is None]
    _require_names([*(one.file for one in masks), *(one.file for one in boxes)])
    content = _of_masks(masks, classes, format) if masks else _of_boxes(boxes, classes, format)
    paths = [to / name for name in content]
    _require_pictures_kept(paths, [one.file for one in found])
    for path, data in zip(paths, content.values(), strict=True):
        deliver(path, data)
    return paths


def _require_pictures_kept(paths: Sequence[Path], pictures: Sequence[str]) -> None:
    """UsageError if a file that is to be written is one of the pictures, by whatever path or link."""
    kept = {Path(picture).resolve() for picture in pictures}
    for path in paths:
        if path.resolve() in kept:
            raise UsageError(
                f"{printable(path)} is one of the pictures, which the result would replace: write into"
                " another folder"
            )


def _require_names(files: Sequence[str]) -> None:
    counts = Counter(Path(file).stem for file in files)
    twice = [stem for stem, count in counts.items() if count > 1]
    if twice:
        both = [printable(file) for file in files if Path(file).stem == twice[0]]
        raise UsageError(
            f"{both[0]} and {both[1]} would be written under one name: predict them one after the other, each"
            " into a folder of its own"
        )


def _of_masks(found: Sequence[MaskPrediction], classes: Sequence[str], format: str) -> dict[str, bytes]:
    if format == "png":
        return {f"{Path(one.file).stem}.png": _indexed(one) for one in found}
    return {"masks.json": _coco(found, classes)}


def _indexed(one: MaskPrediction) -> bytes:
    """Indices of classes with a palette; of more than 256 classes 16 bits without."""
    assert one.classes is not None
    values = one.classes.numpy()
    if values.dtype != np.uint8:
        picture = Image.fromarray(values.astype(np.uint16))
    else:
        picture = Image.fromarray(values, "P")
        picture.putpalette([part for k in range(256) for part in COLOURS[k % len(COLOURS)]])
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _coco(found: Sequence[MaskPrediction], classes: Sequence[str]) -> bytes:
    """The results format of COCO: one run-length encoding for each class that a picture has."""
    rows = []
    for number, one in enumerate(found, 1):
        assert one.classes is not None
        for k in one.classes.unique().tolist():
            counts = rle.to_text(rle.encode((one.classes == k).numpy()))
            rows.append(
                {
                    "image_id": number,
                    "file_name": one.file,
                    "category_id": k + 1,
                    "category": classes[k],
                    "segmentation": {"size": list(one.classes.shape), "counts": counts},
                    "score": one.confidence,
                }
            )
    return json.dumps(rows, ensure_ascii=False).encode()


def _of_boxes(found: Sequence[BoxPrediction], classes: Sequence[str], format: str) -> dict[str, bytes]:
    if format == "png":
        return {f"{Path(one.file).stem}.png": _drawn(one, classes) for one in found}
    detected = [_detected(one, classes) for one in found]
    return {name: text.encode() for name, text in write(detected, classes, format).items()}


def _detected(one: BoxPrediction, classes: Sequence[str]) -> Detected:
    assert one.size is not None
    height, width = one.size
    boxes = torch.tensor([box.corners for box in one.boxes]).view(-1, 4)
    scores = torch.tensor([box.confidence for box in one.boxes])
    labels = torch.tensor([classes.index(box.label) for box in one.boxes], dtype=torch.int64)
    return Detected(one.file, (width, height), boxes, scores, labels)


def _drawn(one: BoxPrediction, classes: Sequence[str]) -> bytes:
    """The picture with its boxes, class and confidence above each."""
    pixels = decode.open_image(Path(one.file), mode="RGB", largest=decode.MOST)
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    pen, thick = ImageDraw.Draw(picture), max(1, round(max(picture.size) / 400))
    last = picture.width - 1, picture.height - 1
    for box in reversed(one.boxes):  # the surest on top
        colour = COLOURS[classes.index(box.label) % len(COLOURS)]
        x, y, right, bottom = box.corners
        pen.rectangle((x, y, min(right, last[0]), min(bottom, last[1])), outline=colour, width=thick)
        text = f"{box.label} {box.confidence:.2f}"
        left, top, right, bottom = pen.textbbox((x, max(0, y - 11)), text)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=colour)
        pen.text((x, max(0, y - 11)), text, fill="white")
    return _png(picture)
