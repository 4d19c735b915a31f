"""Scenes of boxes, and the evaluators that average precision is compared with."""

import csv
import tarfile
from fractions import Fraction

import numpy as np
from PIL import Image
from scipy import ndimage

SIZES = ("small", "medium", "large")
SUMMARY = [
    *("AP", "AP50", "AP75", *(f"AP_{size}" for size in SIZES)),
    *("AR1", "AR10", "AR100", *(f"AR_{size}" for size in SIZES)),
]
CELLS = ("RBC", "WBC", "Platelets")


def scene(seed, images=12, classes=4, detections=12, grid=24, scale=6):
    """Random predictions and targets on a coarse grid: equal scores and overlaps are common."""
    numbers = np.random.default_rng(seed)
    predictions, targets = [], []
    for _ in range(images):
        n = numbers.integers(0, 9)
        truths = _boxes(numbers, n, grid)
        labels = numbers.integers(0, classes, n)
        flags = numbers.random((2, n)) < 0.15
        near = numbers.integers(0, n, numbers.integers(0, 2 * detections)) if n else np.zeros(0, int)
        moved = truths[near] + numbers.integers(-2, 3, (len(near), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        others = _boxes(numbers, numbers.integers(0, detections), grid)
        boxes = np.concatenate([moved, others])
        wrong = numbers.random(len(boxes)) < 0.1
        found = np.concatenate([labels[near], numbers.integers(0, classes, len(others))])
        found[wrong] = numbers.integers(0, classes, wrong.sum())
        scores = numbers.integers(0, 20, len(boxes)) / 20
        predictions.append({"boxes": boxes * scale, "scores": scores, "labels": found})
        targets.append(
            {"boxes": truths * scale, "labels": labels, "crowd": flags[0], "difficult": flags[1] & ~flags[0]}
        )
    return predictions, targets


def _boxes(numbers, n, grid):
    corners = numbers.integers(0, grid, (n, 2))
    return np.concatenate([corners, corners + numbers.integers(0, grid // 2, (n, 2))], 1)


def without(targets, *flags):
    return [{key: value for key, value in one.items() if key not in flags} for one in targets]


def pycocotools(predictions, targets, classes):
    """AP (10, K) at all sizes, NaN without a truth, and the twelve figures, None in place of -1."""
    from pycocotools.cocoeval import COCOeval

    class Difficult(COCOeval):
        """A difficult truth as COCO treats one of another size: it is not counted, and no crowd."""

        def _prepare(self):
            super()._prepare()
            for parts in self._gts.values():
                for one in parts:
                    one["ignore"] = one["iscrowd"] or one["difficult"]

    truths = _annotations(targets, "crowd", "difficult", "area")
    for one in truths:
        one |= {"iscrowd": int(one["crowd"]), "difficult": bool(one["difficult"])}
    found = _annotations(predictions, "scores")
    evaluator = Difficult(_coco(truths, targets, classes), _coco(found, targets, classes), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    precision = evaluator.eval["precision"][:, :, :, 0, 2].mean(1)  # (10, 101, K, sizes, most) -> (10, K)
    summary = [None if value == -1 else value for value in evaluator.stats.tolist()]
    return np.where(precision < 0, np.nan, precision), dict(zip(SUMMARY, summary, strict=True))


def _annotations(images, *keys):
    rows = []
    for i, one in enumerate(images):
        for j, box in enumerate(np.asarray(one["boxes"], float).reshape(-1, 4).tolist()):
            wide, high = box[2] - box[0], box[3] - box[1]
            row = {"id": len(rows) + 1, "image_id": i + 1, "category_id": int(one["labels"][j]) + 1}
            row |= {"bbox": [box[0], box[1], wide, high], "area": wide * high, "iscrowd": 0}
            row |= {key: one[key][j] if key in one else 0 for key in keys if key in one or key != "area"}
            rows.append(row | ({"score": float(row["scores"])} if "scores" in row else {}))
    return rows


def _coco(annotations, images, classes):
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": i + 1} for i in range(len(images))],
        "categories": [{"id": k + 1} for k in range(classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def voc(predictions, targets, classes, points):
    """AP of every class in exact fractions, written from Everingham et al. 2010 and the devkit's conventions.

    Corners are pixels inside the box. ``points`` is 11, or 0 for the area under the curve.
    """
    return [_voc_of_class(predictions, targets, k, points) for k in range(classes)]


def _voc_of_class(predictions, targets, k, points):
    truths = {
        i: [
            {"box": box, "difficult": bool(difficult), "used": False}
            for box, label, difficult in zip(one["boxes"], one["labels"], one["difficult"], strict=True)
            if label == k
        ]
        for i, one in enumerate(targets)
    }
    total = sum(not one["difficult"] for parts in truths.values() for one in parts)
    if not total:
        return None
    found = [
        (score, i, box)
        for i, one in enumerate(predictions)
        for box, score, label in zip(one["boxes"], one["scores"], one["labels"], strict=True)
        if label == k
    ]
    curve, right, wrong = [], 0, 0
    for _, i, box in sorted(found, key=lambda one: -one[0]):  # sorted keeps the order of equals
        overlaps = [pixels_shared(box, one["box"]) for one in truths[i]]
        if overlaps and max(overlaps) >= Fraction(1, 2):
            nearest = truths[i][overlaps.index(max(overlaps))]
            if nearest["difficult"]:
                continue
            right, wrong = right + (not nearest["used"]), wrong + nearest["used"]
            nearest["used"] = True
        else:
            wrong += 1
        curve.append((Fraction(right, total), Fraction(right, right + wrong)))

    def highest(recall):
        return max((precision for r, precision in curve if r >= recall), default=Fraction(0))

    if points:
        return sum(highest(Fraction(i, points - 1)) for i in range(points)) / points
    return sum(highest(Fraction(n, total)) for n in range(1, total + 1)) / total


def pixels_shared(a, b):
    """Intersection over union of two sets of pixels, corners included."""
    a, b = ([int(value) for value in box] for box in (a, b))
    wide = min(a[2], b[2]) - max(a[0], b[0]) + 1
    high = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if wide <= 0 or high <= 0:
        return Fraction(0)
    sizes = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return Fraction(wide * high, sum(sizes) - wide * high)


def cells(folder, images=20):
    """What thresholds of colour find on test images of the blood cells, and the true boxes."""
    names = (folder / "ImageSets/Main/test.txt").read_text().split()[:images]
    with (folder / "boxes.csv").open() as file:
        boxes = list(csv.DictReader(file))
    wanted = {f"BCCD/JPEGImages/{name}.jpg": name for name in names}
    found = {}
    with tarfile.open(folder / "BCCD_VOC.tar.xz") as archive:
        for member in archive:
            if member.name in wanted:
                picture = Image.open(archive.extractfile(member)).convert("RGB")
                found[wanted[member.name]] = _blobs(np.asarray(picture, float))
    targets = []
    for name in names:
        rows = [row for row in boxes if row["file"] == f"{name}.jpg"]
        corners = [[int(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")] for row in rows]
        labels = [CELLS.index(row["class"]) for row in rows]
        targets.append({"boxes": corners, "labels": labels, "difficult": [False] * len(rows)})
    return [found[name] for name in names], targets


def _blobs(picture):
    """White cells and platelets are purple; the middles of red cells are far from the background."""
    _, green, blue = picture.transpose(2, 0, 1)
    purple = blue - green
    dark = ndimage.binary_opening(purple > np.median(purple) + 35, iterations=3)
    marks, _ = ndimage.label(dark)
    found = []
    for i, (y, x) in enumerate(ndimage.find_objects(marks), 1):
        large = (y.stop - y.start) * (x.stop - x.start) > 9000
        share = round(float((marks[y, x] == i).mean()), 2)
        found.append(([x.start, y.start, x.stop - 1, y.stop - 1], share, 1 if large else 2))
    cell = ndimage.binary_fill_holes(green < np.percentile(green, 90) - 25) & ~dark
    depth = ndimage.distance_transform_edt(cell)
    for y, x in np.argwhere((depth == ndimage.maximum_filter(depth, 41)) & (depth > 20)).tolist():
        side = int(1.1 * depth[y, x])
        corners = [max(x - side, 0), max(y - side, 0), min(x + side, 639), min(y + side, 479)]
        found.append((corners, round(side / 64, 1), 0))
    boxes, scores, labels = zip(*found, strict=True) if found else ((), (), ())
    return {"boxes": boxes, "scores": scores, "labels": labels}
