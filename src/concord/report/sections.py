"""The sections of the page, each made of what its data allows; what is missing is named in one sentence."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from concord.consensus.names import ENSEMBLE
from concord.report import diagrams, pictures, predictions
from concord.report.compare import member_sets
from concord.report.corruptions import corruption_tables
from concord.report.cost_parts import cost_parts
from concord.report.curves import line_chart
from concord.report.parts import Drawing, Folded, Heading, Notice, Part, Section
from concord.report.projection import project, projection_figure
from concord.report.records import Held, RunView, StudyView
from concord.report.run_tables import (
    classes_table,
    members_table,
    mistakes_table,
    pairs_table,
    recall_table,
    settings_table,
)
from concord.report.series import comparison_panels, is_plain, learning_panels, study_panels
from concord.report.study_tables import study_tables
from concord.report.uncertainty import uncertainty_parts

if TYPE_CHECKING:
    from torch import Tensor

LAST = 10  # epochs in the pictures of the end of training, as in Noel 2017
WORST = 12
NO_RUN = "No single run is part of this report."
NO_TEST_SET = "The predictions on the test set are not part of this report."


def sections(runs: Sequence[RunView], study: StudyView | None) -> list[Section]:
    """All sections after the opening, in the order of the page; a study's own tables come first."""
    plan: list[tuple[str, str, Iterable[Part]]] = [
        *([("study", "Study", _study(study))] if study else []),
        ("scores", "Scores and sizes", _scores(runs, study)),
        ("data", "Data", _each(runs, _data)),
        ("last-epochs", "The last epochs", _last_epochs(runs)),
        ("learning", "Learning curves", _each(runs, lambda run: _learning(run, runs))),
        ("layers", "Cost of every layer", _each(runs, _layers)),
        ("agreement", "Agreement of the members", _agreement(runs)),
        ("confusion", "Confusion", _each(runs, _confusion)),
        ("reliability", "Reliability", _each(runs, _reliability)),
        ("uncertainty", "Temperatures and sets of labels", _each(runs, _uncertainty)),
        ("corruptions", "Corrupted images", _each(runs, _corruptions)),
        ("mistakes", "Worst mistakes", _each(runs, _mistakes)),
        ("filters", "First-layer filters", _each(runs, _filters)),
        ("projection", "Similar images of different classes", _projection(runs)),
        (
            "configuration",
            "Configuration",
            _settings("Resolved configuration", {r.name: r.config for r in runs}),
        ),
        ("stamp", "Stamp", _settings("Where and when the runs were made", {r.name: r.stamp for r in runs})),
    ]
    return [Section(key, title, tuple(parts)) for key, title, parts in plan]


def _scores(runs: Sequence[RunView], study: StudyView | None) -> Iterator[Part]:
    if study and study.looked_at:
        yield study.looked_at
    yield members_table(runs) if runs else NO_RUN


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


def _data(run: RunView) -> Iterator[Part]:
    if run.data is None:
        yield "The data of this run could not be read for this report."
        return
    yield classes_table(run.data)
    yield from map(Notice, run.data.notices)


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
        "Error correlation is 1 where two members fail on the same images, and 0 where their mistakes are "
        "independent. The lower it is, the more the ensemble gains over its members."
    )


def _confusion(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    predicted = {member.name: z.argmax(-1) for member, z in zip(run.members, held.logits, strict=True)}
    if len(run.members) > 1:
        predicted[ENSEMBLE] = predictions.ensemble_probabilities(held.logits).argmax(-1)
    *members, shown = predicted
    yield _matrix(run, held, shown, predicted[shown])
    for name in members:
        yield Folded(f"The same for {name}", (_matrix(run, held, name, predicted[name]),))
    k = len(held.classes)
    recalls = [predictions.recall(labels, held.labels, k).tolist() for labels in predicted.values()]
    samples = held.labels.bincount(minlength=k).tolist()
    yield recall_table(list(predicted), held.classes, samples, recalls)


def _matrix(run: RunView, held: Held, name: str, predicted: "Tensor") -> Drawing:
    counts = predictions.confusion(predicted, held.labels, len(held.classes))
    title = f"Confusion matrix of {name}, {run.name}"
    return Drawing(
        diagrams.confusion_matrix(counts, held.classes, title=title),
        f"Test images by true class and class predicted by {name}; mistakes in orange.",
    )


def _reliability(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    bins = predictions.reliability(predictions.ensemble_probabilities(held.logits), held.labels)
    drawing = diagrams.reliability_diagram(bins, title=f"Reliability diagram of {run.name}")
    yield Drawing(
        drawing,
        "Bars: share of correct predictions in each bin of confidence. Orange: the same, at the mean "
        "confidence of the bin. On the dashed line confidence equals accuracy. ECE: expected calibration "
        "error over 15 bins.",
    )


def _uncertainty(run: RunView) -> Iterator[Part]:
    if run.uncertainty is None:
        yield "The run kept no temperatures: it is not finished, or had no validation part."
        return
    rows = {**run.result["members"], ENSEMBLE: run.result["ensemble"]}
    before = {name: (row["nll"], row["ece"]) for name, row in rows.items()}
    yield from uncertainty_parts(run.uncertainty, before)


def _corruptions(run: RunView) -> Iterator[Part]:
    if run.corruptions is None:
        yield "The run has no figures on corrupted images: `concord corrupt RUN` makes them."
        return
    yield from corruption_tables(run.corruptions)


def _mistakes(run: RunView) -> Iterator[Part]:
    if (held := run.held) is None or not len(held.labels):
        yield NO_TEST_SET
        return
    probabilities = predictions.ensemble_probabilities(held.logits)
    wrong = predictions.worst_mistakes(probabilities, held.labels, WORST)
    if not len(wrong):
        yield "The ensemble makes no mistake on the test set."
        return
    predicted = probabilities.argmax(-1)
    captions = [
        (
            held.classes[int(held.labels[i])],
            held.classes[int(predicted[i])],
            float(probabilities[i, predicted[i]]),
            held.names[i],
        )
        for i in wrong.tolist()
    ]
    if held.images is None:
        yield mistakes_table(captions)
        return
    drawing = pictures.mistakes(held.images[wrong], captions, title=f"Worst mistakes of {run.name}")
    yield Drawing(
        drawing,
        "The most confident mistakes of the ensemble: predicted class and its probability, true class, file.",
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
            "Test images on their first two principal components. The two starred images are close to each "
            "other but belong to different classes. Beside each axis: the starred image under the weights of "
            "that axis, blue where a bright pixel moves the point right or up, red where left or down.",
        )
    if not drawn:
        yield NO_TEST_SET
