"""What happened, in words: the first thing on the page."""

from collections.abc import Sequence
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.errors import amount
from concord.report.records import MemberView, RunView, StudyView
from concord.report.text import percent, setting_label, share, whole
from concord.runs.intervals import wilson

ONE_TRAINING = (
    "One training does not show whether the consensus helped: a study compares it with the plain ensemble "
    "over several seeds."
)


def runs_verdict(runs: Sequence[RunView]) -> list[str]:
    """How good a run is; of several runs the best score, and whether the others may be as good."""
    if len(runs) > 1:
        return _best_of(runs)
    (run,) = runs
    consensus = len(run.members) > 1 and bool(run.result) and _weighted(run) and not teachers(run)
    return [score_sentence(run), *([ONE_TRAINING] if consensus else [])]


def _best_of(runs: Sequence[RunView]) -> list[str]:
    scores = [(error, run, column) for run in runs for column, error in _errors(run).items()]
    if not scores:
        return ["The test scores of these runs are not known yet."]
    error, run, column = min(scores, key=lambda score: score[0])
    first = (
        f"The lowest test error of {len(runs)} runs is that of {column} in {run.name}: "
        f"{_with_interval(error, run)}."
    )
    if not run.samples:
        return [first]
    high = wilson(round(error * run.samples), run.samples)[1]
    near = sum(other is not run and min(_errors(other).values(), default=1.0) <= high for other in runs)
    if not near:
        return [first]
    return [
        f"{first} The best score of {near} other run{'s' * (near > 1)} lies inside this interval, so the "
        "order of the runs is not proven."
    ]


def _errors(run: RunView) -> dict[str, float]:
    """Column -> test error; one member has no ensemble."""
    rows = dict(run.result.get("members", {}))
    if len(run.members) > 1:
        rows[ENSEMBLE] = run.result.get("ensemble", {})
    return {column: row["test_error"] for column, row in rows.items() if row.get("test_error") is not None}


def run_summary(run: RunView) -> str:
    """What was trained, on what, for how long and how."""
    learn = [m for m in run.members if m.name not in teachers(run)]
    names = _listed([f"{m.name} ({m.network}{_parameters(m)})" for m in learn])
    how = "" if len(run.members) < 2 else f" together, {_consensus(run)}"
    if teachers(run):
        how = f", taught by {_listed(teachers(run))}, {_consensus(run)}"
    source = run.config.get("data", {})
    data = source.get("source") if isinstance(source, dict) else source
    epochs = max((int(line["epoch"]) for line in run.metrics), default=0)
    time = f" for {epochs} epoch{'s' * (epochs != 1)}" if epochs else ""
    return f"{run.name} trained {names}{f' on {data}' if data else ''}{time}{how}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def teachers(run: RunView) -> list[str]:
    """Members that came with their weights and kept them."""
    return [member["name"] for member in run.config.get("members", ()) if member.get("teacher")]


def smallest(run: RunView) -> MemberView | None:
    """The smallest of those that learned to the end, which is the one to ship."""
    idle = {member["name"] for member in run.config.get("members", ()) if member.get("retired")}
    learned = [m for m in run.members if m.name not in idle.union(teachers(run))]
    return min(learned or run.members, key=_size, default=None)


def _parameters(member: MemberView) -> str:
    return f", {whole(member.parameters)} parameters" if member.parameters is not None else ""


def _weighted(run: RunView) -> bool:
    consensus: dict[str, Any] = run.config.get("consensus") or {}
    return consensus.get("cost", "none") != "none" and bool(consensus.get("weight"))


def _consensus(run: RunView) -> str:
    if not _weighted(run):
        return "as a plain ensemble without consensus"
    consensus = run.config["consensus"]
    kind = (consensus.get("schedule") or {}).get("kind", "constant")
    schedule = "" if kind == "constant" else f" (schedule of the weight: {kind})"
    return f"with the consensus cost {setting_label(consensus['cost'], consensus['weight'])}{schedule}"


def score_sentence(run: RunView) -> str:
    """How often the ensemble and its smallest member are wrong, with 95 % intervals."""
    errors, least = _errors(run), smallest(run)
    images = f" of the {run.samples:,} test images" if run.samples else " of the test set"
    if least is None or least.name not in errors or (len(run.members) > 1 and ENSEMBLE not in errors):
        return "The test scores are not known yet."
    if len(run.members) < 2:
        return f"{least.name} is wrong on {_with_interval(errors[least.name], run, images)}."
    part = _size(least) / sum(map(_size, run.members)) if _size(least) else None
    size = f", with {share(part)} of all parameters," if part else ""
    return (
        f"The ensemble is wrong on {_with_interval(errors[ENSEMBLE], run, images)}; "
        f"{least.name} by itself{size} on {_with_interval(errors[least.name], run)}."
    )


def _with_interval(error: float, run: RunView, of: str = "") -> str:
    if not run.samples:
        return f"{percent(error)} %{of}"
    low, high = wilson(round(error * run.samples), run.samples)
    return f"{percent(error)} %{of} (95 %: {percent(low)} to {percent(high)} %)"


def _size(member: MemberView) -> int:
    return member.parameters or member.macs or 0


def study_summary(study: StudyView) -> str:
    """How large the study is."""
    settings = {(cell.members, cell.setting) for cell in study.cells}
    seeds = {cell.seed for cell in study.cells}
    return (
        f"The study {study.name} has {amount(len(study.cells), 'run')}: {amount(len(settings), 'setting')}, "
        f"{len(seeds)} seed{'s' * (len(seeds) != 1)}."
    )
