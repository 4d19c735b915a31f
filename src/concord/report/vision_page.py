"""The page of a run of masks or boxes: figures, curves, pictures with what was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.report.boxes import pictures_with_boxes, precision_recall
from concord.report.document import document
from concord.report.masks import triptychs
from concord.report.other_task import learning_curves
from concord.report.parts import Drawing, Notice, Part, Section
from concord.report.run_tables import settings_table
from concord.report.vision_tables import class_table, figures_table, headline
from concord.report.vision_view import VisionView

CURVES = {"segment": ("pixel_error", "dice", "iou", "nll"), "detect": ("ap50", "ap", "loss")}
WHAT = {"segment": "masks", "detect": "boxes"}


def vision_page(view: VisionView) -> str:
    """One HTML document about a complete run."""
    rows: dict[str, Mapping[str, Any]] = dict(view.result["members"])
    if len(rows) > 1:
        rows[ENSEMBLE] = view.result[ENSEMBLE]
    opening: list[Part] = [f"A run that learned to find {WHAT[view.task]}. On the test part, {headline(view.task, rows)}."]
    opening += [Notice(text) for text in view.result.get("notices", ())]
    plan: list[tuple[str, str, list[Part]]] = [
        ("scores", "Scores", [figures_table(view.task, rows)]),
        ("classes", "Classes", [class_table(view.task, rows, view.classes)]),
        ("curves", "Precision and recall", list(_precision(view))),
        ("pictures", "Pictures", list(_pictures(view))),
        ("learning", "Learning curves", learning_curves(view.lines, list(rows), CURVES[view.task])),
        ("configuration", "Configuration", [settings_table("Resolved configuration", {view.name: view.config})]),
    ]
    sections = [Section(key, title, tuple(parts)) for key, title, parts in plan if parts]
    return document(f"concord: {view.name}", opening, sections)
