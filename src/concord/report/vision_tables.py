"""Tables of the figures of a run of masks or boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import MISSING, decimal, percent, whole

Column = tuple[str, str, Any, bool]  # key of a row, header, how a number is written, whether less is better
COLUMNS: Mapping[str, Sequence[Column]] = {
    "segment": (
        ("error", "pixel error %", percent, True),
        ("dice", "Dice %", percent, False),
        ("iou", "IoU %", percent, False),
        ("v_rand", "V_rand %", percent, False),
        ("nll", "NLL", decimal, True),
    ),
    "detect": (
        ("ap50", "AP at .5 %", percent, False),
        ("ap", "AP .5:.95 %", percent, False),
        ("voc07", "VOC 2007 %", percent, False),
        ("area", "VOC, all points %", percent, False),
        ("loss", "loss", decimal, True),
    ),
}
BY_CLASS = {
    "segment": (("class_dice", "Dice %"), ("class_iou", "IoU %")),
    "detect": (("coco50", "AP at .5 %"),),
}
HEADLINES = {"segment": "pixel errors", "detect": "AP at .5 (COCO's 101 points)"}
SIZES = (("parameters", "parameters"), ("macs", "MACs"))


def figures_table(task: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row per member and one for the ensemble, with the figures that there are."""
    there = [
        column for column in COLUMNS[task] if any(row.get(column[0]) is not None for row in rows.values())
    ]
    figures = [
        scored([row.get(key) for row in rows.values()], write, largest=not less)
        for key, _, write, less in there
    ]
    sizes = [
        [Entry(MISSING if row.get(key) is None else whole(row[key])) for row in rows.values()]
        for key, _ in SIZES
    ]
    header = ("member", *(name for _, name, *_ in there), *(name for _, name in SIZES))
    lines = tuple((*entries(name), *cells) for name, *cells in zip(rows, *figures, *sizes, strict=True))
    return Table("Members and ensemble on the test part", header, lines)


def class_table(task: str, rows: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> Table:
    """The figures of each class, of every member and of the ensemble."""
    columns = [(row, key, f"{name}: {what}") for name, row in rows.items() for key, what in BY_CLASS[task]]
    lines = tuple(
        entries(label, *(percent(_of_class(row, key, k, label)) for row, key, _ in columns))
        for k, label in enumerate(classes)
    )
    header = ("class", *(what for *_, what in columns))
    return Table("Classes; a class that the test part does not have has no figure", header, lines)


def _of_class(row: Mapping[str, Any], key: str, number: int, name: str) -> float | None:
    """A figure of one class: of masks from a list by number, of boxes from a mapping by name."""
    if key in row:
        return row[key][number]
    return ((row.get("classes") or {}).get(name) or {}).get(key)


def headline(task: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """``pixel errors: narrow 8.31 %, ensemble 8.02 %``"""
    key = COLUMNS[task][0][0]
    listed = ", ".join(f"{name} {percent(row.get(key))} %" for name, row in rows.items())
    return f"{HEADLINES[task]}: {listed}"
