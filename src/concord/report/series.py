"""From logs to panels: one number per epoch of a run, the mean over the seeds of a study.

The test split is looked at once by default (``train.test = "end"``); where it has no curve, the validation
split stands in for it and the panel says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from concord.consensus.names import ENSEMBLE, NONE
from concord.report.compare import columns, mean, settings
from concord.report.curves import Curve, Panel
from concord.report.records import ALONE, Cell, RunView, StudyView

Metrics = Sequence[Mapping[str, Any]]
MEASURES = {"error": "error, %", "nll": "cost (mean NLL)"}
NAMES = {"train": "training", "valid": "validation", "test": "test"}
ACROSS = 3  # panels beside each other


def series(metrics: Metrics, split: str, column: str, measure: str) -> dict[int, float]:
    """Epoch -> value, for the epochs that have one. Measures: error, nll, ece; splits: train, valid, test."""
    found = {}
    for line in metrics:
        scores = line.get(split) or {}
        part = scores.get("ensemble") if column == ENSEMBLE else scores.get("members", {}).get(column)
        if part and part.get(measure) is not None:
            found[int(line["epoch"])] = float(part[measure])
    return found


def measures(logs: Iterable[Metrics]) -> dict[str, str]:
    """Measure -> label of its axis: error and NLL of classifiers; for other tasks all figures there are."""
    rows = (row for log in logs for line in log for split in NAMES for row in _rows(line.get(split)))
    found = dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, int | float))
    return MEASURES if found.keys() & MEASURES.keys() or not found else {key: key for key in found}


def _rows(scores: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    rows = [*(scores or {}).get("members", {}).values(), (scores or {}).get("ensemble")]
    return [row for row in rows if row]


def drawn_split(logs: Iterable[Metrics]) -> str:
    """``test`` where some log has a test curve, else ``valid``; one point at the end is no curve."""
    logs = list(logs)
    tested = max((sum(bool(line.get("test")) for line in log) for log in logs), default=0)
    validated = any(line.get("valid") for log in logs for line in log)
    return "test" if tested > 1 or not validated else "valid"


def is_plain(run: RunView) -> bool:
    """Trained without consensus: alone, or as a plain ensemble."""
    return len(run.members) < 2 or not any(line.get("weight") for line in run.metrics)


def comparison_panels(runs: Sequence[RunView]) -> list[list[Panel]]:
    """A panel per measure and column, a line per run: the pictures A.1 to A.6 of Noel 2017."""
    split = drawn_split(run.metrics for run in runs)
    names = dict.fromkeys(member.name for run in runs for member in run.members)
    rows = []
    for measure, ylabel in measures(run.metrics for run in runs).items():
        panels = [
            Panel(f"{NAMES[split]}, {column}", ylabel, curves, percent=measure == "error")
            for column in (*names, ENSEMBLE)
            if (curves := tuple(_run_curves(runs, split, column, measure)))
        ]
        rows += wrapped(panels)
    return rows


def _run_curves(runs: Sequence[RunView], split: str, column: str, measure: str) -> Iterable[Curve]:
    for run in runs:
        if column == ENSEMBLE and len(run.members) < 2:
            continue
        if values := series(run.metrics, split, column, measure):
            yield Curve(run.name, tuple(values), tuple(values.values()), plain=is_plain(run))


def learning_panels(run: RunView, beside: RunView | None = None) -> list[list[Panel]]:
    """Training and test curves of every member, a plain run in grey beside: B.1 to B.3 of Noel 2017."""
    split = drawn_split([run.metrics])
    rows = []
    for measure, ylabel in measures([run.metrics]).items():
        row = []
        for part in ("train", split):
            curves = [*_member_curves(run, part, measure, "")]
            if beside is not None:
                curves += _member_curves(beside, part, measure, f", {beside.name}")
            if curves:
                row.append(Panel(NAMES[part], ylabel, tuple(curves), percent=measure == "error"))
        rows += [row] if row else []
    return rows


def _member_curves(run: RunView, split: str, measure: str, suffix: str) -> Iterable[Curve]:
    for column in columns(tuple(member.name for member in run.members)):
        if values := series(run.metrics, split, column, measure):
            yield Curve(column + suffix, tuple(values), tuple(values.values()), plain=bool(suffix))


def study_panels(study: StudyView, members: tuple[str, ...], measure: str) -> list[list[Panel]]:
    """A row per cost, a panel per column, a line per weight (mean over the seeds), plain members in grey."""
    split = drawn_split(cell.metrics for cell in study.cells)
    rows = settings(study, members)
    plain = [s for s in rows if s[0] in (NONE, ALONE)]
    costs = dict.fromkeys(cost for cost, _ in rows if cost not in (NONE, ALONE)) or dict.fromkeys([NONE])
    grid = []
    for cost in costs:
        own = [setting for setting in rows if setting[0] == cost and setting not in plain]
        panels = []
        for column in columns(members):
            where = (split, column, measure)
            curves = [curve for setting in own for curve in _setting_curves(study, setting, members, where)]
            if own and not curves:  # a row that has nothing to say of this column
                continue
            grey = [curve for setting in plain for curve in _setting_curves(study, setting, members, where)]
            if grey or curves:
                title = f"{cost}: {column}, {NAMES[split]}"
                panels.append(Panel(title, MEASURES[measure], (*grey, *curves), percent=measure == "error"))
        grid += wrapped(panels)
    return grid


def _setting_curves(
    study: StudyView, setting: tuple[str, float], members: tuple[str, ...], where: tuple[str, str, str]
) -> Iterable[Curve]:
    split, column, measure = where
    plain = setting[0] in (NONE, ALONE)
    weight = f"weight {setting[1]:g}" if setting[1] else f"{setting[0]} network"
    label = {NONE: "plain ensemble", ALONE: "alone"}.get(setting[0], weight)
    cells = [
        c for c in study.cells if c.setting == setting and (c.members == members or c.members == (column,))
    ]
    if values := mean_series(cells, split, column, measure):
        yield Curve(label, tuple(values), tuple(values.values()), plain=plain)
    if study.published and split == "test":
        theirs = study.published.curves.get(setting, {}).get(column, {}).get((split, measure), ())
        if theirs:
            yield Curve(label, tuple(range(1, len(theirs) + 1)), theirs, plain=plain, published=True)


def mean_series(cells: Iterable[Cell], split: str, column: str, measure: str) -> dict[int, float]:
    """Epoch -> mean over the seeds that have a value there."""
    collected: dict[int, list[float]] = {}
    for cell in cells:
        for epoch, value in series(cell.metrics, split, column, measure).items():
            collected.setdefault(epoch, []).append(value)
    return {epoch: mean(values) for epoch, values in sorted(collected.items())}


def wrapped(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Rows of at most ``ACROSS`` panels."""
    return [list(panels[i : i + ACROSS]) for i in range(0, len(panels), ACROSS)]
