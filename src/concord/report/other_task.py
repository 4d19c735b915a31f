"""The page of a run of any other task than classification: whatever figures its scores have."""

from collections.abc import Mapping, Sequence
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.errors import CheckpointError
from concord.report.curves import Curve, Panel, line_chart
from concord.report.document import document
from concord.report.films import film_strips
from concord.report.parts import Drawing, Notice, Part, Section
from concord.report.run_tables import settings_table
from concord.report.tables import Table, entries
from concord.report.text import MISSING
from concord.runs.folder import RunFolder
from concord.runs.predictions import films_of

CLASSIFY = "classify"


def other_task_page(folder: RunFolder) -> str:
    """One HTML document about a complete run; CheckpointError for one that is not."""
    result = folder.json("result.json", ("members", ENSEMBLE))
    lines = folder.rows(("epoch", "train", "valid"))
    rows = {**result["members"], ENSEMBLE: result[ENSEMBLE]}
    figures = [key for key, value in next(iter(rows.values())).items() if isinstance(value, int | float)]
    if not figures:
        raise CheckpointError(f"{folder.path / 'result.json'}: damaged, the members have no figures")
    config = folder.config()
    opening: list[Part] = [_sentence(config.train.task, rows, figures[0])]
    opening += [Notice(text) for text in result.get("notices", ())]
    plan: list[tuple[str, str, Sequence[Part]]] = [
        ("scores", "Scores", [_table(rows, figures)]),
        ("films", "Predicted frames", _films(folder, list(rows))),
        ("learning", "Learning curves", learning_curves(lines, list(rows), figures)),
        ("configuration", "Configuration", [_settings(folder)]),
    ]
    sections = [Section(key, title, tuple(parts)) for key, title, parts in plan if parts]
    return document(f"concord: {folder.path.name}", opening, sections)


def _films(folder: RunFolder, names: Sequence[str]) -> list[Part]:
    found = films_of(folder)
    if found is None:
        return []
    frames, truth = found
    return [*film_strips({name: frames[name] for name in names if name in frames}, truth)]


def _sentence(task: str, rows: Mapping[str, Mapping[str, float]], figure: str) -> str:
    listed = ", ".join(f"{name} {_number(row[figure])}" for name, row in rows.items() if row)
    return f"Task {task}, {figure} at the end: {listed}."


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else MISSING


def _table(rows: Mapping[str, Mapping[str, float]], figures: Sequence[str]) -> Table:
    shown = tuple(
        entries(name, *(_number((row or {}).get(key)) for key in figures)) for name, row in rows.items()
    )
    return Table(
        "Figures of the test data, or of what was scored in their place", ("member", *figures), shown
    )


def learning_curves(
    lines: Sequence[Mapping[str, Any]], names: Sequence[str], figures: Sequence[str]
) -> list[Part]:
    """A row for each figure, a panel for each part of the data."""
    panels = []
    for figure in figures:
        row = []
        for part in ("train", "valid"):
            curves = [curve for name in names if (curve := _curve(lines, part, name, figure)) is not None]
            if curves:
                row.append(Panel(part, figure, tuple(curves)))
        panels += [row] if row else []
    if not panels:
        return ["Nothing was recorded."]
    return [Drawing(line_chart(panels, title="Learning curves"), "Every epoch; in training and validation.")]


def _curve(lines: Sequence[Mapping[str, Any]], part: str, name: str, figure: str) -> Curve | None:
    values = {}
    for line in lines:
        scores = line.get(part) or {}
        row = scores.get(ENSEMBLE) if name == ENSEMBLE else (scores.get("members") or {}).get(name)
        value = (row or {}).get(figure)
        if isinstance(value, int | float):
            values[int(line["epoch"])] = float(value)
    return Curve(name, tuple(values), tuple(values.values())) if values else None


def _settings(folder: RunFolder) -> Table:
    config = folder.config().model_dump(mode="json", exclude_none=True)
    return settings_table("Resolved configuration", {folder.path.name: config})
