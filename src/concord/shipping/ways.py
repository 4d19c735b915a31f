"""The full runs of the network that was chosen: plain, taught once, collaborating, taught in a chain.

Every way trains it for the same epochs by the same recipe. It is called ``small`` in each, so that it starts
from the same weights and sees the same batches.

Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015 (``once``);
Y. Zhang et al., "Deep mutual learning", CVPR 2018 (``collaborating``); T. Furlanello et al., "Born-again
neural networks", ICML 2018 (``chain``).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concord.errors import DivergedError, amount
from concord.runs.config import Member
from concord.runs.config_consensus import Consensus
from concord.shipping import budget
from concord.shipping.asked import Asked
from concord.shipping.budget import ALONE, CHAIN, COLLABORATING, ONCE, PLAIN
from concord.shipping.candidates import Shop
from concord.shipping.entrants import Entrant
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.plan import BESIDE, PARTNER, Plan, end_of, paired
from concord.shipping.rungs import pace_so_far
from concord.shipping.runner import Runner
from concord.shipping.teacher import teacher_of

WEIGHT, TEMPERATURE = 1.0, 2.0  # of kl towards teachers
OVER = 0.1  # share of the hours by which the full runs may be late before a way is left out
NO_ROOM = "the hours had no room for it"
ABOUT = {
    PLAIN: "trained plainly",
    ONCE: "taught once by the finished ensemble",
    COLLABORATING: "trained in collaboration with a larger partner",
    CHAIN: "taught by the finished ensemble and by the network that was taught once",
    ALONE: "trained plainly",
}


@dataclass(frozen=True)
class Way:
    """One run of the chosen network."""

    members: tuple[Member, ...]
    consensus: Consensus | None = None


def way_of(name: str, network: str, partner: str, runner: Runner, extra: Sequence[Member]) -> Way:
    """The members of a way, and what is between them; ``extra`` are teachers of the user's."""
    small, beside = Member(name=MEMBER, network=network), Member(name=BESIDE, network=partner)
    plain = [_teacher(one, PLAIN, runner) for one in (small, beside)]
    if name == ALONE:
        return Way((small,))
    if name == PLAIN:
        return Way((small, beside))
    if name == COLLABORATING:
        return Way((small, beside), Consensus("kl"))  # the recommended one, whose weight rises
    if name == ONCE:
        return _taught(small, [*plain, *extra])
    return _taught(small, [*plain, _teacher(small, ONCE, runner), *extra])


def idle_teacher(asked: Asked, ways: Sequence[str]) -> tuple[str, ...]:
    """A notice where the user's teacher has no run to teach in."""
    if asked.teacher is None or not {ONCE, CHAIN}.isdisjoint(ways):
        return ()
    return (f"the hours had no room for a run with teachers: {asked.teacher} taught nothing",)


def _teacher(member: Member, way: str, runner: Runner) -> Member:
    """That member of the finished run of a way, which teaches."""
    run = (runner.runs / way).resolve()
    return Member(name=f"{member.name}.{way}", network=member.network, teacher=f"{run}:{member.name}")


def _taught(small: Member, teachers: Sequence[Member]) -> Way:
    """kl with a share 1 / T to each of T teachers: the gradient of kl to the mean of their probabilities."""
    share, nobody = 1 / len(teachers), [0.0] * (1 + len(teachers))
    edges = [[0.0, *[share] * len(teachers)], *[nobody] * len(teachers)]
    consensus = Consensus("kl", weight=WEIGHT, temperature=TEMPERATURE, edges=edges)
    return Way((small, *teachers), consensus)


def chosen(plan: Plan, best: Entrant, asked: Asked, shop: Shop, runner: Runner) -> dict[str, Any]:
    """Run every way that there is time for; gives the decision, with the way that validation prefers."""
    partner = shop.partner(best.candidate, PARTNER).network
    full = runner.journal.once("full", lambda: _full(plan, best, partner, asked, runner))
    extra = [] if asked.teacher is None else [teacher_of(asked.teacher, runner.material.interface)]
    ways = full["ways"]

    def decide() -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        left_out: dict[str, str] = {}
        already = runner.finished(ways)
        runner.observer.counted(already, len(ways))
        for done, name in enumerate(ways, 1):
            reason = _against(name, rows, left_out, full)
            if reason is None:
                try:
                    way = way_of(name, best.name, partner, runner, extra)
                    rows.append(_row(name, way, full["epochs"], runner))
                except DivergedError as error:
                    reason = f"its training diverged: {error}"
            if reason is not None:
                left_out[name] = reason
            runner.observer.counted(max(done, already), len(ways))
            runner.observer.notice(_line(rows[-1]) if reason is None else f"without {name}: {reason}")
        if not rows:
            raise DivergedError(f"{best.name} could not be trained: {next(iter(left_out.values()))}")
        best_row = min(rows, key=lambda row: row["valid_error"])  # of equal ones the first
        return {"rows": rows, "left_out": left_out, "way": best_row["way"]}

    return {**full, "network": best.name, "partner": partner, **runner.journal.once("choice", decide)}


def _against(
    name: str, rows: Sequence[Mapping[str, Any]], left_out: Mapping[str, str], full: Mapping[str, Any]
) -> str | None:
    """Why a way cannot be run after those that were; None if it can."""
    teachers = {ONCE: [PLAIN], CHAIN: [PLAIN, ONCE]}.get(name, [])
    if not left_out.keys().isdisjoint(teachers):
        return "its teachers have no result"
    taken = {row["way"]: row["seconds"] for row in rows}
    fits = budget.room(name, full["expected_seconds"], taken, full["most_seconds"])
    return None if fits else NO_ROOM


def _full(plan: Plan, best: Entrant, partner: str, asked: Asked, runner: Runner) -> dict[str, Any]:
    """Ways and epochs that the hours have room for, after what the short runs took.

    The time of the pair is measured, and all of it taken times what the short runs took of what was expected.
    """
    taken, expected = pace_so_far(runner, plan)
    factor = taken / expected if expected else 1.0
    began = time.perf_counter()
    together = paired(best.name, partner, runner.material, plan.threads)
    timing = time.perf_counter() - began
    lines = {way: line.times(factor) for way, line in budget.lines_of_ways(best.line, together).items()}
    left = asked.seconds - plan.spent - taken - timing - end_of(asked)
    found = budget.full(lines, left) or budget.Full(
        (ALONE,), budget.LEAST, lines[ALONE].seconds(budget.LEAST)
    )
    beside = "" if found.ways == (ALONE,) else f", beside {partner}"
    runner.observer.notice(
        f"{best.name} is trained for {amount(found.epochs, 'epoch')}{beside}:"
        f" {', '.join(found.ways)}; about {found.seconds / 60:.1f} minutes"
    )
    return {
        "ways": list(found.ways),
        "epochs": found.epochs,
        "expected_seconds": {way: lines[way].seconds(found.epochs) for way in found.ways},
        "most_seconds": left + OVER * asked.seconds,
        "search_seconds": taken,
        "timing_seconds": timing,
        "slower_than_planned": factor,
    }


def _row(name: str, way: Way, epochs: int, runner: Runner) -> dict[str, Any]:
    result = runner.run(name, way.members, epochs=epochs, consensus=way.consensus)
    return {
        "way": name,
        "about": ABOUT[name],
        "run": name,
        "valid_error": result.members[MEMBER].valid_error,
        "seconds": runner.seconds(name, result),
    }


def _line(row: dict[str, Any]) -> str:
    return f"{row['about']}: validation error {100 * row['valid_error']:.2f} % ({row['seconds']:.0f} s)"
