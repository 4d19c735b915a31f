"""Average precision of COCO here, in pycocotools and in faster-coco-eval, on one made set of boxes."""

import contextlib
import importlib.util
import io
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

Image = dict[str, Any]
Timed = tuple[float, float, list[float]]  # seconds of loading and of evaluation, the twelve figures
CLASSES, SIDE = 80, 640


def bench_precision(images: int = 5000, detections: int = 20, rounds: int = 3) -> dict[str, Any]:
    """Seconds of processor time from arrays to COCO's twelve figures: the best of ``rounds``, in turns.

    ``loading`` is what the other tools need to turn arrays into their annotations; concord takes arrays, so
    that all of its time is ``evaluation``, VOC's rules included. ``detections`` is the number in an image.
    """
    predictions, targets = made(images, detections)
    tools = {
        name: tool for name, tool in TOOLS.items() if name == "concord" or importlib.util.find_spec(name)
    }
    taken: dict[str, list[Timed]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            taken[name].append(tool(predictions, targets))
    ours = taken["concord"][0][2]
    rows = []
    for name, times in taken.items():
        loading, evaluation, figures = min(times, key=lambda one: one[0] + one[1])
        difference = float(np.abs(np.subtract(figures, ours)).max())
        row = {"engine": name, "loading": loading, "evaluation": evaluation, "seconds": loading + evaluation}
        rows.append(row | {"largest_difference": difference})
    return {
        "images": images,
        "truths": sum(len(one["labels"]) for one in targets),
        "detections": sum(len(one["labels"]) for one in predictions),
        "rounds": rounds,
        "versions": {name: version(name) for name in ("numpy", *tools)},
        "not_installed": sorted(TOOLS.keys() - tools.keys()),
        "rows": rows,
        "fastest_over_concord": _fastest(rows, "seconds"),
        "fastest_evaluation_over_concord": _fastest(rows, "evaluation"),
    }


def made(images: int, detections: int, seed: int = 0) -> tuple[list[Image], list[Image]]:
    """Predictions and targets with the numbers of COCO's validation set: 80 classes, 7.2 truths in an image.

    An image has truths of up to three classes; the k-th class is drawn with a probability of 1 / k. A truth
    in a hundred is a crowd. Four truths of five are found, a little displaced; the other detections lie
    anywhere, three of five with a class of the image. Scores have three digits, so that many are equal.
    """
    numbers = np.random.default_rng(seed)
    share = 1 / np.arange(1, CLASSES + 1)
    predictions, targets = [], []
    for _ in range(images):
        here = numbers.choice(CLASSES, 3, p=share / share.sum())
        truths = _boxes(numbers, numbers.poisson(7.2))
        labels = numbers.choice(here, len(truths))
        near = np.flatnonzero(numbers.random(len(truths)) < 0.8)[:detections]
        sides = np.tile(truths[near, 2:] - truths[near, :2], 2)
        found = truths[near] + numbers.normal(0, 0.08, sides.shape) * sides
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        rest = detections - len(near)
        scores = np.concatenate([numbers.beta(5, 2, len(near)), numbers.beta(1, 5, rest)])
        of_image = numbers.random(rest) < 0.6
        other = np.where(of_image, numbers.choice(here, rest), numbers.integers(0, CLASSES, rest))
        predictions.append(
            {
                "boxes": np.concatenate([found, _boxes(numbers, rest)]).round(2),
                "scores": scores.round(3),
                "labels": np.concatenate([labels[near], other]),
            }
        )
        crowd = numbers.random(len(truths)) < 0.01
        targets.append({"boxes": truths, "labels": labels, "crowd": crowd})
    return predictions, targets


def _boxes(numbers: np.random.Generator, count: int) -> Any:
    sides = np.exp(numbers.uniform(np.log(8), np.log(300), (count, 2)))
    corners = numbers.random((count, 2)) * (SIDE - sides)
    return np.concatenate([corners, corners + sides], 1).round(2)


def _concord(predictions: Sequence[Image], targets: Sequence[Image]) -> Timed:
    from concord.tasks.detection.listed import average_precision

    began = time.process_time()
    names = [str(k) for k in range(CLASSES)]
    summary = average_precision(predictions, targets, classes=names).summary
    spent = time.process_time() - began
    return 0.0, spent, [-1.0 if value is None else value for value in summary.values()]  # -1 as in COCO


def _pycocotools(predictions: Sequence[Image], targets: Sequence[Image]) -> Timed:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def loaded(dataset: Image) -> Any:
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        return coco

    return _coco(loaded, COCOeval, predictions, targets)


def _faster_coco_eval(predictions: Sequence[Image], targets: Sequence[Image]) -> Timed:
    from faster_coco_eval import COCO, COCOeval_faster

    return _coco(COCO, COCOeval_faster, predictions, targets)


def _coco(
    load: Callable[[Image], Any], evaluator: Any, predictions: Sequence[Image], targets: Sequence[Image]
) -> Timed:
    """Both tools have COCO's interface, and print."""
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        truths = load(
            {
                "info": {},
                "images": [{"id": i, "width": SIDE, "height": SIDE} for i in range(len(targets))],
                "categories": [{"id": k, "name": str(k)} for k in range(CLASSES)],
                "annotations": _annotations(targets),
            }
        )
        found = truths.loadRes(_annotations(predictions))
        loaded = time.process_time()
        evaluation = evaluator(truths, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return loaded - began, time.process_time() - loaded, [float(value) for value in evaluation.stats]


def _annotations(images: Sequence[Image]) -> list[Image]:
    rows: list[Image] = []
    for i, one in enumerate(images):
        boxes = one["boxes"].copy()
        boxes[:, 2:] -= boxes[:, :2]  # COCO's boxes are x, y, width, height
        area = boxes[:, 2:].prod(1).tolist()
        crowd = one.get("crowd", np.zeros(len(boxes), bool)).astype(int).tolist()
        score = one.get("scores", np.ones(len(boxes))).tolist()
        for values in zip(boxes.tolist(), one["labels"].tolist(), area, crowd, score, strict=True):
            row = dict(zip(("bbox", "category_id", "area", "iscrowd", "score"), values, strict=True))
            rows.append(row | {"id": len(rows) + 1, "image_id": i})
    return rows


def _fastest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    ours, *theirs = (row[key] for row in rows)
    return min(theirs) / ours if theirs else None


TOOLS: Mapping[str, Callable[[Sequence[Image], Sequence[Image]], Timed]] = {
    "concord": _concord,
    "pycocotools": _pycocotools,
    "faster_coco_eval": _faster_coco_eval,
}
