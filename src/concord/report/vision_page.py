"""The page of a run of masks or boxes: figures, curves, pictures with what was found."""

from collections.abc import Iterator, Mapping
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.report.boxes import Seen, pictures_with_boxes, precision_recall
from concord.report.document import document
from concord.report.masks import Triptych, triptychs
from concord.report.other_task import learning_curves
from concord.report.parts import Drawing, Notice, Part, Section
from concord.report.run_tables import settings_table
from concord.report.vision_tables import class_table, figures_table, headline
from concord.report.vision_view import VisionView

CURVES = {"segment": ("error", "dice", "nll"), "detect": ("ap50", "loss")}
WHAT = {"segment": "masks", "detect": "boxes"}


def vision_page(view: VisionView) -> str:
    """One HTML document about a complete run."""
    rows: dict[str, Mapping[str, Any]] = dict(view.result["members"])
    if len(rows) > 1:
        rows[ENSEMBLE] = view.result[ENSEMBLE]
    opening: list[Part] = [
        f"A run that learned to find {WHAT[view.task]}. On the test part, {headline(view.task, rows)}."
    ]
    opening += [Notice(text) for text in view.result.get("notices", ())]
    plan: list[tuple[str, str, list[Part]]] = [
        ("scores", "Scores", [figures_table(view.task, rows)]),
        ("classes", "Classes", [class_table(view.task, rows, view.classes)]),
        ("curves", "Precision and recall", list(_precision(view))),
        ("pictures", "Pictures", list(_pictures(view))),
        ("learning", "Learning curves", learning_curves(view.lines, list(rows), CURVES[view.task])),
        (
            "configuration",
            "Configuration",
            [settings_table("Resolved configuration", {view.name: view.config})],
        ),
    ]
    sections = [Section(key, title, tuple(parts)) for key, title, parts in plan if parts]
    return document(f"concord: {view.name}", opening, sections)


def _precision(view: VisionView) -> Iterator[Part]:
    if view.curves:
        drawn = {
            label: (curve.recall.tolist(), curve.precision.tolist()) for label, curve in view.curves.items()
        }
        yield Drawing(
            precision_recall(drawn, title="Precision and recall of the ensemble"),
            "Share of the boxes found that are right, against the share of the objects that are found, as the"
            " least score falls; IoU at least .5, matched as VOC does.",
        )


def _pictures(view: VisionView) -> Iterator[Part]:
    masks = [picture for picture in view.pictures if isinstance(picture, Triptych)]
    boxes = [picture for picture in view.pictures if isinstance(picture, Seen)]
    if masks:
        caption = "Test pictures, their true classes, and what was predicted; wrong pixels are coloured: " + (
            f"orange where {view.classes[1]} was missed, blue where it was invented."
            if len(view.classes) == 2
            else "orange."
        )
        yield Drawing(triptychs(masks, view.classes, title="Pictures, truth and prediction"), caption)
    if boxes:
        caption = "Test pictures with their true boxes, and with those found with a score of .25 or more."
        yield Drawing(pictures_with_boxes(boxes, view.classes, title="True boxes and found ones"), caption)
