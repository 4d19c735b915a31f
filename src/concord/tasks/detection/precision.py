"""Average precision under the rules of VOC 2007, VOC 2010 and COCO, side by side.

The rules and their sources are in ``matching`` and ``ranking``; docs/average-precision.md compares them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from concord.errors import DataError, UsageError, suggestion
from concord.tasks.detection.matching import HIT, IGNORED, Matched
from concord.tasks.detection.pairs import Array
from concord.tasks.detection.ranking import ELEVEN, HUNDRED_AND_ONE, at_levels, hits, under_curve

RULES: Mapping[str, str] = {
    "voc07": "VOC 2007: 11 points, IoU 0.50",
    "area": "VOC 2010: all points, IoU 0.50",
    "coco50": "COCO: 101 points, IoU 0.50",
    "coco": "COCO: 101 points, mean of IoU 0.50:0.05:0.95",
}
SMALLER = ("small", "medium", "large")  # areas up to 32^2, up to 96^2 and above, in pixels


@dataclass(frozen=True)
class Curve:
    """Precision over recall as VOC matches at IoU 0.50: a point for each detection by falling score."""

    recall: Array
    precision: Array
    scores: Array


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of every class with a truth, and the means over these classes, under each rule.

    ``summary`` has the figures of COCO's evaluator, None where no truth has that size.
    """

    rule: str
    means: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]]
    truths: Mapping[str, int]
    without_truth: tuple[str, ...]
    summary: Mapping[str, float | None]
    curves: Mapping[str, Curve] = field(repr=False, compare=False)

    @property
    def mean(self) -> float:
        """The mean under ``rule``."""
        return self.means[self.rule]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the curves."""
        return {
            "rule": self.rule,
            "mean": self.mean,
            "means": dict(self.means),
            "classes": {name: dict(row) for name, row in self.classes.items()},
            "truths": dict(self.truths),
            "without_truth": list(self.without_truth),
            "summary": dict(self.summary),
        }

    def __str__(self) -> str:
        wide = max(map(len, (*self.classes, "class")))
        lines = [f"{'class':{wide}}  truths" + "".join(f"{rule:>8}" for rule in RULES)]
        rows = [(name, self.truths[name], row) for name, row in self.classes.items()]
        for name, count, row in [*rows, ("mean", sum(self.truths.values()), self.means)]:
            lines.append(f"{name:{wide}}{count:8}" + "".join(f"{row[rule]:8.4f}" for rule in RULES))
        if self.without_truth:
            lines.append(f"left out of the means for lack of a truth: {', '.join(self.without_truth)}")
        lines.append("  ".join(f"{k} {v:.4f}" for k, v in self.summary.items() if v is not None))
        return "\n".join(lines)


def ranked(found: Matched, truths: Array, names: Sequence[str], rule: str) -> AveragePrecision:
    """The figures of matched detections.

    ``truths`` counts those of each range of areas and class; the first range is that of all areas, and
    figures of small, medium and large objects are made where all four are given. Raises UsageError for an
    unknown rule, DataError where no truth counts. Shape: truths (sizes, K)
    """
    if rule not in RULES:
        raise UsageError(f"rule must be one of {', '.join(RULES)}, got {rule!r}{suggestion(rule, RULES)}")
    if not truths[0].any():
        raise DataError("average precision needs a truth that is neither a crowd nor difficult; got none")
    order = np.lexsort((-found.score, found.label))
    start = np.searchsorted(found.label[order], np.arange(len(names) + 1))
    by_voc, scores = found.voc[order], found.score[order]
    voc = hits(by_voc, start)
    table, recall = _coco(found.coco, order, start, truths)
    of_rule = {
        "voc07": at_levels(voc, truths[0], ELEVEN),
        "area": under_curve(voc, truths[0]),
        "coco50": table[0, 0],
        "coco": table[0].mean(0),
    }
    kept = np.flatnonzero(truths[0]).tolist()
    return AveragePrecision(
        rule,
        {name: float(values[kept].mean()) for name, values in of_rule.items()},
        {names[k]: {name: float(values[k]) for name, values in of_rule.items()} for k in kept},
        {names[k]: int(truths[0, k]) for k in kept},
        tuple(names[k] for k in np.flatnonzero(truths[0] == 0).tolist()),
        _summary(table, recall, found, truths[0]),
        {names[k]: _curve(by_voc, scores, start[k : k + 2], truths[0, k]) for k in kept},
    )


def _coco(outcome: Array, order: Array, start: Array, truths: Array) -> tuple[Array, Array]:
    """Average precision and recall at each size, threshold and class: (sizes, 10, K) twice."""
    table = np.empty((*outcome.shape[:2], truths.shape[1]))
    recall = np.empty_like(table)
    for size, threshold in np.ndindex(outcome.shape[:2]):
        found = hits(outcome[size, threshold][order], start)
        table[size, threshold] = at_levels(found, truths[size], HUNDRED_AND_ONE)
        recall[size, threshold] = found.number / np.where(truths[size] > 0, truths[size], np.nan)
    return table, recall


def _summary(table: Array, recall: Array, found: Matched, truths: Array) -> dict[str, float | None]:
    """COCO's figures in the order of its evaluator: AP of all, at two thresholds, by size; then AR."""
    means = {"AP": _mean(table[0]), "AP50": _mean(table[0, 0]), "AP75": _mean(table[0, 5])}
    means |= {f"AP_{name}": _mean(part) for name, part in zip(SMALLER, table[1:], strict=False)}
    means |= {f"AR{most}": _recall_of_first(most, found, truths) for most in (1, 10)}
    means["AR100"] = _mean(recall[0])
    return means | {f"AR_{name}": _mean(part) for name, part in zip(SMALLER, recall[1:], strict=False)}


def _recall_of_first(most: int, found: Matched, truths: Array) -> float | None:
    """Mean recall of the first detections of each class in each image."""
    first = np.flatnonzero(found.rank < most)
    _, place = np.nonzero(found.coco[0][:, first] == HIT)
    count = np.bincount(found.label[first[place]], minlength=len(truths)) / len(found.coco[0])
    return _mean(count / np.where(truths > 0, truths, np.nan))


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _curve(outcome: Array, scores: Array, part: Array, truths: int) -> Curve:
    kept = part[0] + np.flatnonzero(outcome[slice(*part)] != IGNORED)
    right = np.cumsum(outcome[kept] == HIT)
    return Curve(right / truths, right / np.arange(1, len(kept) + 1), scores[kept])
