"""The sections of the page, each made of what its data allows; what is missing is said in one sentence."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from concord.report import diagrams, pictures, predictions
from concord.report.compare import member_sets
from concord.report.cost_parts import cost_parts
from concord.report.curves import Spot, accuracy_against_cost, line_chart
from concord.report.parts import Drawing, Folded, Heading, Part, Section
from concord.report.projection import project, projection_figure
from concord.report.records import ENSEMBLE, RunView, StudyView
from concord.report.run_tables import (
    members_table,
    mistakes_table,
    pairs_table,
    recall_table,
    settings_table,
)
from concord.report.series import comparison_panels, is_plain, learning_panels, study_panels
from concord.report.study_tables import study_tables

LAST = 10  # epochs in the pictures of the end of training, as in Noel 2017
WORST = 12
NO_RUN = "No single run is part of this report."
NO_TEST_SET = "The predictions on the test set are not part of this report."


def sections(runs: Sequence[RunView], study: StudyView | None) -> list[Section]:
    """All sections after the summary, in the order of the page."""
    plan: list[tuple[str, str, Iterable[Part]]] = [
        ("scores", "Scores and sizes", [members_table(runs)] if runs else [NO_RUN]),
        *([("study", "Study", _study(study))] if study else []),
        ("last-epochs", "The last epochs", _last_epochs(runs)),
        ("learning", "Learning curves", _each(runs, lambda run: _learning(run, runs))),
        ("cost", "Accuracy against cost", _cost(runs)),
        ("layers", "Cost of every layer", _each(runs, _layers)),
        ("agreement", "Agreement of the members", _agreement(runs)),
        ("confusion", "Confusion", _each(runs, _confusion)),
        ("reliability", "Reliability", _each(runs, _reliability)),
        ("mistakes", "Worst mistakes", _each(runs, _mistakes)),
        ("filters", "First-layer filters", _each(runs, _filters)),
        ("projection", "Alike, but of different classes", _projection(runs)),
        (
            "configuration",
            "Configuration",
            _settings("Resolved configuration", {r.name: r.config for r in runs}),
        ),
        ("stamp", "Stamp", _settings("Where and when the runs were made", {r.name: r.stamp for r in runs})),
    ]
    return [Section(key, title, tuple(parts)) for key, title, parts in plan]


def _each(runs: Sequence[RunView], parts: Callable[[RunView], Iterable[Part]]) -> Iterator[Part]:
    """The parts of every run, under its name where there are several."""
    if not runs:
        yield NO_RUN
    for run in runs:
        if len(runs) > 1:
            yield Heading(run.name)
        yield from parts(run)


def _settings(caption: str, runs: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
    table = settings_table(caption, runs)
    yield table if table.rows else "Nothing was recorded."


def _study(study: StudyView) -> Iterator[Part]:
    yield from study_tables(study)
    for members in member_sets(study.cells):
        for measure, name in (("error", "error"), ("nll", "cost")):
            if panels := study_panels(study, members, measure):
                title = f"{study.name}: {name} over the last epochs of {', '.join(members)}"
                caption = f"Mean {name} over the seeds in the last {LAST} epochs; plain members in grey."
                if study.published:
                    caption += f" Published: {study.published.source}."
                yield Drawing(line_chart(panels, title=title, last=LAST), caption)


def _last_epochs(runs: Sequence[RunView]) -> Iterator[Part]:
    panels = comparison_panels(runs)
    if not panels:
        yield "No run has a test or validation score per epoch, so there is no curve to draw."
        return
    caption = f"Error and cost in the last {LAST} epochs: runs with consensus in colour, plain ones in grey."
    yield Drawing(line_chart(panels, title="Error and cost over the last epochs", last=LAST), caption)


def _learning(run: RunView, runs: Sequence[RunView]) -> Iterator[Part]:
    plain = (r for r in runs if is_plain(r) and len(r.members) > 1)
    beside = None if is_plain(run) else next(plain, None)
    panels = learning_panels(run, beside)
    if not panels:
        yield "Nothing was recorded per epoch, so there is no curve to draw."
        return
    caption = "Training values are averages over the epoch, while the members change."
    if beside is not None:
        caption += f" In grey: {beside.name}, trained without consensus."
    yield Drawing(line_chart(panels, title=f"Learning curves of {run.name}", logarithmic=True), caption)


def _cost(runs: Sequence[RunView]) -> Iterator[Part]:
    spots = [spot for run in runs for spot in _spots(run)]
    if len(spots) < 2:
        yield "The multiply-accumulates or the test errors of the members are not known."
        return
    caption = (
        "Down and to the left is better; the area of a mark grows with the number of parameters. A square is "
        "an ensemble; its cost is that of all its members."
    )
    yield Drawing(accuracy_against_cost(spots, title="Test error against multiply-accumulates"), caption)


def _spots(run: RunView) -> Iterator[Spot]:
    members = run.result.get("members", {})
    for member in run.members:
        error = members.get(member.name, {}).get("test_error")
        if member.macs and error is not None and math.isfinite(error):
            yield Spot(member.name, run.name, member.macs, error, member.parameters)
    macs = [member.macs for member in run.members if member.macs]
    error = run.result.get("ensemble", {}).get("test_error")
    if len(macs) == len(run.members) > 1 and error is not None and math.isfinite(error):
        parameters = sum(member.parameters or 0 for member in run.members)
        yield Spot(ENSEMBLE, run.name, sum(macs), error, parameters, ensemble=True)


def _layers(run: RunView) -> Iterator[Part]:
    for member in run.members:
        if member.priced is not None:
            yield Folded(f"{member.name}: {member.network}", tuple(cost_parts(member.priced)))
    if not any(member.priced for member in run.members):
        yield "The layers of the members are not part of this report."


def _agreement(runs: Sequence[RunView]) -> Iterator[Part]:
    table = pairs_table(runs)
    if not table.rows:
        yield "No run with several members has its predictions on the test set in this report."
        return
    yield table
    yield (
        "Error correlation is 1 where two members fail on the same images, 0 where their mistakes are "
        "independent. The lower it is, the more an ensemble gains over its members."
    )


def _confusion(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    ensemble = predictions.ensemble_probabilities(held.logits).argmax(-1)
    k = len(held.classes)
    counts = predictions.confusion(ensemble, held.labels, k)
    drawing = diagrams.confusion_matrix(counts, held.classes, title=f"Confusion matrix of {run.name}")
    yield Drawing(drawing, "Test images by true and predicted class of the ensemble; mistakes in orange.")
    said = {member.name: z.argmax(-1) for member, z in zip(run.members, held.logits, strict=True)}
    said[ENSEMBLE] = ensemble
    recalls = [predictions.recall(predicted, held.labels, k).tolist() for predicted in said.values()]
    yield recall_table(list(said), held.classes, counts.sum(1).tolist(), recalls)


def _reliability(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    bins = predictions.reliability(predictions.ensemble_probabilities(held.logits), held.labels)
    drawing = diagrams.reliability_diagram(bins, title=f"Reliability diagram of {run.name}")
    yield Drawing(
        drawing,
        "Bars: share of right answers per bin of confidence. Orange: the bin at its mean confidence. On the "
        "dashed line confidence can be taken at its word. ECE: expected calibration error over 15 bins.",
    )


def _mistakes(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    probabilities = predictions.ensemble_probabilities(held.logits)
    wrong = predictions.worst_mistakes(probabilities, held.labels, WORST)
    if not len(wrong):
        yield "The ensemble makes no mistake on the test set."
        return
    said = probabilities.argmax(-1)
    captions = [
        (
            held.classes[int(held.labels[i])],
            held.classes[int(said[i])],
            float(probabilities[i, said[i]]),
            held.names[i],
        )
        for i in wrong.tolist()
    ]
    if held.images is None:
        yield mistakes_table(captions)
        return
    drawing = pictures.mistakes(held.images[wrong], captions, title=f"Worst mistakes of {run.name}")
    yield Drawing(
        drawing, "Wrong and sure: what the ensemble said and how surely, what is right, and the file."
    )


def _filters(run: RunView) -> Iterator[Part]:
    for member in run.members:
        if member.filters is None:
            yield f"{member.name} has no first convolution whose filters could be shown."
            continue
        n, channels, height, width = member.filters.shape
        shown = "in colour" if channels == 3 else "light is positive, dark negative"
        drawing = pictures.filter_grid(
            member.filters, title=f"First-layer filters of {member.name}, {run.name}"
        )
        yield Drawing(drawing, f"{member.name}: {n} filters of {height} x {width}, {shown}.")


def _projection(runs: Sequence[RunView]) -> Iterator[Part]:
    """One picture per test set, not per run: the networks play no part in it."""
    drawn = set()
    for run in runs:
        held = run.held
        if held is None or held.images is None or len(held.images) < 3 or held.images[0].numel() < 2:
            continue
        if (key := (held.images.shape, tuple(held.names[:9]))) in drawn:
            continue
        drawn.add(key)
        figure = projection_figure(
            project(held.images, held.labels), held.classes, title="Principal components"
        )
        yield Drawing(
            figure,
            "Test images on their first two principal components. The two stars are near each other and of "
            "different classes. Along each axis: the starred image under the weights of the axis, blue where "
            "a bright pixel counts forward, red where backward.",
        )
    if not drawn:
        yield NO_TEST_SET
