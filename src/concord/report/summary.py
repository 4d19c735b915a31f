"""What happened, in words: the first thing on the page."""

from typing import Any

from concord.report.records import MemberView, RunView, StudyView
from concord.report.text import percent, setting_label, whole


def run_summary(run: RunView) -> str:
    """What was trained, on what, and how good the ensemble and its smallest member are."""
    return f"{_trained(run)} {_scored(run)}"


def _trained(run: RunView) -> str:
    sizes = [f"{m.name} ({m.network}{_parameters(m)})" for m in run.members]
    names = " and ".join([", ".join(sizes[:-1]), sizes[-1]] if len(sizes) > 1 else sizes)
    how = "" if len(run.members) < 2 else f" together, {_consensus(run)}"
    source = run.config.get("data", {})
    data = source.get("source") if isinstance(source, dict) else source
    epochs = max((int(line["epoch"]) for line in run.metrics), default=0)
    time = f" for {epochs} epoch{'s' * (epochs != 1)}" if epochs else ""
    return f"{run.name} trained {names}{f' on {data}' if data else ''}{time}{how}."


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
    smallest = min(run.members, key=_size, default=None)
    own = members.get(smallest.name, {}).get("test_error") if smallest else None
    if len(run.members) < 2 and own is not None:
        return f"It is wrong on {percent(own)} %{images}."
    if error is None or own is None or smallest is None:
        return "Its test scores are not known yet."
    share = _size(smallest) / sum(map(_size, run.members)) if _size(smallest) else None
    part = f", with {percent(share, 0)} % of all parameters," if share else ""
    return (
        f"The ensemble is wrong on {percent(error)} %{images}; "
        f"{smallest.name} by itself{part} on {percent(own)} %."
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
