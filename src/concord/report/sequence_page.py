"""The page of a run on sequences: figures, curves, confusions, errors at each step, states over time."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from concord.consensus.names import ENSEMBLE
from concord.report import diagrams, predictions
from concord.report.document import document
from concord.report.other_task import learning_curves
from concord.report.parts import Drawing, Folded, Notice, Part, Section
from concord.report.run_tables import settings_table
from concord.report.sequence_tables import figures_table
from concord.report.sequence_view import SequenceView
from concord.report.steps import error_by_step, states_over_time
from concord.report.text import percent

if TYPE_CHECKING:
    from torch import Tensor

FIGURES = {"classify": ("error", "nll"), "language": ("bits", "error"), "segments": ("error", "nll")}
KINDS = {
    "sequence": "a class for each sequence",
    "segments": "a class for each step",
    "language": "the next character of a text",
    "ctc": "labels whose places are unknown",
}


def sequence_page(view: SequenceView) -> str:
    """One HTML document about a complete run."""
    rows: dict[str, Mapping[str, Any]] = dict(view.result["members"])
    if len(rows) > 1:
        rows[ENSEMBLE] = view.result[ENSEMBLE]
    opening: list[Part] = [_sentence(view, rows)]
    opening += [Notice(text) for text in view.result.get("notices", ())]
    figures = FIGURES.get(view.task, FIGURES["classify"])
    plan: list[tuple[str, str, list[Part]]] = [
        ("scores", "Scores", [figures_table(rows)]),
        (
            "learning",
            "Learning curves",
            learning_curves(view.lines, list(rows), figures),
        ),
        ("confusion", "Confusion", list(_confusions(view))),
        ("steps", "Errors at each step", list(_steps(view))),
        ("states", "States over time", list(_states(view))),
        (
            "configuration",
            "Configuration",
            [settings_table("Resolved configuration", {view.name: view.config})],
        ),
    ]
    sections = [Section(key, title, tuple(parts)) for key, title, parts in plan if parts]
    return document(f"concord: {view.name}", opening, sections)


def _sentence(view: SequenceView, rows: Mapping[str, Mapping[str, Any]]) -> str:
    language = view.task == "language"
    figure = "bits per character" if language else "label errors" if view.task == "ctc" else "errors"
    listed = ", ".join(
        f"{name} {row['bits']:.3f}" if language else f"{name} {percent(row['test_error'])} %"
        for name, row in rows.items()
    )
    return f"A run that learned {KINDS[view.task]}. On the test part, {figure}: {listed}."


def _confusions(view: SequenceView) -> Iterator[Part]:
    if view.targets is None or len(view.classes) > diagrams.NAMED * 2:
        return
    there = view.targets >= 0
    *others, shown = view.labels
    yield _matrix(view, shown, there)
    for name in others:
        yield Folded(f"The same for {name}", (_matrix(view, name, there),))


def _matrix(view: SequenceView, name: str, there: "Tensor") -> Drawing:
    assert view.targets is not None
    counts = predictions.confusion(view.labels[name][there], view.targets[there], len(view.classes))
    what = "sequences" if view.task == "sequence" else "steps"
    return Drawing(
        diagrams.confusion_matrix(counts, view.classes, title=f"Confusion matrix of {name}, {view.name}"),
        f"Test {what} by true class and class predicted by {name}; mistakes in orange.",
    )


def _steps(view: SequenceView) -> Iterator[Part]:
    if view.targets is not None and view.targets.ndim == 2:
        yield Drawing(
            error_by_step(view.labels, view.targets, title="Errors at each step"),
            "Share of the test sequences that are wrong at a step, by its place in the sequence.",
        )


def _states(view: SequenceView) -> Iterator[Part]:
    for states in view.along.states:
        yield Drawing(
            states_over_time(states.values, view.along.symbols, title=f"States of {states.member}"),
            f"What {states.member} gives at each step of {view.along.name}; rows are units of its last"
            " layer.",
        )
