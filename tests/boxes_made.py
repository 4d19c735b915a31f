"""Small sets of images with boxes in the three formats, and the blood cells where they are at hand."""

import json
import tarfile
from pathlib import Path

import numpy as np
from data_made import shared
from PIL import Image

CLASSES = ("cat", "dog")
# of two images: class, x1, y1, x2, y2
BOXES = {
    "a": [("dog", 8, 4, 24, 20), ("cat", 30, 10, 40, 28)],
    "b": [("cat", 1, 2, 17, 10)],
}
WIDTH, HEIGHT = 48, 32


def picture(path: Path, *, seed=0, size=(WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(
        0, 256, (size[1], size[0], 3), np.uint8
    )
    Image.fromarray(pixels).save(path)
    return path


def voc_text(boxes, *, size=(WIDTH, HEIGHT), head="", extra=""):
    rows = "".join(
        f"<object>\n<name>{name}</name>\n<difficult>0</difficult>\n<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n{extra}</object>\n"
        for name, x1, y1, x2, y2 in boxes
    )
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"{head}<annotation>\n{size}\n{rows}</annotation>\n"


def voc(root: Path, boxes=None, **options) -> Path:
    """XML files beside the images."""
    for name, rows in (BOXES if boxes is None else boxes).items():
        picture(root / f"{name}.png")
        (root / f"{name}.xml").write_text(voc_text(rows, **options))
    return root


def devkit(root: Path, lists, boxes=None) -> Path:
    """The folders of VOC; ``lists``: 'train' -> names."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, rows in (BOXES if boxes is None else boxes).items():
        picture(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(voc_text(rows))
    for part, names in lists.items():
        (root / "ImageSets/Main" / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def yolo_line(name, x1, y1, x2, y2):
    x, y, w, h = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    return f"{CLASSES.index(name)} {x!r} {y!r} {w!r} {h!r}\n"


def yolo(root: Path, lines=None) -> Path:
    """images/, labels/ and classes.txt."""
    (root / "labels").mkdir(parents=True)
    for name, rows in BOXES.items():
        picture(root / "images" / f"{name}.png")
        text = "".join(yolo_line(*row) for row in rows) if lines is None else lines
        (root / "labels" / f"{name}.txt").write_text(text)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root


def coco_content(boxes=None):
    boxes = BOXES if boxes is None else boxes
    rows = [(i, *row) for i, name in enumerate(boxes) for row in boxes[name]]
    return {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(boxes)
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": {"cat": 7, "dog": 3}[name],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for number, (image, name, x1, y1, x2, y2) in enumerate(rows, 1)
        ],
    }


def coco(root: Path, content=None) -> Path:
    """annotations/instances_train.json and images/."""
    for name in BOXES:
        picture(root / "images" / f"{name}.png")
    (root / "annotations").mkdir()
    content = coco_content() if content is None else content
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def bccd(tmp_path_factory) -> Path:
    """The unpacked blood cells, or a skip that says why."""
    folder = tmp_path_factory.mktemp("bccd")
    with tarfile.open(shared("bccd") / "BCCD_VOC.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
