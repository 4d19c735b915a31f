"""What a page opens with: the verdict in a sentence, what to know before trusting it, error against cost."""

import math
from collections.abc import Iterator, Sequence

from concord.consensus.names import ENSEMBLE, NONE
from concord.report.compare import columns, member_sets, summary
from concord.report.cost_error import Bar, Spot, differences, error_against_cost, group_colours
from concord.report.parts import Beside, Drawing, Notice, Part
from concord.report.records import ALONE, Cell, RunView, Setting, StudyView
from concord.report.summary import run_summary, runs_verdict, study_summary
from concord.report.text import setting_label
from concord.report.verdict import compared, findings, verdict_sentences
from concord.runs.intervals import wilson

MARKS = "Down and to the left is better. A square is the ensemble, whose cost is that of all its members"


def opening(runs: Sequence[RunView], study: StudyView | None) -> list[Part]:
    """Of a study its verdict and figure, and nothing of the one run that is shown closely further down."""
    if study is not None:
        return [*verdict_sentences(study), study_summary(study), *map(Notice, study.notices), *_study(study)]
    if not runs:
        return ["There is nothing to report yet."]
    notices = dict.fromkeys(text for run in runs for text in run.result.get("notices", ()))
    return [*runs_verdict(runs), *map(run_summary, runs), *map(Notice, notices), *_runs(runs)]


def _runs(runs: Sequence[RunView]) -> Iterator[Part]:
    spots = [spot for run in runs for spot in run_spots(run)]
    if not spots:
        return
    sampled = "; bars: 95 % Wilson intervals for the choice of the test images, not for another training"
    caption = f"{MARKS}{sampled if any(s.low is not None for s in spots) else ''}."
    yield Drawing(error_against_cost(spots, title="Test error against multiply-accumulates"), caption)


def run_spots(run: RunView) -> Iterator[Spot]:
    """Every member with a cost and a test error, and the ensemble, whose cost is the sum."""
    members = run.result.get("members", {})
    for member in run.members:
        error = members.get(member.name, {}).get("test_error")
        if member.macs and error is not None and math.isfinite(error):
            yield Spot(
                member.name, run.name, member.macs, error, member.parameters, False, *_wilson(run, error)
            )
    macs = [member.macs for member in run.members if member.macs]
    error = run.result.get("ensemble", {}).get("test_error")
    if len(macs) == len(run.members) > 1 and error is not None and math.isfinite(error):
        parameters = sum(member.parameters or 0 for member in run.members)
        yield Spot(ENSEMBLE, run.name, sum(macs), error, parameters, True, *_wilson(run, error))


def _wilson(run: RunView, error: float) -> tuple[float | None, float | None]:
    return wilson(round(error * run.samples), run.samples) if run.samples else (None, None)


def _study(study: StudyView) -> Iterator[Part]:
    for members in member_sets(study.cells):
        spots = list(study_spots(study, members))
        if not spots:
            continue
        where = " + ".join(members)
        figures = [
            Drawing(
                error_against_cost(spots, title=f"{where}: test error against multiply-accumulates"),
                f"{where}. {MARKS}; bars: 95 % intervals of the mean over the seeds.",
            )
        ]
        colours = group_colours(spots)
        order = [*colours]
        bars = [
            Bar(row.column, label, row.difference.mean, row.difference.low, row.difference.high)
            for row in findings(study, members)
            if (label := setting_label(*row.setting)) in colours
        ]
        bars.sort(key=lambda bar: (columns(members).index(bar.label), order.index(bar.group)))
        if bars:
            figures.append(
                Drawing(
                    differences(bars, colours, title=f"{where}: difference to the plain ensemble"),
                    f"{where}. Difference to the plain ensemble, paired seed by seed, with 95 % intervals "
                    "(Student's t, not corrected for the number of comparisons); colours as beside.",
                )
            )
        yield Beside(tuple(figures))


def study_spots(study: StudyView, members: tuple[str, ...]) -> Iterator[Spot]:
    """Mean test error over the seeds: the plain ensemble, and every cost at the weight validation chose.

    Members alone are left out where each equals the plain ensemble's, as with a consensus weight of 0.
    """
    rows: dict[Setting, None] = {(NONE, 0.0): None}
    if not _same_as_plain(study, members):
        rows[ALONE, 0.0] = None
    rows |= dict.fromkeys(
        setting for column in columns(members) for setting in compared(study, members, column)
    )
    for setting in rows:
        for column in columns(members):
            if setting[0] not in (NONE, ALONE) and setting not in compared(study, members, column):
                continue
            if spot := _mean_spot(study, members, setting, column):
                yield spot


def _cells(study: StudyView, members: tuple[str, ...], setting: Setting, column: str) -> list[Cell]:
    return [
        cell
        for cell in study.cells
        if cell.setting == setting
        and cell.members in (members, (column,))
        and _error(cell, column) is not None
    ]


def _error(cell: Cell, column: str) -> float | None:
    return cell.scores.get("test_error", {}).get(column)


def _mean_spot(study: StudyView, members: tuple[str, ...], setting: Setting, column: str) -> Spot | None:
    cells = _cells(study, members, setting, column)
    sizes = [size for cell in cells if (size := _size(cell, column))]
    errors = [error for cell in cells if (error := _error(cell, column)) is not None]
    if not sizes or not errors or not all(map(math.isfinite, errors)):
        return None
    known = summary(errors)
    label = {NONE: "plain ensemble", ALONE: "alone"}.get(setting[0], setting_label(*setting))
    parameters, macs = sizes[0]
    plain = setting[0] in (NONE, ALONE)
    return Spot(column, label, macs, known.mean, parameters, column == ENSEMBLE, known.low, known.high, plain)


def _size(cell: Cell, column: str) -> tuple[int, int] | None:
    """Parameters and MACs; those of an ensemble are the sums, unless one network stands for it."""
    if column in cell.sizes:
        return cell.sizes[column]
    known = [cell.sizes[name] for name in cell.members if name in cell.sizes]
    if column != ENSEMBLE or len(known) < len(cell.members):
        return None
    return sum(size[0] for size in known), sum(size[1] for size in known)


def _same_as_plain(study: StudyView, members: tuple[str, ...]) -> bool:
    for column in members:
        plain, alone = (
            {cell.seed: _error(cell, column) for cell in _cells(study, members, (cost, 0.0), column)}
            for cost in (NONE, ALONE)
        )
        if plain != alone:
            return not alone
    return True
