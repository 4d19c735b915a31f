"""One HTML page that explains a network."""

from collections.abc import Iterator
from pathlib import Path

from concord.cost.record import times
from concord.report.cost_parts import cost_parts
from concord.report.cost_tables import layer_table, shown_parts
from concord.report.document import document, write_html
from concord.report.explain import CellFacts, Explanation
from concord.report.explain_texts import steps_text, symbols_text
from concord.report.over_time import Forecaster
from concord.report.parts import Drawing, Folded, Formulas, Heading, Part, Section
from concord.report.tables import Table, entries
from concord.runs.cost_inputs import KINDS

STATE = "Orange arrows are the state that one step hands to the next."
SHOWN = 40  # rows of the table of layers


def write_explanation(explained: Explanation, to: str | Path) -> None:
    """The page as a file; UsageError for a place that is a folder, or does not end in .html."""
    write_html(to, explanation_page(explained), "explain.html")


def explanation_page(explained: Explanation) -> str:
    """The page; a section for what it is, how it is unfolded in time, its equations, gradients and layers."""
    return document(f"concord: {explained.name}", _opening(explained), list(_sections(explained)))


def _sections(explained: Explanation) -> Iterator[Section]:
    if explained.unfolded:
        yield Section("unfolded", "Unfolded in time", tuple(_unfolded(explained)))
    if explained.levels:
        yield Section("levels", "What a step sees", tuple(_levels(explained)))
    if explained.cells:
        yield Section("equations", "Equations", tuple(_equations(explained)))
    if explained.unfolded:
        yield Section("gradients", "How far back a gradient reaches", tuple(_gradients()))
    yield Section("layers", "Layers", tuple(_layers(explained)))
    if explained.about:
        sources = dict.fromkeys(source for cell in explained.cells for source in cell.sources)
        yield Section("about", "Where it comes from", (*explained.about, *sources))


def _opening(explained: Explanation) -> list[Part]:
    priced = explained.priced
    rows = [("source", explained.source), *_in_and_out(explained)]
    rows += [("parameters", f"{priced.parameters:,}"), ("multiply-accumulates", f"{priced.macs:,}")]
    if seen := explained.steps_seen:
        rows.append(("an output sees", steps_text(seen, every=_answers(explained))))
    elif field := priced.receptive_field:
        rows.append(("receptive field", f"{field.text}, stride {times([f'{s:g}' for s in field.stride])}"))
    table = Table("", ("figure", "value"), tuple(entries(*row) for row in rows), 2)
    return [*([explained.about[0]] if explained.about else []), table]


def _in_and_out(explained: Explanation) -> list[tuple[str, str]]:
    given = [f"{times(one.shape)}: {KINDS.get(one.kind, 'numbers')}" for one in explained.inputs]
    over_time = ": " + ("one vector at every step" if _answers(explained) else "one answer at the end")
    forecasts = len(explained.inputs[0].shape) == 4
    note = ": the frames that follow" if forecasts else over_time if explained.chain else ""
    made = " and ".join(map(times, explained.outputs))
    return [("input", " and ".join(given)), ("output", f"{made}{note}")]


def _answers(explained: Explanation) -> bool:
    """Whether every step of the input has its own output."""
    last = explained.chain[-1] if explained.chain else None
    return last is not None and last.every and not isinstance(last.module, Forecaster)


def _unfolded(explained: Explanation) -> Iterator[Part]:
    from concord.report.unfolded_figure import times_of, unfolded_figure

    drawn = explained.unfolded
    assert drawn is not None
    caption = f"The same weights act at every step. {STATE}"
    if any(arrow.passes == "copy" for arrow in drawn.arrows):
        caption += " The forecaster begins with the encoder's last states, copied along the pink arrows."
    if any(row.side > 0 for row in drawn.rows):
        caption += " The backward cells read the sequence from its end."
    title = f"{explained.name}, unfolded in time"
    yield Drawing(unfolded_figure(drawn, times_of(drawn), title=title), caption)


def _levels(explained: Explanation) -> Iterator[Part]:
    from concord.report.levels_figure import connections_figure, first_levels, reach_figure

    first, steps = first_levels(explained.chain), explained.inputs[0].shape[0]
    which = "All levels" if len(first) == len(explained.levels) else f"The lowest {len(first)} levels"
    yield Drawing(
        connections_figure(first, title=f"{explained.name}: causal connections of the lowest levels"),
        f"{which}, step by step. Filled: what step t of the upper row depends on. Every arrow comes from its "
        "own step or an earlier one. Orange: shortcuts, which add what a block has read to what it gives.",
    )
    yield Drawing(
        reach_figure(explained.chain, steps, title=f"{explained.name}: steps seen, level by level"),
        "A block of two convolutions with kernel k and dilation d sees 2 (k - 1) d steps more than the one "
        "below it; the dilation doubles from level to level.",
    )


def _equations(explained: Explanation) -> Iterator[Part]:
    yield symbols_text(line for cell in explained.cells for line in cell.equations)
    alike: dict[tuple[str, tuple[str, ...]], list[CellFacts]] = {}
    for cell in explained.cells:
        alike.setdefault((cell.type, cell.equations), []).append(cell)
    for (kind, equations), cells in alike.items():
        yield Heading(f"{kind}: {', '.join(cell.path for cell in cells)}")
        yield from filter(None, [cells[0].what])
        yield Formulas(equations)
    if explained.levels:
        yield "k is the kernel, d the dilation of the level; j runs from 0 to k - 1. Dropout acts on u and v."


def _gradients() -> Iterator[Part]:
    from concord.report.gradients import HIDDEN, STEPS, gradient_figure, gradient_lines

    yield (
        "Training changes the weights through the gradient of the loss with respect to the state of every "
        "step. On its way back in time that gradient is multiplied at each step: by factors below 1 it "
        "vanishes, above 1 it explodes. Gates that keep the state make the factor nearly 1."
    )
    title = "Norm of the gradient by the state of step t, for an RNN, an LSTM and a GRU"
    yield Drawing(
        gradient_figure(gradient_lines(), title=title),
        f"Before any training: {HIDDEN} units, {STEPS} steps of random numbers, the loss is a product with "
        "the last state. Three starts of each cell, from one seed; the figure is the same on every page.",
    )


def _layers(explained: Explanation) -> Iterator[Part]:
    """As many levels of modules as fit on a page or two; all of them below, folded."""
    cost = explained.priced.cost
    depths = range(1, 1 + max(layer.path.count(".") + 1 for layer in cost.layers))
    depth = max((d for d in depths if len(shown_parts(cost, d)) <= SHOWN), default=1)
    yield layer_table(explained.priced, depth)
    yield Folded("Every layer, with the calculation of its figures", tuple(cost_parts(explained.priced)))
