"""Small real runs of masks and boxes: pictures on disk, and a trained run for each task."""

import json
from pathlib import Path

import masks_made
import numpy as np
from boxes_made import voc_text
from PIL import Image

import concord

TASKS = ("segment", "detect")
MEMBERS = {
    "segment": {"a": "unet(width=2,depth=1,same=1)", "b": "unet(width=3,depth=2,same=1,norm=1,dropout=0)"},
    "detect": {"a": "yolo_small_v3(width=2,boxes=1)", "b": "yolo_small_v3(width=3,boxes=1)"},
}
CLASSES = {"segment": ("background", "disc"), "detect": ("pale", "red")}
SHAPES = ((24, 32), (24, 32), (20, 28))  # of pictures with masks
WIDTH, HEIGHT = 64, 32  # of pictures with boxes
COLOURS = {"pale": (220, 220, 220), "red": (230, 30, 30)}


def disc(seed):
    """A grey picture with two bright discs, and its mask of 0 and 1."""
    numbers = np.random.default_rng(seed)
    height, width = SHAPES[seed % len(SHAPES)]
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for side in (0, 1):
        y, x = numbers.integers(5, height - 5), numbers.integers(5, width // 2 - 5) + side * width // 2
        mask |= (rows - y) ** 2 + (columns - x) ** 2 < numbers.integers(9, 25)
    return (numbers.integers(0, 90, mask.shape) + 150 * mask).astype(np.uint8), mask.astype(np.uint8)


def masks(root, count=10):
    """images/, masks/, and the names of the two classes."""
    for i in range(count):
        image, mask = disc(i)
        masks_made.save(root / "images" / f"{i:02}.png", image)
        masks_made.save(root / "masks" / f"{i:02}.png", mask)
    return root


def rectangles(seed):
    """A dark picture with two coloured rectangles, and (label, x1, y1, x2, y2) of each."""
    numbers = np.random.default_rng(seed)
    pixels = numbers.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows = []
    for k, label in enumerate(COLOURS):
        w, h = numbers.integers(10, 22, 2)
        x, y = numbers.integers(k * WIDTH // 2, (k + 1) * WIDTH // 2 - w + 1), numbers.integers(0, HEIGHT - h)
        pixels[y : y + h, x : x + w] = COLOURS[label]
        rows.append((label, *map(int, (x, y, x + w, y + h))))
    return pixels, rows


def boxes(root, format="voc", count=12):
    """Pictures with two boxes each, in one of the three formats."""
    (root / "images").mkdir(parents=True)
    every = {}
    for i in range(count):
        pixels, every[f"{i:02}"] = rectangles(i)
        Image.fromarray(pixels).save(root / "images" / f"{i:02}.png")
    {"voc": _voc, "yolo": _yolo, "coco": _coco}[format](root, every)
    return root


def _voc(root, every):
    for name, rows in every.items():
        (root / "images" / f"{name}.xml").write_text(voc_text(rows, size=(WIDTH, HEIGHT)))


def _yolo(root, every):
    (root / "labels").mkdir()
    for name, rows in every.items():
        lines = [
            f"{CLASSES['detect'].index(label)} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r}"
            f" {(x2 - x1) / WIDTH!r} {(y2 - y1) / HEIGHT!r}\n"
            for label, x1, y1, x2, y2 in rows
        ]
        (root / "labels" / f"{name}.txt").write_text("".join(lines))
    (root / "classes.txt").write_text("\n".join(CLASSES["detect"]))


def _coco(root, every):
    annotations = [
        {
            "id": 2 * i + k + 1,
            "image_id": i,
            "category_id": CLASSES["detect"].index(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for i, rows in enumerate(every.values())
        for k, (label, x1, y1, x2, y2) in enumerate(rows)
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(every)
        ],
        "categories": [{"id": k, "name": label} for k, label in enumerate(CLASSES["detect"], 1)],
        "annotations": annotations,
    }
    (root / "annotations.json").write_text(json.dumps(content))


def write_data(folder, task):
    return masks(folder / "data") if task == "segment" else boxes(folder / "data")


def tables(task, source, members=None, **train):
    """The tables of a training of two epochs; ``augment`` and the like are given as tables."""
    other = {key: train.pop(key) for key in ("augment", "segment", "detect") if key in train}
    data = {"source": str(source), "valid": 0.2, "test": 0.2, **train.pop("data", {})}
    names = MEMBERS[task] if members is None else members
    if task == "segment":
        data = {"size": 16, "classes": dict(zip(CLASSES[task], range(2), strict=True)), **data}
    else:
        data = {"size": 64, **data}
    consensus = train.pop("consensus", {"cost": "l2", "weight": 0.1} if len(names) > 1 else {})
    return {
        "data": data,
        "members": [{"name": name, "network": network} for name, network in names.items()],
        "consensus": consensus,
        "train": {"epochs": 2, "batch_size": 4, "threads": 1, "task": task, "device": "cpu", **train},
        **other,
    }


def train(folder, task, **more):
    """A finished run in ``folder``."""
    run = Path(folder) / "run"
    concord.train(tables(task, write_data(folder, task), **more), run)
    return run
