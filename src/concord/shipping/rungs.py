"""The search among candidates: short runs, of which the better half is run again for longer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from concord.errors import DivergedError, amount
from concord.runs.config import Member
from concord.shipping.budget import Rung
from concord.shipping.entrants import Entrant
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.plan import Plan
from concord.shipping.runner import Runner


def winner(plan: Plan, runner: Runner) -> Entrant:
    """The candidate that is left after the last rung. DivergedError if none could be trained."""
    left = list(plan.entrants)
    for number, rung in enumerate(plan.halving.rungs, 1):
        keep = plan.halving.rungs[number].runs if number < len(plan.halving.rungs) else 1
        decide = partial(_decided, left, rung, keep, runner)
        decision = runner.journal.once(f"rung {number}", decide)
        left = [one for name in decision["kept"] for one in left if one.name == name]
        runner.observer.notice(_line(decision))
    return left[0]


def _decided(entrants: Sequence[Entrant], rung: Rung, keep: int, runner: Runner) -> dict[str, Any]:
    """Every candidate of a rung with its validation error, and those that stay; of equal ones the cheaper."""
    rows, left_out = [], {}
    already = runner.finished([_run_name(one, rung) for one in entrants])
    runner.observer.counted(already, len(entrants))
    for done, one in enumerate(entrants, 1):
        try:
            rows.append(_row(one, rung, runner))
        except DivergedError as error:
            left_out[one.name] = f"its training diverged: {error}"
        runner.observer.counted(max(done, already), len(entrants))
    if not rows:
        raise DivergedError(f"no candidate could be trained: {next(iter(left_out.values()))}")
    rows.sort(key=lambda row: (row["valid_error"], row["macs"]))
    kept = [row["network"] for row in rows[:keep]]
    return {"epochs": rung.epochs, "rows": rows, "left_out": left_out, "kept": kept}


def _row(one: Entrant, rung: Rung, runner: Runner) -> dict[str, Any]:
    name = _run_name(one, rung)
    result = runner.run(name, [Member(name=MEMBER, network=one.name)], epochs=rung.epochs)
    return {
        "network": one.name,
        "run": name,
        "valid_error": result.members[MEMBER].valid_error,
        "parameters": one.candidate.needs.parameters,
        "macs": one.candidate.needs.macs,
        "seconds": runner.seconds(name, result),
        "expected_seconds": one.line.seconds(rung.epochs),
    }


def _run_name(one: Entrant, rung: Rung) -> str:
    """``gated_depthwise(depth=2, width=24)`` for 12 epochs -> ``gated_depthwise-depth2-width24-12``"""
    network = one.name.replace("(", "-").replace(")", "").replace("=", "").replace(", ", "-")
    return f"{network}-{rung.epochs}"


def _line(decision: dict[str, Any]) -> str:
    rows = ", ".join(f"{row['network']} {100 * row['valid_error']:.2f} %" for row in decision["rows"])
    return f"after {amount(decision['epochs'], 'epoch')} the validation errors are {rows}"


def pace_so_far(runner: Runner, plan: Plan) -> tuple[float, float]:
    """Seconds that the short runs took, and those that the plan expected of them."""
    rows = [
        row
        for number in range(1, len(plan.halving.rungs) + 1)
        for row in runner.journal.found(f"rung {number}")["rows"]
    ]
    return sum(row["seconds"] for row in rows), sum(row["expected_seconds"] for row in rows)
