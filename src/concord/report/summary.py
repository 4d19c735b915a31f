"""What happened, in words: the first thing on the page."""

from collections.abc import Sequence
from typing import Any

from concord.report.records import MemberView, RunView, StudyView
from concord.report.text import percent, setting_label, whole


def run_summary(run: RunView) -> str:
    """What was trained, on what, and how good the ensemble and its smallest member are."""
    return f"{_trained(run)} {_scored(run)}"


def _trained(run: RunView) -> str:
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


def _consensus(run: RunView) -> str:
    consensus: dict[str, Any] = run.config.get("consensus") or {}
    cost, weight = consensus.get("cost", "none"), consensus.get("weight", 0.0)
    if cost == "none" or not weight:
        return "as a plain ensemble without consensus"
    return f"with the consensus cost {setting_label(cost, weight)}"


def _scored(run: RunView) -> str:
    members = run.result.get("members", {})
    images = f" of the {len(run.held.labels):,} test images" if run.held else " of the test set"
    error = run.result.get("ensemble", {}).get("test_error")
    least = smallest(run)
    own = members.get(least.name, {}).get("test_error") if least else None
    if len(run.members) < 2 and own is not None:
        return f"It is wrong on {percent(own)} %{images}."
    if error is None or own is None or least is None:
        return "Its test scores are not known yet."
    share = _size(least) / sum(map(_size, run.members)) if _size(least) else None
    part = f", with {percent(share, 0)} % of all parameters," if share else ""
    return (
        f"The ensemble is wrong on {percent(error)} %{images}; "
        f"{least.name} by itself{part} on {percent(own)} %."
    )


def _size(member: MemberView) -> int:
    return member.parameters or member.macs or 0


def study_summary(study: StudyView) -> str:
    """How large the study is."""
    settings = {(cell.members, cell.setting) for cell in study.cells}
    seeds = {cell.seed for cell in study.cells}
    return (
        f"The study {study.name} has {len(study.cells)} runs: {len(settings)} settings, "
        f"{len(seeds)} seed{'s' * (len(seeds) != 1)}."
    )
